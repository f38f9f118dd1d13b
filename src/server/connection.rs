//! One connection after another: who may come in, how one begins, grows old and ends.

use std::{convert::Infallible, error::Error, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, util::MapRequest};

use super::{listener::Listener, prompt::Prompt};
use crate::{config::Connections as Limits, grpc::Leaving, model::Peer, telemetry::metrics, tls::Tls};

/// What one stream, and one connection, may send before it is read. h2 gives up a connection whose unread
/// small frames (below 256 bytes) weigh more than half of the connection's window, each counted as 256: so a
/// stream of one-item messages that waits for its items to go up may fill a small part of it only.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// The headers of one call, in bytes.
const MAX_HEADERS: u32 = 16 << 10;

/// A connection on which nothing moves is asked for a sign of life this often, and given up without one.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// How far a connection's age may lie from what was set, in percent either way: those that came together, after a
/// rollout say, do not leave together.
const JITTER: u32 = 10;

/// How long nothing is accepted where accepting has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// All connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections<S> {
    service: S,
    http: Arc<auto::Builder<TokioExecutor>>,
    tls: Option<Tls>,
    limits: Limits,
    slots: Arc<Semaphore>,
    draining: CancellationToken,
    tracker: TaskTracker,
}

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Serves `service` on them, over TLS where there is some. Once `draining` is cancelled they are asked to
    /// end; `tracker` knows when they have.
    pub(super) fn new(
        service: S,
        tls: Option<Tls>,
        limits: Limits,
        draining: CancellationToken,
        tracker: TaskTracker,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(limits.max.min(Semaphore::MAX_PERMITS)));
        Self { service, http: http(&limits).into(), tls, limits, slots, draining, tracker }
    }

    /// Accepts until `ending` ends; then nobody can connect any more.
    pub(super) async fn accept_until(&self, ending: impl Future<Output = ()>, mut listener: impl Listener) {
        tokio::select! {
            never = self.accept(&mut listener) => match never {},
            () = ending => {}
        }
    }

    /// Accepts one after another.
    async fn accept(&self, listener: &mut impl Listener) -> Infallible {
        loop {
            let io = match listener.accept().await {
                Ok(io) => io,
                Err(error) => {
                    // Out of descriptors, most likely: others may end soon, and a hot loop helps nobody.
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                // Closed at once: a caller that waits for an answer would wait for the others to leave.
                metrics().connection_refused("full");
                continue;
            };
            let this = self.clone();
            self.tracker.spawn(async move {
                this.run(io).await;
                drop(slot);
            });
        }
    }

    async fn run(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let patience = self.limits.handshake_timeout;
        let Some(tls) = &self.tls else { return self.serve(Prompt::new(io, patience), None).await };
        let handshake = timeout(patience, tls.accept(io));
        match self.draining.run_until_cancelled(handshake).await {
            Some(Ok(Ok((io, peer)))) => self.serve(Prompt::new(io, patience), peer).await,
            Some(Ok(Err(error))) => {
                tracing::debug!(%error, "a TLS handshake failed");
                metrics().connection_refused("handshake");
            }
            Some(Err(_)) => metrics().connection_refused("slow"),
            None => {}
        }
    }

    async fn serve(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Option<Peer>) {
        // Cancelled with the drain, or before it when this connection has grown old.
        let leaving = self.draining.child_token();
        let told = Leaving(leaving.clone());
        let service = MapRequest::new(self.service, move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(told.clone());
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            request
        });
        let connection = self.http.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
        let mut connection = pin!(connection);
        let age = self.limits.max_age.map(jittered);
        let aged = async {
            match age {
                Some(age) => sleep(age).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.draining.cancelled() => None,
            () = aged => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                // GOAWAY: no new calls; those in flight go on.
                connection.as_mut().graceful_shutdown();
                leaving.cancel();
                match timeout(self.limits.age_grace, connection.as_mut()).await {
                    Ok(ended) => ended,
                    Err(_) if self.draining.is_cancelled() => connection.await,
                    Err(_) => {
                        tracing::info!("a connection that has grown old is cut: its calls did not end");
                        Ok(())
                    }
                }
            }
        };
        if let Err(error) = ended {
            // Its cause too: which bound of HTTP/2 a caller has broken, say.
            tracing::debug!(?error, "a connection broke off");
        }
    }
}

fn jittered(age: Duration) -> Duration {
    age / 100 * fastrand::u32(100 - JITTER..=100 + JITTER)
}

fn http(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if limits.web_origins.is_empty() {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.handshake_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        // Callers who give up while this server is behind reset calls that it has not seen yet. h2 takes 20 of them
        // for an attack and ends the connection, with everybody else's calls on it; no caller can have more at once
        // than it can have calls.
        .max_pending_accept_reset_streams(limits.max_streams as usize)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_PATIENCE);
    builder
}
