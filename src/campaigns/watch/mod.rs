//! Watching campaigns: one poller a (workspace, campaign), however many watch it.
//!
//! The poller asks in rounds and writes what it sees into a feed: the latest states, and a bounded history of
//! changes. A full round reads the whole list; a quick one only where it may have changed (what is new at
//! its ends, and every message that may still change); one by name, where nobody wants more, asks for the
//! named messages alone. The pace follows what moves, and is bound by what it costs.
//!
//! A watcher is a place in the feed's history, and its resume token holds that place.
//! The poller starts with the first watcher and stops with the last, or when none is being read any more;
//! the feed is kept for a while, so that one who comes back misses nothing.
//!
//! `diff`, `log`, `survey` (which calls a round makes), `pace` and `interest` (who wants what) are pure;
//! `feed`, with its `state`, is what is shared; `poller` writes, a `round` at a time; `cursor` reads; `feeds`
//! says which feeds there are, and `presence` whether anyone reads them.

mod cursor;
mod diff;
mod feed;
mod feeds;
mod interest;
mod log;
mod pace;
mod poller;
mod presence;
mod round;
mod state;
mod survey;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::Stream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::feeds::FeedsView;
use self::{
    cursor::Watcher,
    feed::Feed,
    feeds::{Feeds, Joined, Retention},
    log::Limit,
    poller::Poller,
    presence::Presence,
};
use crate::{
    campaigns::cache::Cache,
    clock::Clock,
    context::Context,
    error::Error,
    model::{CampaignId, Counts, Observed, WatchOptions, WatchPlace, WatchUpdate, WorkspaceId},
    telemetry::trace::Link,
    upstream,
};

/// How campaigns are watched.
#[derive(Clone, Copy, Debug)]
pub struct WatchConfig {
    /// The fastest pace: the starts of two rounds lie at least this far apart, and half of it is rest.
    pub poll_interval: Duration,
    /// The slowest pace, which a campaign comes to where nothing moves; at least `poll_interval`.
    pub poll_interval_idle: Duration,
    /// The most calls a second, at least 1, that polling makes for one campaign, on average: a minute's worth
    /// that was not made may be made up for at once.
    pub poll_rate: u32,
    /// By how much of itself each rest is longer or shorter at random, 0 to 1: pollers that began together
    /// do not stay together.
    pub poll_jitter: f64,
    /// Messages asked for in a page.
    pub page_size: u32,
    /// Changes kept of a campaign. A watcher further behind starts from a new snapshot.
    pub log_capacity: usize,
    /// The most messages told in one update.
    pub chunk: usize,
    /// About the most bytes told in one update, well under the 4 MiB of a gRPC message. A reader that
    /// stands still pins one, and the transport asks for the next when it has got rid of most of it: so a
    /// reader that accepts a little now and then is asked for, however slow it is.
    pub chunk_bytes: usize,
    /// How long after its last watcher left a campaign's history is kept, without polling; zero: not at all.
    pub resume_window: Duration,
    /// About the most bytes of such histories, all campaigns together. The one kept longest goes first.
    pub history_max_bytes: usize,
    /// How long a reader may accept nothing. Then its watch is over, and already before it comes back to
    /// hear of that, nothing is polled for its sake.
    pub reader_patience: Duration,
}

impl WatchConfig {
    fn retention(&self) -> Retention {
        Retention { window: self.resume_window, max_bytes: self.history_max_bytes }
    }

    /// What is over is noticed a little later.
    fn tidy_interval(&self) -> Duration {
        let least = Duration::from_millis(10);
        let most = self.reader_patience.min(self.resume_window.max(least)) / 4;
        most.clamp(least, Duration::from_secs(15))
    }
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(2),
            poll_interval_idle: Duration::from_secs(60),
            poll_rate: 40,
            poll_jitter: 0.1,
            page_size: 100,
            log_capacity: 65_536,
            chunk: 500,
            chunk_bytes: 4 << 10,
            resume_window: Duration::from_secs(600),
            history_max_bytes: 256 << 20,
            reader_patience: Duration::from_secs(60),
        }
    }
}

/// Where watches begin. Clones share everything.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

type Key = (WorkspaceId, CampaignId);

struct Shared {
    client: upstream::Client,
    cache: Cache,
    config: WatchConfig,
    clock: Clock,
    tracker: TaskTracker,
    draining: CancellationToken,
    feeds: Mutex<Feeds>,
}

impl Hub {
    /// A hub that polls through `client`, feeding `cache`, in tasks of `tracker`, until `draining` is cancelled.
    pub fn new(
        client: upstream::Client,
        cache: Cache,
        config: WatchConfig,
        clock: Clock,
        tracker: TaskTracker,
        draining: CancellationToken,
    ) -> Self {
        let feeds = Mutex::default();
        Self(Arc::new(Shared { client, cache, config, clock, tracker, draining, feeds }))
    }

    /// Watches a campaign, from the place on where an earlier watch with the same ids and statuses stood,
    /// if one is given. The watch begins with this call, not with the first look at the stream: what this
    /// server wrote before shows in all that a new watch is told. The stream ends after its first error,
    /// and without one only where the options say so.
    pub fn watch(
        &self,
        ctx: Context,
        campaign: CampaignId,
        options: WatchOptions,
        from: Option<WatchPlace>,
    ) -> impl Stream<Item = Result<WatchUpdate, Error>> + Send + 'static + use<> {
        let deadline = ctx.deadline;
        let (lease, start) = self.join(&ctx, campaign);
        let (feed, campaign) = (Arc::clone(&lease.feed), lease.key.1.clone());
        let watcher = Watcher::new(lease, deadline, options, from);
        // Only now: a first round that does not know yet what is wanted would look at nothing, and the next would wait
        // for its time.
        if let Some(stop) = start {
            self.poll(&ctx, campaign, feed, stop);
        }
        watcher.into_stream()
    }

    /// Takes it that this server changed something in the campaign upstream. A watch that begins from now
    /// on is told nothing older, and none completes on anything older. The next round comes as soon as
    /// the pace allows: `poll_interval` after the last one began, but not before half of it has been
    /// rested, nor before the last one's calls are paid for by `poll_rate`, nor before the time that the
    /// upstream asked us to wait; an idle rest and a back-off are cut short.
    pub fn wrote(&self, workspace: WorkspaceId, campaign: &CampaignId) {
        // Nobody watches: the first round of the next watch will begin after this.
        if let Some(feed) = self.0.feeds().get(&(workspace, campaign.clone())) {
            feed.wrote();
        }
    }

    /// A look at all campaigns that are or were watched.
    pub fn view(&self) -> FeedsView {
        self.0.feeds().view()
    }

    /// A campaign's messages by status, as its last poll saw them: where it is watched and polling goes well,
    /// nothing was written since, and that poll is no older than `max_staleness`.
    pub fn counts(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
        max_staleness: Option<Duration>,
    ) -> Option<Observed<Counts>> {
        let counts = self.0.feeds().polled(&(workspace, campaign.clone()))?.counts()?;
        let age = (self.0.clock.now() - counts.began).to_std().unwrap_or_default();
        max_staleness.is_none_or(|allowed| age < allowed).then_some(counts)
    }

    /// Joins the feed's watchers, as the first where nobody watches, or where the feed has ended: then its poller is to
    /// be started, with what stops it.
    fn join(&self, ctx: &Context, campaign: CampaignId) -> (Lease, Option<CancellationToken>) {
        let key = (ctx.workspace.id, campaign);
        let new_feed = || Feed::new(self.0.config.log_capacity, self.0.config.poll_interval);
        let mut feeds = self.0.feeds();
        let Joined { feed, presence, start } = feeds.join(&key, new_feed);
        if !std::mem::replace(&mut feeds.tended, true) {
            // Nobody waits for it: it holds nothing, and ends with the hub or its drain.
            tokio::spawn(tend(
                Arc::downgrade(&self.0),
                self.0.config.tidy_interval(),
                self.0.draining.clone(),
            ));
        }
        drop(feeds);
        (Lease { feed, presence, shared: Arc::clone(&self.0), key }, start)
    }

    /// Starts a feed's poller, with the key of the watcher that it is started for.
    fn poll(&self, ctx: &Context, campaign: CampaignId, feed: Arc<Feed>, stop: CancellationToken) {
        let poller = Poller {
            client: self.0.client.polling(),
            cache: self.0.cache.clone(),
            ctx: ctx.without_deadline(),
            starter: Link::here(),
            campaign,
            feed: Arc::clone(&feed),
            clock: self.0.clock,
            config: self.0.config,
        };
        let draining = self.0.draining.clone();
        self.0.tracker.spawn(async move {
            // One that was stopped may still be putting a page away.
            let _turn = feed.turn().await;
            poller.run(stop, draining).await;
        });
    }
}

/// Looks after a hub's feeds for as long as there are any.
async fn tend(hub: Weak<Shared>, interval: Duration, draining: CancellationToken) {
    loop {
        tokio::select! {
            () = draining.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let Some(shared) = hub.upgrade() else { return };
        let mut feeds = shared.feeds();
        feeds.tidy(shared.config.reader_patience, shared.config.retention());
        if feeds.is_empty() {
            feeds.tended = false;
            return;
        }
    }
}

impl Shared {
    fn feeds(&self) -> MutexGuard<'_, Feeds> {
        // Nothing under this lock leaves the map half changed.
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A watcher's share in a feed: the poller runs while one is held and read.
struct Lease {
    feed: Arc<Feed>,
    presence: Arc<Presence>,
    shared: Arc<Shared>,
    key: Key,
}

impl Lease {
    fn limit(&self) -> Limit {
        Limit { count: self.shared.config.chunk, bytes: self.shared.config.chunk_bytes }
    }

    /// How old the state may be that a new watch is told.
    fn max_age(&self) -> Duration {
        2 * self.shared.config.poll_interval
    }

    fn reader_patience(&self) -> Duration {
        self.shared.config.reader_patience
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
        self.shared.feeds().leave(&self.key, &self.feed, self.shared.config.retention());
    }
}
