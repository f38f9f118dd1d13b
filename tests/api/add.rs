//! Adding contacts: one true disposition an item, in order, and batches as they were asked for.
