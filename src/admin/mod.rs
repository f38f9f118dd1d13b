//! The admin port: for whoever runs the service, and for what watches over it. It tells of no person, no key and
//! no campaign, and changes nothing.

mod page;
mod status;

use std::{future::Future, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use status::{Status, Workspace};

/// What the port asks for its answers.
pub struct Admin {
    /// Whether calls are taken: no longer once the drain has begun.
    pub is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// The metrics, as Prometheus reads them.
    pub scrape: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// What the service is doing.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
}

type Shared = State<Arc<Admin>>;

impl Admin {
    /// Answers on this listener until `shutdown` ends.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let routes = Router::new()
            .route("/", get(page))
            .route("/livez", get(async || "live\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/buildinfo", get(async || Json(build_info())))
            .route("/status", get(async |State(admin): Shared| Json((admin.status)())))
            .with_state(Arc::new(self));
        axum::serve(listener, routes).with_graceful_shutdown(shutdown).await
    }
}

async fn ready(State(admin): Shared) -> (StatusCode, &'static str) {
    if (admin.is_ready)() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    }
}

async fn metrics(State(admin): Shared) -> Response {
    match (admin.scrape)() {
        Some(text) => {
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn page(State(admin): Shared) -> Html<String> {
    Html(page::render(&(admin.status)(), (admin.is_ready)()))
}

/// What this program is. Which hour a wall-clock time means depends on the IANA release.
fn build_info() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "iana_release": chrono_tz::IANA_TZDB_VERSION,
        "contract": "blubash.campaigns.v1",
    })
}
