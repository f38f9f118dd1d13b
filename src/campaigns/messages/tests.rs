#![allow(clippy::unwrap_used)]

mod at_rest;
mod model;
mod places;
mod shifting;
