//! THE EDGE: the only place that names tonic, prost and the contract's generated types. A handler parses
//! here, acts below, and renders here.

pub mod auth;
pub mod bounds;
mod cancelling;
pub mod codec;
mod collect;
mod connection;
pub mod convert;
pub mod deadline;
mod head;
mod health;
mod ingest;
mod observe;
mod quota;
pub mod rescue;
mod service;
mod shed;
pub mod status;
#[cfg(test)]
mod tests;
pub mod tokens;
mod web;

pub use collect::{MAX_BYTES, MAX_ITEMS};
pub use connection::Leaving;
pub use health::Health;
pub use observe::Observe;
pub use quota::Quota;
pub use service::Service;
pub use shed::Shed;
pub use web::web;

use std::time::Duration;

use rescue::{Rescue, RescueLayer};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_reflection::server::Builder as Reflection;
use tower::Layer as _;

use crate::pb::campaigns_service_server::CampaignsServiceServer;

/// The contract with its comments and imports, as build.rs compiled it.
const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));

/// Paths of our own service: health and reflection have their own errors, which stay as they are, and are always
/// answered.
const OUR_PATHS: &str = "/blubash.campaigns.";

/// What the edge takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls at once, until their answers begin.
    pub max_calls: usize,
    /// How long a call waits for a message that its caller has not ended: one that is begun and never finished
    /// holds a place for ever otherwise.
    pub stream_idle: Duration,
}

/// Why the edge cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("reflection cannot serve the contract: {0}")]
pub struct StackError(#[from] tonic_reflection::server::Error);

/// The service behind its layers.
pub type Edge = Shed<Observe<Rescue<Routes>>>;

/// The whole edge: the service, health, and reflection in both versions that clients ask for, behind the
/// layers that refuse what is too much, tell of calls, and bring tonic's own errors into our form.
///
/// # Errors
/// Where the compiled contract cannot be served by reflection, which a test rules out.
pub async fn stack(service: Service, limits: Limits) -> Result<(Health, Edge), StackError> {
    let (health, health_service) = health::new().await;
    // A client that compresses does so for the whole channel: a service that did not accept it would
    // answer UNIMPLEMENTED.
    let gzip = CompressionEncoding::Gzip;
    let reflection = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(CONTRACT)
            // What stands in a status's details, so that grpcurl can print it.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(CampaignsServiceServer::new(service).accept_compressed(gzip))
        .add_service(health_service.accept_compressed(gzip))
        .add_service(reflection().build_v1()?.accept_compressed(gzip))
        .add_service(reflection().build_v1alpha()?.accept_compressed(gzip))
        .prepare();
    let rescue = RescueLayer::new(limits.stream_idle).layer(routes);
    Ok((health, Shed::new(Observe::new(rescue), limits.max_calls)))
}
