//! The work: what the service does, in no transport's words.

pub mod audience;
pub mod cache;
pub mod cancel;
pub mod counting;
pub mod messages;
mod reading;
pub mod watch;
pub mod writes;
