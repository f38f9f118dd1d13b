//! The service as its callers see it, and the sandbox as the service sees it: one binary, one harness, a
//! module a capability.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod add;
mod add_faults;
mod bad_input;
mod binary;
mod cache;
mod canary;
mod cancel;
mod cancel_many;
mod config_command;
mod edge;
mod errors;
mod get_ingestion;
mod harness;
mod ingest;
mod ledger_command;
mod ledger_file;
mod limits;
mod list;
mod list_shifting;
mod readme;
mod replay;
mod sandbox;
mod serve;
mod telemetry;
mod tls;
mod vendor_example;
mod watch;
mod web;
