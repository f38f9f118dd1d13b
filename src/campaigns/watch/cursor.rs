//! One watcher: a place in a feed's history, and what it wants to hear. It has no task and no queue; it
//! reads when it is read, and a slow one gets the newest state a message instead of a backlog.

use std::{future::pending, ops::ControlFlow, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::stream::{Stream, unfold};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    Lease,
    feed::Snapshot,
    log::{Limit, Overrun, Window},
};
use crate::{
    error::{Error, Reason},
    model::{MessageChange, MessageId, WatchEvent, WatchOptions, WatchUpdate},
};

/// A watcher.
pub(super) struct Watcher {
    /// Keeps the poller running.
    lease: Lease,
    version: watch::Receiver<u64>,
    options: WatchOptions,
    deadline: Option<Instant>,
    /// This server's writes when the watch began: what is told must be newer than these.
    writes: u64,
    phase: Phase,
    /// When something was last told.
    told: Instant,
    witness: Option<MessageId>,
}

enum Phase {
    /// Until a sweep has defined the present state.
    Waiting,
    /// The present state is being told, from `next` on; then changes follow from the window on.
    Telling { snapshot: Snapshot, next: usize, told: u64, window: Window, began: DateTime<Utc> },
    /// Changes are told as they come.
    Following(Window),
}

/// What a look at the feed comes to: something to tell or the end (`None`), or nothing yet.
type Look = ControlFlow<Option<WatchUpdate>>;

impl Watcher {
    pub(super) fn new(lease: Lease, deadline: Option<Instant>, options: WatchOptions) -> Self {
        // Subscribe, then read.
        let version = lease.feed.subscribe();
        let writes = lease.feed.writes();
        let told = Instant::now();
        Self { lease, version, options, deadline, writes, phase: Phase::Waiting, told, witness: None }
    }

    /// What is told, until the end or the first error. Dropping the stream drops the watcher.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<WatchUpdate, Error>> + Send + 'static {
        unfold(Some(self), |watcher| async move {
            let mut watcher = watcher?;
            let update = watcher.next().await?;
            watcher.told = Instant::now();
            let goes_on = update.is_ok().then_some(watcher);
            Some((update, goes_on))
        })
    }

    async fn next(&mut self) -> Option<Result<WatchUpdate, Error>> {
        loop {
            if self.lease.is_draining() {
                return Some(Err(draining()));
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Some(Err(deadline_exceeded()));
            }
            self.version.mark_unchanged();
            // What is known is told before the feed's end is.
            let ended = self.lease.feed.ended();
            if let ControlFlow::Break(update) = self.look() {
                return update.map(Ok);
            }
            if let Some(error) = ended {
                return Some(Err(error));
            }
            let heartbeat = self.told + self.options.heartbeat_interval;
            tokio::select! {
                biased;
                () = at(self.deadline) => {}
                () = sleep_until(heartbeat) => return Some(Ok(self.heartbeat())),
                _ = self.version.changed() => {}
            }
        }
    }

    fn look(&mut self) -> Look {
        let feed = &self.lease.feed;
        match &mut self.phase {
            Phase::Waiting if self.options.snapshot => {
                let Some((snapshot, window, began)) = feed.snapshot(&self.options, self.writes) else {
                    return Look::Continue(());
                };
                self.phase = Phase::Telling { snapshot, next: 0, told: 0, window, began };
                self.look()
            }
            Phase::Waiting => {
                let Some((window, began)) = feed.now(self.writes) else { return Look::Continue(()) };
                self.phase = Phase::Following(window);
                tell(began, WatchEvent::SnapshotComplete { message_count: 0 })
            }
            Phase::Telling { snapshot, next, told, window, began } => {
                let changes = next_states(snapshot, next, &self.options, self.lease.limit());
                *told += changes.len() as u64;
                let (told, window, began) = (*told, *window, *began);
                if !changes.is_empty() {
                    return tell(began, WatchEvent::Changes(changes));
                }
                self.phase = Phase::Following(window);
                tell(began, WatchEvent::SnapshotComplete { message_count: told })
            }
            Phase::Following(window) => match feed.read_on(window, &self.options, self.lease.limit()) {
                Ok(Some((changes, began))) => tell(began, WatchEvent::Changes(changes)),
                Ok(None) if self.options.complete_when_terminal => {
                    if feed.is_settled(window, &self.options, &mut self.witness) {
                        Look::Break(None)
                    } else {
                        Look::Continue(())
                    }
                }
                Ok(None) => Look::Continue(()),
                Err(Overrun) => self.reset(),
            },
        }
    }

    /// The history no longer reaches back to this watcher: all is told anew, also to one that skipped it.
    fn reset(&mut self) -> Look {
        self.phase = Phase::Waiting;
        self.options.snapshot = true;
        tell(self.observe_time(), WatchEvent::Reset)
    }

    fn heartbeat(&self) -> WatchUpdate {
        let health = self.lease.feed.health();
        WatchUpdate {
            observe_time: health.last_poll.unwrap_or_else(|| self.lease.clock_now()),
            event: WatchEvent::Heartbeat {
                last_poll_time: health.last_poll,
                poll_interval: self.lease.poll_interval(),
                failure: health.failure,
            },
        }
    }

    fn observe_time(&self) -> DateTime<Utc> {
        self.lease.feed.health().last_poll.unwrap_or_else(|| self.lease.clock_now())
    }
}

fn tell(observe_time: DateTime<Utc>, event: WatchEvent) -> Look {
    Look::Break(Some(WatchUpdate { observe_time, event }))
}

/// The next states of a snapshot that the options keep, as many as fit into one answer.
fn next_states(
    snapshot: &Snapshot,
    next: &mut usize,
    options: &WatchOptions,
    limit: Limit,
) -> Vec<MessageChange> {
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while let Some(seen) = snapshot.get(*next) {
        if options.statuses.keeps(seen.message.status) {
            if limit.is_passed_by(changes.len(), bytes, seen.weight) {
                break;
            }
            bytes += seen.weight as usize;
            changes.push(MessageChange { message: seen.message.clone(), previous: None, removed: false });
        }
        *next += 1;
    }
    changes
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// The end of every watch when the server goes away.
pub(super) fn draining() -> Error {
    Error::new(Reason::ServerDraining, "the server is going away: open a new watch")
        .retry_after(Duration::from_secs(1))
}

fn deadline_exceeded() -> Error {
    Error::new(Reason::DeadlineExceeded, "the watch reached the caller's deadline")
}
