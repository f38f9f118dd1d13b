//! The service in front of an upstream that speaks TCP by hand, and breaks off, drips, hangs and lies at
//! every point of an exchange. Held against the truth, which only that upstream knows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod connections;
mod harness;
mod random;
mod stray;
mod upstream;
mod wire;

#[path = "../support/mod.rs"]
mod support;
