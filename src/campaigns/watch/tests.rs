//! The watch against a scripted upstream, on virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod changes;
mod cost;
mod endings;
mod harness;
mod oracle;
mod resuming;
mod rounds;
mod sharing;
mod snapshots;
