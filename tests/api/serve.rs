//! The binary: start, stop, and what it says when it cannot start.
