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
    doubts: Arc<AtomicU64>,
    closing: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

impl AdminPort {
    /// Opens it. What it says of readiness ends with `draining`.
    pub(super) async fn open(
        at: SocketAddr,
        server: &Server,
        ledger: &Ledger,
        scrape: Option<Scraper>,
        draining: CancellationToken,
    ) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(at).await.with_context(|| format!("--admin-listen: cannot listen on {at}"))?;
        let addr = listener.local_addr()?;
        let (viewer, doubts, started) =
            (server.viewer(), Arc::new(AtomicU64::new(UNCOUNTED)), Instant::now());
        let (cache, counted) = (viewer.cache.clone(), Arc::clone(&doubts));
        telemetry::watch(metric::CACHE_BYTES, "Bytes, about, that the cache holds", move || cache.size().1);
        let (held, most) = (ledger.clone(), ledger.bytes().1 as u64);
        telemetry::watch(metric::LEDGER_BYTES, "Bytes that the ledger holds", move || held.bytes().0 as u64);
        telemetry::watch(metric::LEDGER_MAX_BYTES, "Bytes that the ledger may hold", move || most);
        let in_doubt = move || Some(counted.load(Relaxed)).filter(|items| *items != UNCOUNTED);
        let of = in_doubt.clone();
        telemetry::watch(metric::IN_DOUBT, "Items in doubt, unresolved", move || of().unwrap_or(0));
        let closing = CancellationToken::new();
        let admin = Admin {
            is_ready: Box::new(move || !draining.is_cancelled()),
            scrape: Box::new(move || scrape.as_ref()?.scrape()),
            status: Box::new(move || status(&viewer, in_doubt(), started)),
        };
        let serving = tokio::spawn(admin.serve(listener, closing.clone().cancelled_owned()));
        Ok(Self { addr, doubts, closing, serving })
    }

    /// Counts the items in doubt from time to time; so many there are now.
    pub(super) fn count_doubts(&self, ledger: Ledger, now: u64) {
        let (doubts, closing) = (Arc::clone(&self.doubts), self.closing.clone());
        doubts.store(now, Relaxed);
        tokio::spawn(closing.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(COUNT_EVERY).await;
                if let Ok(items) = in_doubt(&ledger).await {
                    doubts.store(items, Relaxed);
                }
            }
        }));
    }

    pub(super) async fn close(self) {
        self.closing.cancel();
        // A connection that is kept open for the next scrape holds nothing up.
        let _ = tokio::time::timeout(Duration::from_millis(200), self.serving).await;
    }
}

fn status(viewer: &Viewer, in_doubt: Option<u64>, started: Instant) -> Status {
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
        in_doubt,
        polled_campaigns: watches.polled as u64,
        watchers: watches.watchers as u64,
        kept_histories: watches.resting as u64,
        kept_history_bytes: watches.resting_bytes as u64,
        cache_entries,
        cache_bytes,
        workspaces: workspaces.collect(),
    }
}
