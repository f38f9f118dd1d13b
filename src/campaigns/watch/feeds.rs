//! Which feeds there are: those that are polled, and those that rest for a while, because a watcher may
//! come back to where it was.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Key, feed::Feed, presence::Presence};

/// How long, and how much, is kept of feeds that rest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) window: Duration,
    pub(super) max_bytes: usize,
}

/// A look at all campaigns that are or were watched.
#[derive(Clone, Copy, Debug)]
pub struct FeedsView {
    /// Campaigns that are polled.
    pub polled: usize,
    /// Campaigns whose history is kept for resume tokens.
    pub resting: usize,
    /// About how many bytes that takes.
    pub resting_bytes: usize,
    /// Open watches.
    pub watchers: usize,
}

/// All feeds.
#[derive(Default)]
pub(super) struct Feeds {
    slots: HashMap<Key, Slot>,
    /// Those that rest, the longest first.
    resting: BTreeMap<u64, Key>,
    resting_bytes: usize,
    next_turn: u64,
    /// Whether somebody calls [`Feeds::tidy`] from time to time.
    pub(super) tended: bool,
}

struct Slot {
    feed: Arc<Feed>,
    presence: Arc<Presence>,
    watchers: usize,
    polling: Polling,
}

enum Polling {
    /// By a poller that this stops.
    Goes(CancellationToken),
    /// Nobody reads.
    Rests { turn: u64, since: Instant, bytes: usize },
}

/// What a watcher gets when it joins.
pub(super) struct Joined {
    pub(super) feed: Arc<Feed>,
    pub(super) presence: Arc<Presence>,
    /// What stops the poller that is to be started now.
    pub(super) start: Option<CancellationToken>,
}

impl Feeds {
    /// The feed, if there is one.
    pub(super) fn get(&self, key: &Key) -> Option<&Feed> {
        self.slots.get(key).map(|slot| &*slot.feed)
    }

    /// The feed, if it is polled.
    pub(super) fn polled(&self, key: &Key) -> Option<&Feed> {
        let slot = self.slots.get(key).filter(|slot| matches!(slot.polling, Polling::Goes(_)))?;
        Some(&*slot.feed)
    }

    /// How many are polled and how many rest, how many watch them, and about how many bytes those take that rest.
    pub(super) fn view(&self) -> FeedsView {
        let resting = self.resting.len();
        FeedsView {
            polled: self.slots.len() - resting,
            resting,
            resting_bytes: self.resting_bytes,
            watchers: self.slots.values().map(|slot| slot.watchers).sum(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Lets one more watch: a new feed where there is none, or where it has ended.
    pub(super) fn join(&mut self, key: &Key, new: impl FnOnce() -> Feed) -> Joined {
        // The watchers of one that ended do not count any more: see `leave`.
        if self.get(key).is_some_and(|feed| feed.ended().is_some()) {
            self.drop_feed(key);
        }
        let Some(slot) = self.slots.get_mut(key) else {
            let (feed, presence, stop) =
                (Arc::new(new()), Arc::new(Presence::new()), CancellationToken::new());
            let joined = Joined {
                feed: Arc::clone(&feed),
                presence: Arc::clone(&presence),
                start: Some(stop.clone()),
            };
            self.slots
                .insert(key.clone(), Slot { feed, presence, watchers: 1, polling: Polling::Goes(stop) });
            return joined;
        };
        slot.watchers += 1;
        slot.presence.fed();
        let mut start = None;
        if let Polling::Rests { turn, bytes, .. } = slot.polling {
            self.resting.remove(&turn);
            self.resting_bytes -= bytes;
            // What was true when polling stopped is the past.
            slot.feed.outdate();
            let stop = CancellationToken::new();
            slot.polling = Polling::Goes(stop.clone());
            start = Some(stop);
        }
        Joined { feed: Arc::clone(&slot.feed), presence: Arc::clone(&slot.presence), start }
    }

    /// Takes it that a watcher of this feed has left.
    pub(super) fn leave(&mut self, key: &Key, feed: &Arc<Feed>, retention: Retention) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        // A feed that ended, or was given up, may have been followed by another one, whose watchers are not
        // ours to count.
        if !Arc::ptr_eq(&slot.feed, feed) {
            return;
        }
        slot.watchers -= 1;
        if slot.watchers == 0 {
            self.rest(key, retention);
        }
    }

    /// Stops the polling where nobody reads, drops what has rested for long, and what rests beyond the
    /// bound, the longest first.
    pub(super) fn tidy(&mut self, patience: Duration, retention: Retention) {
        let unread: Vec<_> = self.slots.iter().filter(|(_, slot)| slot.is_unread(patience)).collect();
        let unread: Vec<_> = unread.into_iter().map(|(key, _)| key.clone()).collect();
        for key in unread {
            self.rest(&key, retention);
        }
        while let Some((_, key)) = self.resting.first_key_value() {
            let over = self.slots.get(key).is_none_or(|slot| match slot.polling {
                Polling::Rests { since, .. } => since.elapsed() >= retention.window,
                Polling::Goes(_) => false,
            });
            if !over {
                break;
            }
            let key = key.clone();
            self.drop_feed(&key);
        }
    }

    /// Lets a feed rest: its poller stops, and what it knows is kept for a while.
    fn rest(&mut self, key: &Key, retention: Retention) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Polling::Goes(stop) = &slot.polling {
            stop.cancel();
            let (turn, since, bytes) = (self.next_turn, Instant::now(), slot.feed.weight());
            self.next_turn += 1;
            slot.polling = Polling::Rests { turn, since, bytes };
            self.resting.insert(turn, key.clone());
            self.resting_bytes += bytes;
        }
        if slot.feed.ended().is_some() || retention.window.is_zero() {
            self.drop_feed(key);
        }
        while self.resting_bytes > retention.max_bytes {
            let Some((_, longest)) = self.resting.first_key_value() else { return };
            let longest = longest.clone();
            self.drop_feed(&longest);
        }
    }

    fn drop_feed(&mut self, key: &Key) {
        match self.slots.remove(key).map(|slot| slot.polling) {
            Some(Polling::Goes(stop)) => stop.cancel(),
            Some(Polling::Rests { turn, bytes, .. }) => {
                self.resting.remove(&turn);
                self.resting_bytes -= bytes;
            }
            None => {}
        }
    }
}

impl Slot {
    fn is_unread(&self, patience: Duration) -> bool {
        matches!(self.polling, Polling::Goes(_)) && self.presence.is_stuck(patience)
    }
}
