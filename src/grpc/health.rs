//! Whether this server takes calls, as `grpc.health.v1` tells it. It is not bound to the upstream's mood.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthService, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::Service;
use crate::pb::campaigns_service_server::CampaignsServiceServer;

/// Sets what health tells.
#[derive(Clone, Debug)]
pub struct Health(HealthReporter);

/// Health that tells SERVING, for the server as a whole and for the service by its name.
pub(super) async fn new() -> (Health, HealthServer<impl HealthService>) {
    let (reporter, service) = health_reporter();
    reporter.set_serving::<CampaignsServiceServer<Service>>().await;
    (Health(reporter), service)
}

impl Health {
    /// From now on: send new calls elsewhere.
    pub async fn not_serving(&self) {
        self.0.set_service_status("", ServingStatus::NotServing).await;
        self.0.set_not_serving::<CampaignsServiceServer<Service>>().await;
    }
}
