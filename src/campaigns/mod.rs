//! What the service does, in no transport's words.

pub mod watch;
