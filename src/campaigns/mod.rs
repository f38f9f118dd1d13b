//! The work: what the service does, in no transport's words.

pub mod audience;
pub mod cancel;
pub mod messages;
mod reading;
pub mod watch;
