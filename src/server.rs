//! The composition root: builds the parts, binds, serves, drains.
//!
//! gRPC is served by hyper directly, not by tonic's own server: that one answers an expired deadline with
//! CANCELLED and drops the handler, and its shutdown waits for open streams for as long as they live.
//! Deadlines and the drain are this service's own.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    access::Access,
    campaigns::{
        audience::{self, Audience},
        cache::Cache,
        cancel::Cancel,
        counting::Counting,
        messages::Messages,
        watch::Hub,
        writes::Writes,
    },
    clock::Clock,
    config::Config,
    grpc::{
        self, Service,
        auth::Auth,
        tokens::{PageTokens, ResumeTokens},
    },
    ledger::{Fingerprinter, Ledger},
    secret::{Purpose, Secret},
    upstream,
};

/// Streams that one connection may have open at once.
const MAX_STREAMS: u32 = 1_000;

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

/// What calls that the drain's end cut short get to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The service, built and not yet bound.
pub struct Server {
    service: Service,
    drain_timeout: Duration,
    drain_delay: Duration,
    draining: CancellationToken,
    stopping: CancellationToken,
    tracker: TaskTracker,
    viewer: Viewer,
    access: Option<Access>,
    reload_interval: Duration,
}

/// Shows what the service does. Cheap to clone.
#[derive(Clone)]
pub struct Viewer {
    /// The road upstream.
    pub client: upstream::Client,
    /// The watches.
    pub hub: Hub,
    /// What was read lately.
    pub cache: Cache,
}

impl Server {
    /// Builds every part around this ledger, which who opened it closes when the server has ended. Nothing is
    /// bound or sent.
    ///
    /// # Errors
    /// Where the upstream client cannot be built (no usable certificates, say).
    pub fn new(
        config: &Config,
        secret: &Secret,
        clock: Clock,
        ledger: Ledger,
    ) -> Result<Self, upstream::ConfigFault> {
        let client = upstream::Client::new(&config.upstream, clock)?;
        Ok(Self::assemble(config, secret, clock, client, ledger))
    }

    /// Puts the service together around this client and this ledger: a simulation brings its own. Nothing is
    /// bound or sent.
    pub fn assemble(
        config: &Config,
        secret: &Secret,
        clock: Clock,
        client: upstream::Client,
        ledger: Ledger,
    ) -> Self {
        let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
        let tracker = TaskTracker::new();
        let cache = Cache::new(config.cache);
        let hub =
            Hub::new(client.clone(), cache.clone(), config.watch, clock, tracker.clone(), draining.clone());
        let viewer = Viewer { client: client.clone(), hub: hub.clone(), cache: cache.clone() };
        let writes = Writes::new(cache.clone(), hub.clone());
        let audience = Audience::new(audience::Parts {
            client: client.clone(),
            ledger,
            fingerprinter: Fingerprinter::new(&secret.derive(Purpose::Fingerprints)),
            writes: writes.clone(),
            limits: config.audience,
            clock,
            tracker: tracker.clone(),
            stopping: stopping.clone(),
        });
        let service = Service {
            audience,
            messages: Messages::new(client.clone(), cache.clone()),
            counting: Counting::new(client.clone(), cache.clone(), hub.clone()),
            cancel: Cancel::new(client, cache, writes, tracker.clone(), stopping.clone()),
            hub,
            auth: match &config.access {
                Some(access) => Auth::held(secret, access.clone()),
                None => Auth::passed(secret, &config.workspace_keys),
            },
            pages: PageTokens::new(secret).into(),
            resumes: ResumeTokens::new(secret).into(),
        };
        Self {
            service,
            drain_timeout: config.drain_timeout,
            drain_delay: config.drain_delay,
            draining,
            stopping,
            tracker,
            viewer,
            access: config.access.clone(),
            reload_interval: config.reload_interval,
        }
    }

    /// What shows what the service does, while it is served.
    pub fn viewer(&self) -> Viewer {
        self.viewer.clone()
    }

    /// Serves on this listener until `shutdown` ends, then drains. Returns when all is over.
    ///
    /// # Errors
    /// Where the service cannot be put together; then nothing was served.
    pub async fn serve(
        self,
        mut listener: impl Listener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), grpc::StackError> {
        let (health, stack) = grpc::stack(self.service.clone()).await?;
        if let Some(access) = self.access.clone() {
            let fresh = access.keep_fresh(self.reload_interval);
            tokio::spawn(self.draining.clone().run_until_cancelled_owned(fresh));
        }
        let http2 = http2();
        let connections = GracefulShutdown::new();
        let accept = async {
            loop {
                let io = match listener.accept().await {
                    Ok(io) => io,
                    Err(error) => {
                        // Out of descriptors, most likely: others may end soon, and a hot loop helps nobody.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let service = TowerToHyperService::new(stack.clone());
                let connection = http2.serve_connection(TokioIo::new(io), service).into_owned();
                let connection = connections.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection broke off");
                    }
                });
            }
        };
        // Until balancers have noticed that this server goes away, it goes on taking what they send.
        let ending = async {
            shutdown.await;
            tracing::info!("draining");
            health.not_serving().await;
            tokio::time::sleep(self.drain_delay).await;
        };
        tokio::select! {
            never = accept => { let _: Infallible = never; }
            () = ending => {}
        }
        drop(listener);
        self.drain(connections).await;
        Ok(())
    }

    async fn drain(self, connections: GracefulShutdown) {
        self.draining.cancel();
        let connections = connections.shutdown();
        tokio::pin!(connections);
        let ended = timeout(self.drain_timeout, &mut connections).await.is_ok();
        self.stopping.cancel();
        // What has ended must not be polled again: it panics.
        if !ended {
            tracing::warn!("calls still ran when the drain timeout passed: they are ended now");
            let _ = timeout(LAST_WORDS, &mut connections).await;
        }
        // Writes that are on their way land, however long ago their callers left; their own timeouts bound it.
        self.tracker.close();
        self.tracker.wait().await;
        tracing::info!("drained");
    }
}

fn http2() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_PATIENCE);
    builder
}

/// Where connections come from: a socket of this machine, or a simulation's.
pub trait Listener {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (socket, _) = Self::accept(self).await?;
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }
}

/// Binds, or says what to do.
///
/// # Errors
/// Where the address is taken or not this machine's.
pub async fn listen(addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{addr} is taken by another program: stop it, or choose another port with --listen")
        }
        _ => format!("cannot listen on {addr}: {error}"),
    })
}
