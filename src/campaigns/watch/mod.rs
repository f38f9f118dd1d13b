//! Watching campaigns: the pure parts.

mod diff;
mod log;
mod sweep;
