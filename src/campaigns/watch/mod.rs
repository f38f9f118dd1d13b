//! Watching campaigns: one poller a (workspace, campaign), however many watch it.
//!
//! The poller sweeps over the upstream's list and writes what it sees into a feed: the latest states, and a
//! bounded history of changes. A watcher is a place in that history. The poller starts with the first
//! watcher and stops with the last; a feed lives as long as its poller.
//!
//! `diff`, `log` and `sweep` are pure; `feed` is what is shared; `poller` writes; `cursor` reads.

mod cursor;
mod diff;
mod feed;
mod log;
mod poller;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::Stream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{cursor::Watcher, feed::Feed, log::Limit, poller::Poller};
use crate::{
    clock::Clock,
    context::Context,
    error::Error,
    model::{CampaignId, WatchOptions, WatchUpdate, WorkspaceId},
    upstream,
};

/// How campaigns are watched.
#[derive(Clone, Copy, Debug)]
pub struct WatchConfig {
    /// The fastest pace: the starts of two sweeps lie at least this far apart, and half of it is rest.
    pub poll_interval: Duration,
    /// Messages asked for in a page.
    pub page_size: u32,
    /// Changes kept of a campaign. A watcher further behind starts from a new snapshot.
    pub log_capacity: usize,
    /// The most messages told in one update.
    pub chunk: usize,
    /// About the most bytes told in one update, well under the 4 MiB of a gRPC message.
    pub chunk_bytes: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(2),
            page_size: 100,
            log_capacity: 65_536,
            chunk: 500,
            chunk_bytes: 1 << 20,
        }
    }
}

/// Where watches begin. Clones share everything.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

type Key = (WorkspaceId, CampaignId);

struct Shared {
    client: upstream::Client,
    config: WatchConfig,
    clock: Clock,
    tracker: TaskTracker,
    draining: CancellationToken,
    feeds: Mutex<HashMap<Key, Slot>>,
}

/// A feed that is being watched.
struct Slot {
    feed: Arc<Feed>,
    watchers: usize,
    /// Stops the poller when the last watcher leaves.
    stop: CancellationToken,
}

impl Hub {
    /// A hub that polls through `client`, in tasks of `tracker`, until `draining` is cancelled.
    pub fn new(
        client: upstream::Client,
        config: WatchConfig,
        clock: Clock,
        tracker: TaskTracker,
        draining: CancellationToken,
    ) -> Self {
        let feeds = Mutex::default();
        Self(Arc::new(Shared { client, config, clock, tracker, draining, feeds }))
    }

    /// Watches a campaign. The watch begins with this call, not with the first look at the stream: what
    /// this server wrote before shows in all that is told. The stream ends after its first error, and
    /// without one only where the options say so.
    pub fn watch(
        &self,
        ctx: Context,
        campaign: CampaignId,
        options: WatchOptions,
    ) -> impl Stream<Item = Result<WatchUpdate, Error>> + Send + 'static + use<> {
        let deadline = ctx.deadline;
        Watcher::new(self.join(&ctx, campaign), deadline, options).into_stream()
    }

    /// Takes it that this server changed something in the campaign upstream. A watch that begins from now
    /// on is told nothing older, and none completes on anything older. The next sweep comes as soon as
    /// the pace allows: `poll_interval` after the last one began, but not before half of it has been
    /// rested, nor before the time that the upstream asked us to wait; a back-off is cut short.
    pub fn wrote(&self, workspace: WorkspaceId, campaign: &CampaignId) {
        // Nobody watches: the first sweep of the next watch will begin after this.
        if let Some(slot) = self.0.feeds().get(&(workspace, campaign.clone())) {
            slot.feed.wrote();
        }
    }

    /// Joins the feed's watchers, as the first where nobody watches yet, or where the feed has ended.
    fn join(&self, ctx: &Context, campaign: CampaignId) -> Lease {
        let key = (ctx.workspace.id, campaign);
        let mut feeds = self.0.feeds();
        let slot = match feeds.entry(key.clone()) {
            Entry::Occupied(slot) if slot.get().feed.ended().is_none() => slot.into_mut(),
            // The leases of the feed that ended do not count here: see `Lease::drop`.
            Entry::Occupied(mut slot) => {
                slot.insert(self.start(ctx, &key.1));
                slot.into_mut()
            }
            Entry::Vacant(vacant) => vacant.insert(self.start(ctx, &key.1)),
        };
        slot.watchers += 1;
        Lease { feed: Arc::clone(&slot.feed), shared: Arc::clone(&self.0), key }
    }

    /// Starts a feed's poller, with the key of the watcher that came first.
    fn start(&self, ctx: &Context, campaign: &CampaignId) -> Slot {
        let feed = Arc::new(Feed::new(self.0.config.log_capacity));
        let stop = CancellationToken::new();
        let poller = Poller {
            client: self.0.client.clone(),
            ctx: ctx.without_deadline(),
            campaign: campaign.clone(),
            feed: Arc::clone(&feed),
            poll_interval: self.0.config.poll_interval,
            page_size: self.0.config.page_size,
        };
        self.0.tracker.spawn(poller.run(stop.clone(), self.0.draining.clone()));
        Slot { feed, watchers: 0, stop }
    }
}

impl Shared {
    fn feeds(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        // Nothing under this lock leaves the map half changed.
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher's share in a feed: the poller runs while one is held.
struct Lease {
    feed: Arc<Feed>,
    shared: Arc<Shared>,
    key: Key,
}

impl Lease {
    fn limit(&self) -> Limit {
        Limit { count: self.shared.config.chunk, bytes: self.shared.config.chunk_bytes }
    }

    fn poll_interval(&self) -> Duration {
        self.shared.config.poll_interval
    }

    fn clock_now(&self) -> DateTime<Utc> {
        self.shared.clock.now()
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Joining and leaving happen under one lock, so none can join a feed whose poller is being stopped.
        let mut feeds = self.shared.feeds();
        let Some(slot) = feeds.get_mut(&self.key) else { return };
        // A feed that ended may have been followed by another one, whose watchers are not ours to count.
        if !Arc::ptr_eq(&slot.feed, &self.feed) {
            return;
        }
        slot.watchers -= 1;
        if slot.watchers == 0 {
            slot.stop.cancel();
            feeds.remove(&self.key);
        }
    }
}
