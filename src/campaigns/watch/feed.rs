//! What is known of one campaign's messages: the latest states, and the history of how they came about.
//! The poller writes, watchers read; neither ever waits while it holds the lock.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use super::{
    diff::{Verdict, judge, weight},
    log::{Limit, Log, Overrun, Seen, Told, Window},
};
use crate::{
    error::Error,
    model::{Counts, Message, MessageId, Observed, WatchOptions},
};

/// The present state of the watched messages, as it is told: shared by all who are being told. In order of
/// the number of each message's last change, which stands beside it.
pub(super) type Snapshot = Arc<[(u64, Seen)]>;

/// One campaign's feed.
pub(super) struct Feed {
    state: RwLock<State>,
    /// Moves when there may be something for a watcher: a change, a sweep that one waited for, the end.
    version: watch::Sender<u64>,
    /// Wakes the poller after a write.
    wrote: Notify,
    /// Held by the poller.
    turn: Mutex<()>,
}

/// How polling goes.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// When the last sweep that went through began.
    pub(super) last_poll: Option<DateTime<Utc>>,
    /// Why the present one did not.
    pub(super) failure: Option<Error>,
}

struct Latest {
    seen: Seen,
    /// The number of its last change.
    sequence: u64,
}

struct State {
    log: Log,
    latest: HashMap<MessageId, Latest>,
    /// Those that may still change.
    open: HashSet<MessageId>,
    /// Those that were here and are not any more.
    removed: HashSet<MessageId>,
    /// The latest states in order of their last change; made when first asked for, dropped with any change.
    snapshot: OnceLock<Snapshot>,
    /// This server's own writes so far.
    writes: u64,
    swept: Option<Swept>,
    failure: Option<Error>,
    end: Option<Error>,
}

/// The last sweep that went through.
#[derive(Clone, Copy)]
struct Swept {
    began: DateTime<Utc>,
    /// This server's own writes when it began.
    writes: u64,
    /// The newest change when it ended.
    head: u64,
}

impl Feed {
    pub(super) fn new(log_capacity: usize) -> Self {
        Self {
            state: RwLock::new(State {
                log: Log::new(fastrand::u64(..), log_capacity),
                latest: HashMap::new(),
                open: HashSet::new(),
                removed: HashSet::new(),
                snapshot: OnceLock::new(),
                writes: 0,
                swept: None,
                failure: None,
                end: None,
            }),
            version: watch::Sender::new(0),
            wrote: Notify::new(),
            turn: Mutex::new(()),
        }
    }

    // What the poller says.

    /// Waits until no other poller writes here.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes what a page, or (`confirmed`) the message itself, says, in a sweep that began then. Gives the
    /// ids of those that took a step back, which must be confirmed before it is believed.
    pub(super) fn observe(
        &self,
        messages: Vec<Arc<Message>>,
        began: DateTime<Utc>,
        confirmed: bool,
    ) -> Vec<MessageId> {
        let mut state = self.write();
        let head = state.log.head();
        let doubted =
            messages.into_iter().filter_map(|message| state.take(message, began, confirmed)).collect();
        self.tell_if(state.log.head() > head, state);
        doubted
    }

    /// Takes it that the upstream, asked for this very message, has none.
    pub(super) fn gone(&self, id: &MessageId, began: DateTime<Utc>) {
        let mut state = self.write();
        let changed = state.lose(id, began);
        self.tell_if(changed, state);
    }

    /// Takes it that a sweep went through that began then, when this server had made `writes` writes.
    pub(super) fn swept(&self, began: DateTime<Utc>, writes: u64) {
        let mut state = self.write();
        let head = state.log.head();
        let news = state.swept.is_none_or(|last| last.writes != writes || last.head != head);
        state.swept = Some(Swept { began, writes, head });
        state.failure = None;
        // A sweep that found nothing new wakes nobody: 100,000 idle watchers would be woken for nothing.
        self.tell_if(news, state);
    }

    /// Takes it that a sweep failed.
    pub(super) fn failed(&self, error: Error) {
        self.write().failure = Some(error);
    }

    /// Ends every watch of this feed with the error. The first end counts.
    pub(super) fn end(&self, error: Error) {
        let mut state = self.write();
        let first = state.end.is_none();
        state.end.get_or_insert(error);
        self.tell_if(first, state);
    }

    /// The messages that may still change, but for those that `seen` knows.
    pub(super) fn open_but_for(&self, seen: impl Fn(&MessageId) -> bool) -> Vec<MessageId> {
        self.read().open.iter().filter(|id| !seen(id)).cloned().collect()
    }

    /// Waits for a write of this server.
    pub(super) async fn until_written(&self) {
        self.wrote.notified().await;
    }

    // What this server's own writes say.

    /// Takes it that this server changed something upstream.
    pub(super) fn wrote(&self) {
        self.write().writes += 1;
        self.wrote.notify_one();
    }

    /// How many writes this server has made.
    pub(super) fn writes(&self) -> u64 {
        self.read().writes
    }

    /// Takes it that what is known is not the present any more: nobody polled for a while. No watch begins
    /// or completes before the next sweep.
    pub(super) fn outdate(&self) {
        self.write().writes += 1;
    }

    /// About how many bytes are kept.
    pub(super) fn weight(&self) -> usize {
        let state = self.read();
        let latest = state.latest.values().map(|latest| size_of::<Latest>() + latest.seen.weight as usize);
        latest.sum::<usize>() + state.log.weight()
    }

    // What watchers ask.

    /// Follows the feed's version. Look at the feed after that, lest a change slip between the two.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Why every watch of this feed ends, once one has to.
    pub(super) fn ended(&self) -> Option<Error> {
        self.read().end.clone()
    }

    /// How polling goes.
    pub(super) fn health(&self) -> Health {
        let state = self.read();
        Health { last_poll: state.swept.map(|swept| swept.began), failure: state.failure.clone() }
    }

    /// How many messages are in which status, as of the last sweep, while that is the present as far as this
    /// server knows. One that was terminal when last seen counts as that, for ever.
    pub(super) fn counts(&self) -> Option<Observed<Counts>> {
        let state = self.read();
        let swept = state.swept_since(state.writes).filter(|_| state.failure.is_none())?;
        let statuses = state.latest.values().map(|latest| latest.seen.message.status);
        Some(Observed { value: statuses.collect(), began: swept.began })
    }

    /// "Now", once a sweep has defined it that began after this server's first `writes` writes: the place
    /// from which changes are told, and when that sweep began.
    pub(super) fn now(&self, writes: u64) -> Option<(Window, DateTime<Utc>)> {
        let state = self.read();
        state.swept_since(writes).map(|swept| (state.log.now(), swept.began))
    }

    /// The same, with the present state of the messages that the options name.
    pub(super) fn snapshot(
        &self,
        options: &WatchOptions,
        writes: u64,
    ) -> Option<(Snapshot, Window, DateTime<Utc>)> {
        let state = self.read();
        let swept = state.swept_since(writes)?;
        let snapshot = if options.message_ids.is_empty() {
            Arc::clone(state.snapshot.get_or_init(|| state.in_order(state.latest.values())))
        } else {
            state.in_order(options.message_ids.iter().filter_map(|id| state.latest.get(id)))
        };
        Some((snapshot, state.log.now(), swept.began))
    }

    /// The rest of the state at the window's base, as it was then: of the messages that the options name,
    /// those whose last change had a number above `through`.
    pub(super) fn rest_of_snapshot(
        &self,
        options: &WatchOptions,
        window: &Window,
        through: u64,
    ) -> Result<Snapshot, Overrun> {
        let state = self.read();
        let changed = state.log.at_base(window, through)?.map(|(sequence, message)| {
            (sequence, Seen { weight: weight(message), message: Arc::clone(message) })
        });
        let rest = through + 1..=window.base();
        let same = state.latest.values().filter(|latest| rest.contains(&latest.sequence));
        let same = same.map(|latest| (latest.sequence, latest.seen.clone()));
        let watched = |seen: &Seen| options.watches(&seen.message.id);
        let mut states: Vec<_> = same.chain(changed).filter(|(_, seen)| watched(seen)).collect();
        states.sort_unstable_by_key(|(sequence, _)| *sequence);
        Ok(states.into())
    }

    /// What comes next in the window of a watcher with these options.
    pub(super) fn read_on(
        &self,
        window: &mut Window,
        options: &WatchOptions,
        limit: Limit,
    ) -> Result<Told, Overrun> {
        let watched = |message: &Message| options.watches(&message.id);
        self.read().log.read(window, watched, options.statuses, limit)
    }

    /// Whether every watched message is terminal or removed, as of a sweep that no write of this server is
    /// newer than, and the watcher at this place has been told. `witness` is a message that spoke against
    /// it the last time: most often it still does, which spares a look at the others.
    pub(super) fn is_settled(
        &self,
        window: &Window,
        options: &WatchOptions,
        witness: &mut Option<MessageId>,
    ) -> bool {
        let state = self.read();
        let at_rest = state.swept_since(state.writes).is_some_and(|swept| swept.head == state.log.head());
        if !at_rest || !state.log.is_read_up(window) {
            return false;
        }
        if options.message_ids.is_empty() {
            return state.open.is_empty();
        }
        // One that is neither known nor removed has never been seen.
        let is_open = |id: &&MessageId| {
            if state.latest.contains_key(*id) {
                state.open.contains(*id)
            } else {
                !state.removed.contains(*id)
            }
        };
        if witness.as_ref().is_some_and(|id| is_open(&id)) {
            return false;
        }
        *witness = options.message_ids.iter().find(is_open).cloned();
        witness.is_none()
    }

    /// Opens the lock first: those who are told read at once.
    fn tell_if(&self, news: bool, state: RwLockWriteGuard<'_, State>) {
        drop(state);
        if news {
            self.version.send_modify(|version| *version = version.wrapping_add(1));
        }
    }

    // A panic under the lock is a bug that the poller's end tells of; what is known stays readable.

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes one observation; gives its id back if it must be confirmed first.
    fn take(&mut self, message: Arc<Message>, began: DateTime<Utc>, confirmed: bool) -> Option<MessageId> {
        let known = self.latest.get_mut(&message.id);
        let verdict = judge(known.as_ref().map(|known| &*known.seen.message), &message, confirmed);
        if verdict == Verdict::Same {
            return None;
        }
        if verdict == Verdict::StepBack {
            return Some(message.id.clone());
        }
        let seen = Seen { weight: weight(&message), message };
        self.snapshot.take();
        if let (Verdict::Refreshed, Some(known)) = (verdict, known) {
            self.log.refresh(known.sequence, seen.clone());
            known.seen = seen;
            return None;
        }
        let id = seen.message.id.clone();
        if seen.message.status.is_terminal() {
            self.open.remove(&id);
        } else {
            self.open.insert(id.clone());
        }
        self.removed.remove(&id);
        let before = self.latest.get(&id).map(|known| (Arc::clone(&known.seen.message), known.sequence));
        let sequence = self.log.append(seen.clone(), before, false, began);
        self.latest.insert(id, Latest { seen, sequence });
        None
    }

    /// Takes it that the upstream has no such message. A terminal one has told all there was to tell.
    fn lose(&mut self, id: &MessageId, began: DateTime<Utc>) -> bool {
        if !self.open.remove(id) {
            return false;
        }
        let Some(known) = self.latest.remove(id) else { return false };
        self.snapshot.take();
        self.removed.insert(id.clone());
        let before = Some((Arc::clone(&known.seen.message), known.sequence));
        self.log.append(known.seen, before, true, began);
        true
    }

    fn swept_since(&self, writes: u64) -> Option<Swept> {
        self.swept.filter(|swept| swept.writes >= writes)
    }

    fn in_order<'a>(&self, latest: impl Iterator<Item = &'a Latest>) -> Snapshot {
        let mut latest: Vec<_> = latest.collect();
        latest.sort_unstable_by_key(|latest| latest.sequence);
        latest.into_iter().map(|latest| (latest.sequence, latest.seen.clone())).collect()
    }
}
