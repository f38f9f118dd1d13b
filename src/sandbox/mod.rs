//! An emulator of the BluBash Campaigns REST API, to try things against without sending anyone a message.
//!
//! It answers as the vendor's public page says, in its words. Where the page is silent it does what [`Options`] says; what neither
//! the page nor an option settles is marked as a guess where it is decided. It imports nothing from the rest of this crate, so that
//! the client and the emulator cannot share a mistake; both are held to the vendor's examples in `tests/fixtures`.
//!
//! **What it is not**: proof of how the vendor's service behaves. It keeps everything in memory, sends nothing, and has no limits of
//! rate.
//!
//! From the start it holds the workspaces, campaigns, contacts and messages named by the constants of this module. Under `/_sandbox`,
//! beside the API, stand routes without a key: its clock (`/clock`), faults on demand (`/faults`), the log of requests (`/requests`),
//! what was really created (`/messages`), quick filling (`/seed`) and the campaigns' states (`/campaigns`); `GET /_sandbox` shows what
//! they take.

mod answer;
mod audience;
mod clock;
mod control;
mod faults;
mod flags;
mod idempotency;
mod ids;
mod journal;
mod listing;
mod message;
mod options;
mod resolve;
mod routes;
mod schedule;
mod seed;
mod store;
mod transport;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tower::ServiceExt;

pub use flags::Flags;
pub use options::{Batches, Envelope, Idempotency, ListOrder, Options, PlanText, UtcOffset};
pub use seed::{
    ACME_API_KEY, CANCELLED, EMAIL_ONLY_CONTACT_ID, EMPTY, EVERGREEN, FAILED, FREE_PLAN, FREE_PLAN_API_KEY,
    GLOBEX, GLOBEX_API_KEY, NOT_EVERGREEN, PAUSED, REACHABLE_CONTACT_ID, SEEDED, SEEDED_MESSAGES,
    UNDELIVERABLE_CONTACT_ID, UNDELIVERABLE_PREFIX, UNREACHABLE_CONTACT_ID,
};

/// What to tell whoever starts a sandbox.
pub const NOTICE: &str = "This is an emulator of the BluBash Campaigns API. It sends no messages and keeps everything in memory. \
    Where the vendor's page is silent it follows its options and guesses, so it proves nothing about the vendor's service.";

/// A running sandbox. It stops when it is dropped: open connections are closed at once.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Sandbox {
    /// Serves on `listener` in tasks of its own; it answers from the moment this returns. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the listener has no address.
    pub async fn serve(listener: TcpListener, options: Options) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let clock = clock::Clock::new(options.start, options.frozen);
        let shared = Arc::new(routes::Shared {
            max_body: options.max_body,
            store: Mutex::new(seed::documented(options, clock.now())),
            clock,
            faults: faults::Faults::default(),
            journal: journal::Journal::default(),
        });
        let router = routes::router().merge(control::router()).with_state(shared);
        Ok(Self { addr, accepting: tokio::spawn(accept(listener, router)) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of the emulated API, with the path of the vendor's: `http://127.0.0.1:PORT/api/v1/campaigns`.
    pub fn campaigns_url(&self) -> String {
        format!("http://{}/api/v1/campaigns", self.reachable())
    }

    /// The base URL of the control routes: `http://127.0.0.1:PORT/_sandbox`.
    pub fn control_url(&self) -> String {
        format!("http://{}/_sandbox", self.reachable())
    }

    /// A listener on all addresses is reached on the loopback one.
    fn reachable(&self) -> SocketAddr {
        let ip = match self.addr.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, self.addr.port())
    }

    /// Waits until the sandbox stops, which it does of itself only if its task dies.
    pub async fn stopped(&mut self) {
        if !self.accepting.is_finished() {
            // Whether it was aborted or died: it no longer serves.
            let _ = (&mut self.accepting).await;
        }
    }

    /// Stops the sandbox and waits until its port is free.
    pub async fn shutdown(mut self) {
        self.accepting.abort();
        self.stopped().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, router: Router) {
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone()));
                }
                // Out of file descriptors, most likely: at full speed it would only get worse.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Not `axum::serve`: it has no way to close a connection without an answer, and a client that must not add anyone twice is to be tried
/// against just that. HTTP/1 only, since in HTTP/2 the same error would end one stream and leave the connection.
async fn connection(stream: TcpStream, router: Router) {
    // Small answers should not wait for more; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request).await;
            match response.extensions().get::<transport::HangUp>() {
                None => Ok(response),
                Some(_) => Err(io::Error::other("closed without an answer by a fault rule")),
            }
        }
    });
    // An error here is a client's or a fault's doing; there is nobody to tell.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
