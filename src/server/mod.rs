//! The composition root: builds the parts, serves, drains.
//!
//! gRPC is served by hyper directly, not by tonic's own server: that one answers an expired deadline with
//! CANCELLED and drops the handler, and its shutdown waits for open streams for as long as they live.
//! Deadlines and the drain are this service's own.

mod connection;
mod listener;
mod prompt;

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use connection::Connections;
pub use listener::{Listener, listen};

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
    config::{self, Config},
    grpc::{
        self, Quota, Service,
        auth::Auth,
        tokens::{PageTokens, ResumeTokens},
    },
    ledger::{Fingerprinter, Ledger},
    secret::{Purpose, Secret},
    tls::Tls,
    upstream,
};

/// What calls that the drain's end cut short get to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The service, built and not yet bound.
pub struct Server {
    service: Service,
    limits: grpc::Limits,
    connections: config::Connections,
    tls: Option<Tls>,
    reload_interval: Duration,
    drain_timeout: Duration,
    drain_delay: Duration,
    draining: CancellationToken,
    stopping: CancellationToken,
    tracker: TaskTracker,
    connected: TaskTracker,
    viewer: Viewer,
    access: Option<Access>,
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
    connected: TaskTracker,
}

impl Viewer {
    /// Open connections.
    pub fn connections(&self) -> usize {
        self.connected.len()
    }
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
        let (tracker, connected) = (TaskTracker::new(), TaskTracker::new());
        let cache = Cache::new(config.cache);
        let hub =
            Hub::new(client.clone(), cache.clone(), config.watch, clock, tracker.clone(), draining.clone());
        let viewer = Viewer {
            client: client.clone(),
            hub: hub.clone(),
            cache: cache.clone(),
            connected: connected.clone(),
        };
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
            quota: Quota::new(config.calls.workspace_max, config.calls.workspace_rate),
        };
        Self {
            service,
            limits: grpc::Limits { max_calls: config.calls.max, stream_idle: config.calls.stream_idle },
            connections: config.connections.clone(),
            tls: config.tls.clone(),
            reload_interval: config.reload_interval,
            drain_timeout: config.drain_timeout,
            drain_delay: config.drain_delay,
            draining,
            stopping,
            tracker,
            connected,
            viewer,
            access: config.access.clone(),
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
        listener: impl Listener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), grpc::StackError> {
        let (health, edge) = grpc::stack(self.service.clone(), self.limits).await?;
        let (tls, limits) = (self.tls.clone(), self.connections.clone());
        let (draining, tracker) = (self.draining.clone(), self.connected.clone());
        // Until balancers have noticed that this server goes away, it goes on taking what they send.
        let ending = async {
            shutdown.await;
            tracing::info!("draining");
            health.not_serving().await;
            tokio::time::sleep(self.drain_delay).await;
        };
        if let Some(tls) = &tls {
            let fresh = tls.reloaded().keep_fresh(self.reload_interval);
            tokio::spawn(draining.clone().run_until_cancelled_owned(fresh));
        }
        if let Some(access) = self.access.clone() {
            let fresh = access.keep_fresh(self.reload_interval);
            tokio::spawn(draining.clone().run_until_cancelled_owned(fresh));
        }
        if limits.web_origins.is_empty() {
            Connections::new(edge, tls, limits, draining, tracker).accept_until(ending, listener).await;
        } else {
            let edge = grpc::web(edge, &limits.web_origins);
            Connections::new(edge, tls, limits, draining, tracker).accept_until(ending, listener).await;
        }
        self.drain().await;
        Ok(())
    }

    async fn drain(self) {
        self.draining.cancel();
        self.connected.close();
        let ended = timeout(self.drain_timeout, self.connected.wait()).await.is_ok();
        self.stopping.cancel();
        if !ended {
            tracing::warn!("calls still ran when the drain timeout passed: they are ended now");
            let _ = timeout(LAST_WORDS, self.connected.wait()).await;
        }
        // Writes that are on their way land, however long ago their callers left; their own timeouts bound it.
        self.tracker.close();
        self.tracker.wait().await;
        tracing::info!("drained");
    }
}
