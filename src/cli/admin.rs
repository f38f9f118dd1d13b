//! The admin port of a running server: what it shows, put together.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::serve::in_doubt;
use crate::{
    admin::{Admin, Status, Workspace},
    ledger::Ledger,
    server::{Server, Viewer},
    telemetry::{self, Scraper, names::metric},
};

/// How often the items in doubt are counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// What stands for "not counted yet".
const UNCOUNTED: u64 = u64::MAX;

/// The port, open.
pub(super) struct AdminPort {
    pub(super) addr: SocketAddr,
    closing: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl AdminPort {
    /// Opens it. What it says of readiness ends with `draining`.
    pub(super) async fn open(
        at: SocketAddr,
        levels: &Levels,
        scrape: Option<Scraper>,
        draining: CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(at).await.with_context(|| format!("--admin-listen: cannot listen on {at}"))?;
        let addr = listener.local_addr()?;
        let (levels, started, closing) = (levels.clone(), Instant::now(), CancellationToken::new());
        let admin = Admin {
            is_ready: Box::new(move || !draining.is_cancelled()),
            scrape: Box::new(move || scrape.as_ref()?.scrape()),
            status: Box::new(move || levels.status(started)),
        };
        let serving = tokio::spawn(admin.serve(listener, closing.clone().cancelled_owned()));
        Ok(Self { addr, closing, serving })
    }

    pub(super) async fn close(self) {
        self.closing.cancel();
        // A connection that is kept open for the next scrape holds nothing up.
        let _ = tokio::time::timeout(Duration::from_millis(200), self.serving).await;
    }
}

/// What stands how high: for the metrics, whoever collects them, and for the admin port's page.
#[derive(Clone)]
pub(super) struct Levels {
    viewer: Viewer,
    ledger: Ledger,
    doubts: Arc<AtomicU64>,
}

impl Levels {
    pub(super) fn new(server: &Server, ledger: &Ledger) -> Self {
        let doubts = Arc::new(AtomicU64::new(UNCOUNTED));
        Self { viewer: server.viewer(), ledger: ledger.clone(), doubts }
    }

    /// Lets whoever collects metrics look at them, and counts the items in doubt from time to time; so many there
    /// are now. The task ends with its runtime, and does nothing that an end could cut in half.
    pub(super) fn collect(&self, doubts: u64) {
        self.doubts.store(doubts, Relaxed);
        let watch = |name, what, number: fn(&Self) -> u64| {
            let levels = self.clone();
            telemetry::watch(name, what, move || number(&levels));
        };
        watch(metric::IN_DOUBT, "Items in doubt, unresolved", |l| l.in_doubt().unwrap_or(0));
        watch(metric::CACHE_BYTES, "Bytes, about, that the cache holds", |l| l.viewer.cache.size().1);
        watch(metric::LEDGER_BYTES, "Bytes that the ledger holds", |l| l.ledger.bytes().0 as u64);
        watch(metric::LEDGER_MAX_BYTES, "Bytes that the ledger may hold", |l| l.ledger.bytes().1 as u64);
        watch(metric::CONNECTIONS, "Open connections", |l| l.viewer.connections() as u64);
        watch(metric::WATCHERS, "Open watches", |l| l.viewer.hub.view().watchers as u64);
        watch(metric::POLLERS, "Campaigns that are polled", |l| l.viewer.hub.view().polled as u64);
        watch(metric::CIRCUITS_OPEN, "Workspaces whose circuit breaker is not closed", |l| {
            l.viewer.client.lanes().iter().filter(|lane| lane.circuit != "closed").count() as u64
        });
        let levels = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(COUNT_EVERY).await;
                if let Ok(items) = in_doubt(&levels.ledger).await {
                    levels.doubts.store(items, Relaxed);
                }
            }
        });
    }

    fn in_doubt(&self) -> Option<u64> {
        Some(self.doubts.load(Relaxed)).filter(|items| *items != UNCOUNTED)
    }

    fn status(&self, started: Instant) -> Status {
        let viewer = &self.viewer;
        let watches = viewer.hub.view();
        let (cache_entries, cache_bytes) = viewer.cache.size();
        let workspaces = viewer.client.lanes().into_iter().map(|lane| Workspace {
            workspace: format!("{:?}", lane.workspace),
            circuit: lane.circuit,
            calls: lane.calls as u64,
            batches: lane.batches as u64,
            polls: lane.polls as u64,
        });
        Status {
            uptime_seconds: started.elapsed().as_secs(),
            in_doubt: self.in_doubt(),
            connections: viewer.connections() as u64,
            polled_campaigns: watches.polled as u64,
            watchers: watches.watchers as u64,
            kept_histories: watches.resting as u64,
            kept_history_bytes: watches.resting_bytes as u64,
            cache_entries,
            cache_bytes,
            workspaces: workspaces.collect(),
        }
    }
}
