//! Watching: the present state, then each change, once and in order.
