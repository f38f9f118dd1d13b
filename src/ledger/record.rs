//! What a row holds. These types are the format on disk: change one, and `codec::VERSION` changes with it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ClaimedItem, Ending, Fingerprint, Refused, State};
use crate::{
    error::Error,
    ledger::codec::{AddedRecord, ErrorRecord, Text},
    model::Summary,
};

/// Ranges that are kept apart of what was read. Beyond it the two nearest become one: a range too wide only
/// calls items "not attempted" that nobody sent, which is true of them.
const MAX_RANGES: usize = 256;

/// An ingestion as a whole. Times are milliseconds of the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) created: i64,
    pub(super) last_use: i64,
    /// Under which time it stands among the uses, which is looked at again only when that time is over.
    pub(super) filed: i64,
    pub(super) counts: Counts,
    /// How far a batch's record reaches beyond its first index, at most. So who looks for an index
    /// need not look further back than this.
    pub(super) span: u64,
    /// The same of records of refused items.
    pub(super) refused_span: u64,
    /// The ranges of indexes that were read, ascending, apart. Every recorded item lies in one.
    pub(super) read: Vec<(u64, u64)>,
    /// Whether the last call said how it ended.
    pub(super) ended: bool,
    /// Why the last call that did not come to its end did not.
    pub(super) cause: Option<ErrorRecord>,
    /// Its time is over, and it is being taken away piece by piece.
    pub(super) forgotten: bool,
}

/// Recorded items by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) in_flight: u64,
    pub(super) added: u64,
    pub(super) rejected: u64,
    pub(super) in_doubt: u64,
    pub(super) invalid: u64,
}

impl Counts {
    fn of(&mut self, state: &Slot) -> &mut u64 {
        match state {
            Slot::InFlight => &mut self.in_flight,
            Slot::Added(_) => &mut self.added,
            Slot::Rejected(_) => &mut self.rejected,
            Slot::InDoubt(_) => &mut self.in_doubt,
        }
    }

    pub(super) fn enter(&mut self, state: &Slot) {
        *self.of(state) += 1;
    }

    pub(super) fn leave(&mut self, state: &Slot) {
        let count = self.of(state);
        *count = count.saturating_sub(1);
    }

    pub(super) fn recorded(&self) -> u64 {
        self.in_flight + self.added + self.rejected + self.in_doubt + self.invalid
    }
}

impl Header {
    pub(super) fn new(now: i64) -> Self {
        Self { created: now, last_use: now, filed: now, ..Self::default() }
    }

    /// Whether nothing of it counts any more. What is in flight is never forgotten.
    pub(super) fn is_over(&self, now: i64, retention: i64) -> bool {
        self.forgotten || (self.counts.in_flight == 0 && now >= self.last_use.saturating_add(retention))
    }

    /// Adds a range that was read.
    pub(super) fn add_read(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        // The common case: a stream goes on where it stood.
        if let Some((first, last)) = self.read.last_mut()
            && *first <= from
            && from <= *last
        {
            *last = to.max(*last);
            return;
        }
        self.read.push((from, to));
        self.read.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.read.len());
        for (from, to) in self.read.drain(..) {
            match merged.last_mut() {
                Some((_, last)) if from <= *last => *last = to.max(*last),
                _ => merged.push((from, to)),
            }
        }
        while merged.len() > MAX_RANGES {
            let gap = |at: &usize| merged[at + 1].0 - merged[*at].1;
            let Some(nearest) = (0..merged.len() - 1).min_by_key(gap) else { break };
            merged[nearest].1 = merged.remove(nearest + 1).1;
        }
        self.read = merged;
    }

    /// What became of its items; of those that were read and have no record, only where no call runs.
    pub(super) fn summary(&self, running: bool) -> Summary {
        let read: u64 = self.read.iter().map(|(from, to)| to - from).sum();
        let Counts { in_flight, added, rejected, in_doubt, invalid } = self.counts;
        let recorded = self.counts.recorded();
        let not_attempted = if running { 0 } else { read.saturating_sub(recorded) };
        Summary {
            received: recorded + not_attempted,
            added,
            invalid,
            rejected,
            not_attempted,
            in_doubt,
            pending: in_flight,
            ..Summary::default()
        }
    }

    pub(super) fn end(&mut self, ending: &Ending) {
        self.ended = !matches!(ending, Ending::Interrupted(_));
        match ending {
            // What an earlier call left behind, it left for its own cause.
            Ending::Complete => {}
            Ending::Terminated(error) | Ending::Interrupted(error) => {
                self.cause = Some(ErrorRecord::from(error))
            }
        }
    }
}

/// A claimed batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) claimed_at: i64,
    /// How often it was sent, or was about to be.
    pub(super) attempts: u32,
    /// Whether bytes are kept by which it can be sent again.
    pub(super) frozen: bool,
    /// What is said of its items, each once.
    pub(super) errors: Vec<ErrorRecord>,
    /// Ascending by index, at least one.
    pub(super) items: Vec<Entry>,
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// How far behind the record's first index.
    pub(super) offset: u64,
    pub(super) item_id: Text,
    pub(super) fingerprint: Fingerprint,
    pub(super) slot: Slot,
}

/// Where an item stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Slot {
    InFlight,
    Added(Box<AddedRecord>),
    /// By the error's place in the record.
    Rejected(u32),
    /// By the error's place in the record.
    InDoubt(u32),
}

impl Batch {
    pub(super) fn new(now: i64, first: u64, items: &[&ClaimedItem], frozen: bool) -> Self {
        let entry = |item: &&ClaimedItem| Entry {
            offset: item.index - first,
            item_id: Text::new(&item.item_id),
            fingerprint: item.fingerprint,
            slot: Slot::InFlight,
        };
        Self {
            claimed_at: now,
            attempts: 1,
            frozen,
            errors: Vec::new(),
            items: items.iter().map(entry).collect(),
        }
    }

    /// The state of an item, as the state machine knows it. `None`: the record does not make sense.
    pub(super) fn state(&self, slot: &Slot) -> Option<State> {
        Some(match slot {
            Slot::InFlight => State::InFlight,
            Slot::Added(added) => State::Added(Arc::new(added.to_item()?)),
            Slot::Rejected(error) => State::Rejected(self.error(*error)?),
            Slot::InDoubt(error) => State::InDoubt(self.error(*error)?),
        })
    }

    fn error(&self, at: u32) -> Option<Error> {
        self.errors.get(at as usize)?.to_error()
    }

    /// What the record holds of a state.
    pub(super) fn slot(&mut self, state: &State) -> Slot {
        match state {
            State::InFlight => Slot::InFlight,
            State::Added(item) => Slot::Added(Box::new(AddedRecord::new(item))),
            State::Rejected(error) => Slot::Rejected(place(&mut self.errors, error)),
            State::InDoubt(error) => Slot::InDoubt(place(&mut self.errors, error)),
        }
    }

    pub(super) fn in_doubt(&self) -> u64 {
        self.items.iter().filter(|item| matches!(item.slot, Slot::InDoubt(_))).count() as u64
    }
}

/// Items that were refused here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RefusedItems {
    pub(super) errors: Vec<ErrorRecord>,
    /// Ascending by index, at least one: how far behind the record's first index, the item's id, and the
    /// error's place in the record.
    pub(super) items: Vec<(u64, Text, u32)>,
}

impl RefusedItems {
    pub(super) fn new(first: u64, items: &[&Refused]) -> Self {
        let mut errors = Vec::new();
        let items = items
            .iter()
            .map(|item| (item.index - first, Text::new(&item.item_id), place(&mut errors, &item.error)))
            .collect();
        Self { errors, items }
    }

    pub(super) fn error(&self, at: u32) -> Option<Error> {
        self.errors.get(at as usize)?.to_error()
    }
}

/// The place of an error among those of a record; the items of a batch mostly share one.
fn place(errors: &mut Vec<ErrorRecord>, error: &Error) -> u32 {
    let error = ErrorRecord::from(error);
    let at = errors.iter().rposition(|known| *known == error).unwrap_or_else(|| {
        errors.push(error);
        errors.len() - 1
    });
    at as u32
}

/// What an operator decided of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AuditRecord {
    pub(super) at: i64,
    pub(super) by: String,
    pub(super) note: String,
    /// The message that it became; `None`: it was not added.
    pub(super) added: Option<String>,
}

/// Bytes by which a batch can be sent again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FrozenRecord {
    pub(super) has_immediate: bool,
    /// The first indexes of the batch's records: more than one where its items lie far apart.
    pub(super) pieces: Vec<u64>,
    pub(super) bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_is_never_over() {
        let mut header = Header::new(1_000);
        assert!(!header.is_over(1_099, 100) && header.is_over(1_100, 100));
        header.counts.in_flight = 1;
        assert!(!header.is_over(i64::MAX, 100));
    }

    #[test]
    fn ranges_that_touch_are_one_and_there_are_never_too_many() {
        let mut header = Header::new(0);
        for (from, to) in [(0, 10), (10, 20), (30, 40), (5, 6), (19, 31), (50, 50), (100, 101)] {
            header.add_read(from, to);
        }
        assert_eq!(header.read, [(0, 40), (100, 101)]);
        for at in 0..1_000 {
            header.add_read(1_000 + at * 10, 1_001 + at * 10);
        }
        assert_eq!(header.read.len(), MAX_RANGES);
        assert_eq!((header.read[0].0, header.read[MAX_RANGES - 1].1), (0, 10_991));
        assert!(header.read.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
