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
    feed::{Feed, Snapshot},
    interest::Need,
    log::{Limit, Overrun, Window},
};
use crate::{
    error::{Error, Reason},
    model::{MessageChange, MessageId, WatchEvent, WatchOptions, WatchPlace, WatchUpdate},
};

/// A watcher.
pub(super) struct Watcher {
    /// Keeps the poller running.
    lease: Lease,
    version: watch::Receiver<u64>,
    /// Boxed: a hundred thousand watchers that want everything should not each carry room for a choice.
    options: Box<WatchOptions>,
    deadline: Option<Instant>,
    /// What a round of polling must be for this watch to begin or to complete on it.
    need: Need,
    phase: Phase,
    /// When something was last handed out; at first, when the watch began.
    told: Instant,
    /// Whether its reader asks for more.
    hungry: bool,
    witness: Option<MessageId>,
}

enum Phase {
    /// Until a round of polling has defined the present state.
    Waiting,
    /// The present state is being told; then changes follow from the window on.
    Telling(Telling, Window),
    /// Changes are told as they come.
    Following(Window),
}

/// A snapshot that is being told, from `next` on.
struct Telling {
    snapshot: Snapshot,
    next: usize,
    /// The number of the last change of the last message looked at.
    through: u64,
    told: u64,
    began: DateTime<Utc>,
}

/// What a look at the feed comes to: something to tell or the end (`None`), or nothing yet.
type Look = ControlFlow<Option<(DateTime<Utc>, WatchEvent)>>;

impl Watcher {
    pub(super) fn new(
        lease: Lease,
        deadline: Option<Instant>,
        mut options: WatchOptions,
        from: Option<WatchPlace>,
    ) -> Self {
        // Subscribe, then read.
        let version = lease.feed.subscribe();
        let need = lease.feed.join(&options.message_ids, lease.max_age());
        let phase = from.map_or(Phase::Waiting, |from| Phase::resumed(from, &lease.feed, &mut options));
        let (options, told, hungry, witness) = (Box::new(options), Instant::now(), false, None);
        Self { lease, version, options, deadline, need, phase, told, hungry, witness }
    }

    /// What is told, until the end or the first error. Dropping the stream drops the watcher.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<WatchUpdate, Error>> + Send + 'static {
        unfold(Some(self), |watcher| async move {
            let mut watcher = watcher?;
            watcher.comes_back();
            let update = watcher.next().await?;
            watcher.goes_away();
            let goes_on = update.is_ok().then_some(watcher);
            Some((update, goes_on))
        })
    }

    /// The reader asks for more.
    fn comes_back(&mut self) {
        self.hungry = true;
        self.lease.presence.hungry();
    }

    /// The reader has been handed something, and may be long over it.
    fn goes_away(&mut self) {
        self.told = Instant::now();
        self.lease.presence.fed();
        self.hungry = false;
        self.lease.presence.not_hungry();
    }

    async fn next(&mut self) -> Option<Result<WatchUpdate, Error>> {
        // After it was counted as hungry: see `Presence::is_stuck`.
        if self.told.elapsed() > self.lease.reader_patience() {
            return Some(Err(too_slow()));
        }
        loop {
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Some(Err(deadline_exceeded()));
            }
            let draining = self.lease.is_draining();
            // The rest of a snapshot is worth nothing: the next server tells all of it again.
            if draining && !matches!(self.phase, Phase::Following(_)) {
                return Some(Err(self::draining()));
            }
            self.version.mark_unchanged();
            // What is known is told before the feed's end is.
            let ended = self.lease.feed.ended();
            if let ControlFlow::Break(update) = self.look() {
                return update.map(|(observe_time, event)| {
                    Ok(WatchUpdate { observe_time, event, place: self.place() })
                });
            }
            if draining {
                return Some(Err(self::draining()));
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
                let Some((snapshot, window, began)) = feed.snapshot(&self.options, self.need) else {
                    return Look::Continue(());
                };
                let telling = Telling { snapshot, next: 0, through: 0, told: 0, began };
                self.phase = Phase::Telling(telling, window);
                self.look()
            }
            Phase::Waiting => {
                let Some((window, began)) = feed.now(self.need) else { return Look::Continue(()) };
                self.phase = Phase::Following(window);
                tell(began, WatchEvent::SnapshotComplete { message_count: 0 })
            }
            Phase::Telling(telling, window) => {
                let changes = telling.next_states(&self.options, self.lease.limit());
                let (told, window, began) = (telling.told, *window, telling.began);
                if !changes.is_empty() {
                    return tell(began, WatchEvent::Changes(changes));
                }
                self.phase = Phase::Following(window);
                tell(began, WatchEvent::SnapshotComplete { message_count: told })
            }
            Phase::Following(window) => match feed.read_on(window, &self.options, self.lease.limit()) {
                Ok(Some((changes, began))) => tell(began, WatchEvent::Changes(changes)),
                Ok(None) if self.options.complete_when_terminal => {
                    if feed.is_settled(window, &self.options, self.need, &mut self.witness) {
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

    /// The history does not reach back to this watcher (any more): all is told anew, also to one that
    /// skipped it.
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
                poll_interval: health.interval,
                failure: health.failure,
            },
            place: self.place(),
        }
    }

    fn observe_time(&self) -> DateTime<Utc> {
        self.lease.feed.health().last_poll.unwrap_or_else(|| self.lease.clock_now())
    }

    /// Where this watcher stands: one that begins there is told what this one would be.
    fn place(&self) -> WatchPlace {
        match &self.phase {
            Phase::Waiting => WatchPlace::Start { snapshot: self.options.snapshot },
            Phase::Telling(telling, window) => window.telling(telling.through, telling.told, telling.began),
            Phase::Following(window) => window.place(),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.lease.feed.leave(&self.options.message_ids);
        if self.hungry {
            self.lease.presence.not_hungry();
        }
    }
}

impl Phase {
    /// Where the watcher stood. Whether the history reaches back to it shows in the first look.
    fn resumed(from: WatchPlace, feed: &Feed, options: &mut WatchOptions) -> Self {
        match from {
            WatchPlace::Start { snapshot } => {
                options.snapshot = snapshot;
                Self::Waiting
            }
            WatchPlace::Telling { epoch, head, through, told, began } => {
                let window = Window::at(epoch, head);
                match feed.rest_of_snapshot(options, &window, through) {
                    Ok(snapshot) => {
                        Self::Telling(Telling { snapshot, next: 0, through, told, began }, window)
                    }
                    Err(Overrun) => Self::Following(window),
                }
            }
            WatchPlace::Following { epoch, base, at, until } => {
                Self::Following(Window::resumed(epoch, base, at, until))
            }
        }
    }
}

impl Telling {
    /// The next states that the options keep, as many as fit into one answer.
    fn next_states(&mut self, options: &WatchOptions, limit: Limit) -> Vec<MessageChange> {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while let Some((sequence, seen)) = self.snapshot.get(self.next) {
            if options.statuses.keeps(seen.message.status) {
                if limit.is_passed_by(changes.len(), bytes, seen.weight) {
                    break;
                }
                bytes += seen.weight as usize;
                changes.push(MessageChange { message: seen.message.clone(), previous: None, removed: false });
            }
            self.next += 1;
            self.through = *sequence;
        }
        self.told += changes.len() as u64;
        changes
    }
}

fn tell(observe_time: DateTime<Utc>, event: WatchEvent) -> Look {
    Look::Break(Some((observe_time, event)))
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

/// The last place that was told still holds.
fn too_slow() -> Error {
    Error::new(
        Reason::WatcherTooSlow,
        "the reader of this watch accepted nothing for too long: go on from the last resume_token",
    )
}

fn deadline_exceeded() -> Error {
    Error::new(Reason::DeadlineExceeded, "the watch reached the caller's deadline")
}
