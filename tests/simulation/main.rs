//! The service in a simulated network, with everything going wrong that can: a seed is one life of some
//! imports, and the same seed is the same life, event by event.
//!
//! `SEEDS=2000 FIRST_SEED=0 cargo test --test simulation` runs more of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answer;
mod book;
mod caller;
mod coverage;
#[path = "../support/disk.rs"]
mod disk;
mod harm;
mod import;
mod leaf;
mod model;
mod power;
mod run;
mod scenario;
mod seeds;
mod service;
mod storage;
#[path = "../support/mod.rs"]
mod support;
mod verbs;
mod world;
