//! What is known of one campaign's messages, without a lock: the latest states, the history of how they
//! came about, and which rounds of polling went through.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    diff::{Verdict, judge, weight},
    feed::Snapshot,
    interest::{Interest, Need, Sweeps},
    log::{Log, Seen},
};
use crate::{
    error::Error,
    model::{Message, MessageId},
};

/// A message's latest state.
pub(super) struct Latest {
    pub(super) seen: Seen,
    /// The number of its last change.
    pub(super) sequence: u64,
}

/// What is known.
pub(super) struct State {
    pub(super) log: Log,
    pub(super) latest: HashMap<MessageId, Latest>,
    /// Those that may still change.
    pub(super) open: HashSet<MessageId>,
    /// Those that were here and are not any more.
    pub(super) removed: HashSet<MessageId>,
    /// The latest states in order of their last change; made when first asked for, dropped with any change.
    pub(super) snapshot: OnceLock<Snapshot>,
    pub(super) interest: Interest,
    pub(super) sweeps: Sweeps,
    /// What somebody waits for.
    pub(super) asked: Option<Need>,
    /// This server's own writes so far, and when the last of them was.
    pub(super) writes: u64,
    pub(super) wrote: Option<Instant>,
    /// The present pace of polling.
    pub(super) interval: Duration,
    pub(super) failure: Option<Error>,
    pub(super) end: Option<Error>,
}

impl State {
    pub(super) fn new(log_capacity: usize, interval: Duration) -> Self {
        Self {
            log: Log::new(fastrand::u64(..), log_capacity),
            latest: HashMap::new(),
            open: HashSet::new(),
            removed: HashSet::new(),
            snapshot: OnceLock::new(),
            interest: Interest::default(),
            sweeps: Sweeps::default(),
            asked: None,
            writes: 0,
            wrote: None,
            interval,
            failure: None,
            end: None,
        }
    }

    /// Takes one observation; gives its id back if it must be confirmed first.
    pub(super) fn take(
        &mut self,
        message: Arc<Message>,
        began: DateTime<Utc>,
        confirmed: bool,
    ) -> Option<MessageId> {
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
    pub(super) fn lose(&mut self, id: &MessageId, began: DateTime<Utc>) -> bool {
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

    /// Whether it may be polled for yet: it may still change, or has never been seen.
    pub(super) fn is_unsettled(&self, id: &MessageId) -> bool {
        self.open.contains(id) || !self.latest.contains_key(id)
    }

    pub(super) fn in_order<'a>(&self, latest: impl Iterator<Item = &'a Latest>) -> Snapshot {
        let mut latest: Vec<_> = latest.collect();
        latest.sort_unstable_by_key(|latest| latest.sequence);
        latest.into_iter().map(|latest| (latest.sequence, latest.seen.clone())).collect()
    }

    /// About how many bytes are kept.
    pub(super) fn weight(&self) -> usize {
        let latest = self.latest.values().map(|latest| size_of::<Latest>() + latest.seen.weight as usize);
        latest.sum::<usize>() + self.log.weight()
    }
}
