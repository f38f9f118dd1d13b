//! What is known of one campaign's messages, shared: what polling sees goes in, what watchers ask comes out.
//! The poller writes, watchers read; neither ever waits while it holds the lock.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::{
    sync::{Mutex, MutexGuard, Notify, watch},
    time::Instant,
};

use super::{
    diff::weight,
    interest::{Need, Swept},
    log::{Limit, Overrun, Seen, Told, Window},
    state::State,
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
    /// Moves when there may be something for a watcher: a change, a round that one waited for, the end.
    version: watch::Sender<u64>,
    /// Wakes the poller where somebody waits for it.
    asked: Notify,
    /// Held by the poller.
    turn: Mutex<()>,
}

/// How polling goes.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// When the last round that went through began.
    pub(super) last_poll: Option<DateTime<Utc>>,
    /// The present pace.
    pub(super) interval: Duration,
    /// Why the present one did not.
    pub(super) failure: Option<Error>,
}

/// What the watchers want of the next round.
pub(super) struct Wants {
    /// Whether anyone wants the whole campaign.
    pub(super) whole: bool,
    /// Whether somebody waits for a round that sees the whole campaign.
    pub(super) owed: bool,
    /// The messages that may still change.
    pub(super) open: Vec<MessageId>,
    /// The messages that are named, as far as they may still change or were never seen.
    pub(super) named: Vec<MessageId>,
    /// How many of these were never seen.
    pub(super) unseen: usize,
    /// What goes with the round, for [`Feed::swept`].
    pub(super) basis: Basis,
}

/// What a round is based on, as of its start.
#[derive(Clone, Copy)]
pub(super) struct Basis {
    at: Instant,
    writes: u64,
    joins: u64,
    head: u64,
}

/// What says how much moves.
pub(super) struct Moves {
    /// Whether anything has changed since the round began.
    pub(super) changed: bool,
    /// This server's last write.
    pub(super) wrote: Option<Instant>,
    /// When the first of the open messages is due that was not due before the given time.
    pub(super) due: Option<DateTime<Utc>>,
}

impl Feed {
    /// A feed that nobody has written to, and the pace at which it will be polled first.
    pub(super) fn new(log_capacity: usize, interval: Duration) -> Self {
        Self {
            state: RwLock::new(State::new(log_capacity, interval)),
            version: watch::Sender::new(0),
            asked: Notify::new(),
            turn: Mutex::new(()),
        }
    }

    // What the poller says.

    /// Waits until no other poller writes here.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Takes what a page, or (`confirmed`) the message itself, says, in a round that began then. Gives the
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

    /// What the next round is for.
    pub(super) fn wants(&self) -> Wants {
        let state = self.read();
        let named: Vec<_> = state.interest.named().filter(|id| state.is_unsettled(id)).cloned().collect();
        let (writes, joins, head) = (state.writes, state.interest.joins(), state.log.head());
        Wants {
            whole: state.interest.is_whole(),
            owed: state.asked.is_some_and(|need| need.whole),
            open: state.open.iter().cloned().collect(),
            unseen: named.iter().filter(|id| !state.open.contains(*id)).count(),
            named,
            basis: Basis { at: Instant::now(), writes, joins, head },
        }
    }

    /// Takes it that a round went through that saw what was named, and all that was known, or (`whole`)
    /// certainly the whole campaign.
    pub(super) fn swept(&self, began: DateTime<Utc>, basis: Basis, whole: bool) {
        let Basis { at, writes, joins, .. } = basis;
        let mut state = self.write();
        let swept = Swept { began, at, writes, joins, head: state.log.head() };
        let mut news = state.sweeps.push(swept, whole);
        if let Some(need) = state.asked
            && state.sweeps.meeting(need).next().is_some()
        {
            state.asked = None;
            news = true;
        }
        state.failure = None;
        // A round that found nothing new wakes nobody: 100,000 idle watchers would be woken for nothing.
        self.tell_if(news, state);
    }

    /// Takes it that a round failed.
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

    /// How much moves, since that round began; messages due before `from` do not count.
    pub(super) fn moves(&self, basis: Basis, from: DateTime<Utc>) -> Moves {
        let state = self.read();
        let open = state.open.iter().filter_map(|id| state.latest.get(id));
        let due = open.filter_map(|latest| latest.seen.message.schedule.as_ref()?.time);
        let due = due.filter(|due| *due >= from).min();
        Moves { changed: state.log.head() > basis.head, wrote: state.wrote, due }
    }

    /// Takes it that this is the present pace of polling.
    pub(super) fn paced(&self, interval: Duration) {
        self.write().interval = interval;
    }

    /// Whether somebody waits for a round.
    pub(super) fn is_asked(&self) -> bool {
        self.read().asked.is_some()
    }

    /// Waits until somebody asks for a round.
    pub(super) async fn until_asked(&self) {
        loop {
            self.asked.notified().await;
            // Whoever asked during the last round may have been served by it.
            if self.is_asked() {
                return;
            }
        }
    }

    // What this server's own writes say.

    /// Takes it that this server changed something upstream.
    pub(super) fn wrote(&self) {
        let mut state = self.write();
        let now = Instant::now();
        state.writes += 1;
        state.wrote = Some(now);
        let need = Need { whole: state.interest.is_whole(), writes: state.writes, since: now, joins: 0 };
        state.asked = Some(state.asked.map_or(need, |asked| asked.and(need)));
        drop(state);
        self.asked.notify_one();
    }

    /// Takes it that what is known is not the present any more: nobody polled for a while. No watch begins
    /// or completes before the next sweep.
    pub(super) fn outdate(&self) {
        self.write().writes += 1;
    }

    /// About how many bytes are kept.
    pub(super) fn weight(&self) -> usize {
        self.read().weight()
    }

    // What watchers ask.

    /// Lets one more watch these messages, and gives what a round must be for it to begin: not older than
    /// this, nor than any write of this server so far. If there was none, one is asked for.
    pub(super) fn join(&self, ids: &HashSet<MessageId>, max_age: Duration) -> Need {
        let mut state = self.write();
        let now = Instant::now();
        let joins = state.interest.join(ids);
        let since = now.checked_sub(max_age).unwrap_or(now);
        let need = Need { whole: ids.is_empty(), writes: state.writes, since, joins };
        if state.sweeps.meeting(need).next().is_none() {
            state.asked = Some(state.asked.map_or(need, |asked| asked.and(need)));
            let fails = state.failure.is_some();
            drop(state);
            // Unlike a write, a watcher does not say that an upstream which failed answers again.
            if !fails {
                self.asked.notify_one();
            }
        }
        need
    }

    /// Takes it that one who watched these has left.
    pub(super) fn leave(&self, ids: &HashSet<MessageId>) {
        self.write().interest.leave(ids);
    }

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
        Health {
            last_poll: state.sweeps.last().map(|last| last.began),
            interval: state.interval,
            failure: state.failure.clone(),
        }
    }

    /// How many messages are in which status, as of the last round that saw all, while that is the present as
    /// far as this server knows. One that was terminal when last seen counts as that, for ever.
    pub(super) fn counts(&self) -> Option<Observed<Counts>> {
        let state = self.read();
        let swept = state.sweeps.whole_since(state.writes).filter(|_| state.failure.is_none())?;
        let statuses = state.latest.values().map(|latest| latest.seen.message.status);
        Some(Observed { value: statuses.collect(), began: swept.began })
    }

    /// "Now", once a round has defined it that meets the need: the place from which changes are told, and
    /// when that round began.
    pub(super) fn now(&self, need: Need) -> Option<(Window, DateTime<Utc>)> {
        let state = self.read();
        state.sweeps.meeting(need).next().map(|swept| (state.log.now(), swept.began))
    }

    /// The same, with the present state of the messages that the options name.
    pub(super) fn snapshot(
        &self,
        options: &WatchOptions,
        need: Need,
    ) -> Option<(Snapshot, Window, DateTime<Utc>)> {
        let state = self.read();
        let began = state.sweeps.meeting(need).next()?.began;
        let snapshot = if options.message_ids.is_empty() {
            Arc::clone(state.snapshot.get_or_init(|| state.in_order(state.latest.values())))
        } else {
            state.in_order(options.message_ids.iter().filter_map(|id| state.latest.get(id)))
        };
        Some((snapshot, state.log.now(), began))
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

    /// Whether every watched message is terminal or removed, as of a round that meets the need and that
    /// neither a write of this server nor a change is newer than, and the watcher at this place has been
    /// told. `witness` is a message that spoke against it the last time: most often it still does, which
    /// spares a look at the others.
    pub(super) fn is_settled(
        &self,
        window: &Window,
        options: &WatchOptions,
        need: Need,
        witness: &mut Option<MessageId>,
    ) -> bool {
        let state = self.read();
        let need = Need { writes: state.writes, ..need };
        let at_rest = state.sweeps.meeting(need).any(|swept| swept.head == state.log.head());
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
