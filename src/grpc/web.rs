//! gRPC-Web, for browsers: the same service over HTTP/1.1 or HTTP/2, for pages of the origins that are named.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tonic::Status;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::Layer as _;
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use super::auth::API_KEY;

/// How long a browser remembers what it may do: the longest that Chromium takes.
const MAX_AGE: Duration = Duration::from_secs(7_200);

/// What pages send beside what they always may.
const SENT: [&str; 9] = [
    "content-type",
    "x-grpc-web",
    "x-user-agent",
    "grpc-timeout",
    API_KEY,
    "authorization",
    "x-workspace",
    "traceparent",
    "tracestate",
];

/// What pages may read of an answer's headers: a refusal has its status there.
const READ: [HeaderName; 4] = [
    Status::GRPC_STATUS,
    Status::GRPC_MESSAGE,
    Status::GRPC_STATUS_DETAILS,
    HeaderName::from_static("grpc-retry-pushback-ms"),
];

/// The service, also for pages of these origins (`https://app.example`).
pub fn web<S>(inner: S, origins: &[HeaderValue]) -> Cors<GrpcWebService<S>>
where
    S: Clone,
{
    // No allow_credentials: nothing here goes by cookies, so that a page can do only what it has a key for.
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::POST])
        .allow_headers(SENT.map(HeaderName::from_static))
        .expose_headers(READ)
        .max_age(MAX_AGE)
        .vary([header::ORIGIN]);
    cors.layer(GrpcWebLayer::new().layer(inner))
}
