//! blubash-grpc: the gRPC face of the BluBash Campaigns API, which is REST only.
//!
//! # The life of a request
//! A call comes in over HTTP/2 (`server`), passes the edge's layers (`grpc`: a panic costs its own call, and
//! tonic's own errors take our form) and reaches a handler, which has three verbs: *parse* the contract's
//! message into the domain (`model`), where what the vendor would refuse cannot be said; *act* by one call into
//! `campaigns`; *render* the answer. Below, `upstream` builds a REST request, sends it through one tower stack
//! (operation timeout, retry, circuit breaker, rate limit, attempt timeout, transport), and turns the evidence that comes back into an
//! outcome. The path never turns back: nothing below calls up, no proto goes below the edge, no HTTP status
//! comes above `upstream`.
//!
//! A write has a memory. Before its first byte the `ledger` holds a claim, and the outcome is on record before
//! the caller hears it; whatever is not proven is in doubt, and is told as that. An ingestion is a task of its
//! own, so a caller who hangs up cannot cut a batch in half; AddAudience collects in front of the same task
//! that streams for IngestAudience.
//!
//! A read is answered from the `cache` where that is young enough for its caller; else it flies once for all who
//! ask meanwhile. What this server writes is told to the cache and the watches, so that its next answers show it.
//!
//! Watching is polling, shared: one poller a workspace and campaign publishes into a log, and every watcher is
//! a cursor into it. It looks where something may have changed, reads the whole list now and then, follows the
//! campaign's activity in its pace, and has a share of the workspace's calls.
//!
//! # The modules, top to bottom
//! A module may use those below it, never one above; `tests/architecture.rs` holds it to that.
//! `cli` and `server` put the parts together, `operator` lets who runs them look at doubt and decide it, `config`
//! checks what they are told, `grpc` is the edge, `campaigns` the work, `ledger` the memory, `upstream` the road,
//! `access` who may call, `tls` what connections are encrypted with, then `secret`, `reload`, `context`, `clock`,
//! `model` and `error`. `sandbox` (the emulator) and `admin` (the operator's port), which import nothing of ours, and
//! `telemetry` (logs, spans, metrics) stand beside.

pub mod access;
pub mod admin;
pub mod campaigns;
pub mod cli;
pub mod clock;
pub mod config;
pub mod context;
pub mod error;
pub mod grpc;
pub mod ledger;
pub mod model;
pub mod operator;
pub mod reload;
pub mod sandbox;
pub mod secret;
pub mod server;
mod telemetry;
pub mod tls;
pub mod upstream;

#[allow(missing_docs)]
pub mod pb {
    //! The contract's generated types. Only the edge (`grpc/`) names them.
    tonic::include_proto!("blubash.campaigns.v1");
}
