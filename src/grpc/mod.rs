//! THE EDGE: the only place that names tonic, prost and the contract's generated types. A handler parses
//! here, acts below, and renders here.

pub mod auth;
pub mod bounds;
mod cancelling;
pub mod codec;
mod collect;
pub mod convert;
pub mod deadline;
mod head;
mod health;
mod ingest;
mod observe;
pub mod rescue;
mod service;
pub mod status;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use collect::{MAX_BYTES, MAX_ITEMS};
pub use health::Health;
pub use observe::Observe;
pub use service::Service;

use rescue::{Rescue, RescueLayer};
use tonic::{codec::CompressionEncoding, service::Routes};
use tonic_reflection::server::Builder as Reflection;
use tower::Layer as _;

use crate::pb::campaigns_service_server::CampaignsServiceServer;

/// The contract with its comments and imports, as build.rs compiled it.
const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb"));

/// Why the edge cannot be put together.
#[derive(Debug, thiserror::Error)]
#[error("reflection cannot serve the contract: {0}")]
pub struct StackError(#[from] tonic_reflection::server::Error);

/// The whole edge: the service, health, and reflection in both versions that clients ask for, behind the
/// layer that brings tonic's own errors into our form.
///
/// # Errors
/// Where the compiled contract cannot be served by reflection, which a test rules out.
pub async fn stack(service: Service) -> Result<(Health, Observe<Rescue<Routes>>), StackError> {
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
    Ok((health, Observe::new(RescueLayer.layer(routes))))
}
