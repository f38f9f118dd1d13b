//! The watch against a scripted upstream, on virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod harness;
