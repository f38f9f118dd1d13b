//! The service as its callers see it, and the sandbox as the service sees it: one binary, one harness, a
//! module a capability.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sandbox;
