//! The bounded history of a campaign's changes. A watcher is a window that moves over it: what it costs
//! does not grow with what it has not read. Pure.

use std::{collections::VecDeque, sync::Arc};

use chrono::{DateTime, Utc};

use super::diff::same_state;
use crate::model::{Message, MessageChange, StatusSet, WatchPlace};

/// A message as it was seen, and about how many bytes it takes in an answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) message: Arc<Message>,
    pub(super) weight: u32,
}

/// The end of a message's chain of records, on its later side.
const NONE_LATER: u64 = u64::MAX;
/// The end of a message's chain of records, on its earlier side: the sequence starts at 1.
const NONE_EARLIER: u64 = 0;

/// One change of one message.
struct Record {
    seen: Seen,
    /// The message before this change; `None` where nothing was known of it.
    before: Option<Arc<Message>>,
    removed: bool,
    began: DateTime<Utc>,
    /// The same message's change before this one and after this one. A removal ends the chain: what comes
    /// back is a new message to a watcher.
    earlier: u64,
    later: u64,
}

/// The history: the newest changes, each with its number.
pub(super) struct Log {
    /// Tells this history from any other, so that a place in another one is never taken for one in this.
    epoch: u64,
    records: VecDeque<Record>,
    next: u64,
    capacity: usize,
}

/// A place in a log, and how far the reading that is under way reaches: all changes of a message within
/// the window are told as one, by the last of them, against what the message was at its base.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    epoch: u64,
    /// All up to here has been told.
    base: u64,
    /// All up to here has been looked at.
    at: u64,
    /// Here the window ends; what is newer is for the next one.
    until: u64,
}

impl Window {
    /// A window that is read up to this change.
    pub(super) fn at(epoch: u64, sequence: u64) -> Self {
        Self { epoch, base: sequence, at: sequence, until: sequence }
    }

    /// The window that [`Window::place`] told of.
    pub(super) fn resumed(epoch: u64, base: u64, at: u64, until: u64) -> Self {
        Self { epoch, base, at, until }
    }

    /// All up to this change has been told.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Where a reader stands whose window this is.
    pub(super) fn place(self) -> WatchPlace {
        let Self { epoch, base, at, until } = self;
        WatchPlace::Following { epoch, base, at, until }
    }

    /// Where a snapshot stands that was taken at this window's beginning.
    pub(super) fn telling(self, through: u64, told: u64, began: DateTime<Utc>) -> WatchPlace {
        WatchPlace::Telling { epoch: self.epoch, head: self.base, through, told, began }
    }
}

/// How much may be told at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

impl Limit {
    /// Whether one more of this weight is too much. One alone never is.
    pub(super) fn is_passed_by(self, count: usize, bytes: usize, weight: u32) -> bool {
        count > 0 && (count >= self.count || bytes + weight as usize > self.bytes)
    }
}

/// What a watcher is told at once, and when the oldest poll behind it began.
pub(super) type Told = Option<(Vec<MessageChange>, DateTime<Utc>)>;

/// The watcher's place is not in the history (any more).
#[derive(Debug)]
pub(super) struct Overrun;

impl Log {
    pub(super) fn new(epoch: u64, capacity: usize) -> Self {
        Self { epoch, records: VecDeque::new(), next: 1, capacity: capacity.max(1) }
    }

    /// The number of the newest change; 0 before the first.
    pub(super) fn head(&self) -> u64 {
        self.next - 1
    }

    /// A window at the newest change: a reader from there is told only what comes after.
    pub(super) fn now(&self) -> Window {
        Window::at(self.epoch, self.head())
    }

    /// Whether a reader at this place has been told all there is.
    pub(super) fn is_read_up(&self, window: &Window) -> bool {
        window.epoch == self.epoch && window.at == self.head()
    }

    /// Adds a change and gives its number. `earlier` is the number of the same message's last change.
    pub(super) fn append(
        &mut self,
        seen: Seen,
        before: Option<(Arc<Message>, u64)>,
        removed: bool,
        began: DateTime<Utc>,
    ) -> u64 {
        let sequence = self.next;
        let (before, earlier) = before.map_or((None, NONE_EARLIER), |(m, at)| (Some(m), at));
        if let Some(record) = self.get_mut(earlier) {
            record.later = sequence;
        }
        if self.records.len() == self.capacity {
            self.records.pop_front();
        }
        self.records.push_back(Record { seen, before, removed, began, earlier, later: NONE_LATER });
        self.next += 1;
        sequence
    }

    /// Replaces what is told with a change that stands: the state is the same, other fields are newer.
    pub(super) fn refresh(&mut self, sequence: u64, seen: Seen) {
        if let Some(record) = self.get_mut(sequence) {
            record.seen = seen;
        }
    }

    /// What messages were at the window's base that have changed since, each with the number of its last
    /// change up to there, if that is newer than `after`.
    pub(super) fn at_base(
        &self,
        window: &Window,
        after: u64,
    ) -> Result<impl Iterator<Item = (u64, &Arc<Message>)>, Overrun> {
        self.reaches(window)?;
        let since = self.records.iter().skip((window.base + 1 - self.first()) as usize);
        let base = window.base;
        // The first change of a message after the base is the one whose predecessor is not.
        Ok(since
            .filter(move |record| after < record.earlier && record.earlier <= base)
            .filter_map(|record| record.before.as_ref().map(|before| (record.earlier, before))))
    }

    /// Whether all that the window has still to tell of is here.
    fn reaches(&self, window: &Window) -> Result<(), Overrun> {
        let here = window.epoch == self.epoch && window.base + 1 >= self.first();
        if here && window.until <= self.head() { Ok(()) } else { Err(Overrun) }
    }

    /// About how many bytes the history takes.
    pub(super) fn weight(&self) -> usize {
        self.records.iter().map(|record| size_of::<Record>() + record.seen.weight as usize).sum()
    }

    /// Moves the window over what it has not seen, up to its end or the limit, and gives what there is to
    /// tell of the messages that `ids` keeps.
    pub(super) fn read(
        &self,
        window: &mut Window,
        ids: impl Fn(&Message) -> bool,
        statuses: StatusSet,
        limit: Limit,
    ) -> Result<Told, Overrun> {
        self.reaches(window)?;
        if window.at == window.until {
            window.base = window.at;
            window.until = self.head();
        }
        let (mut changes, mut bytes, mut oldest) = (Vec::new(), 0, None);
        while window.at < window.until {
            let Some(record) = self.get(window.at + 1) else { return Err(Overrun) };
            if ids(&record.seen.message)
                && let Some(change) = self.net_change(record, window, statuses)
            {
                if limit.is_passed_by(changes.len(), bytes, record.seen.weight) {
                    break;
                }
                bytes += record.seen.weight as usize;
                oldest = Some(oldest.map_or(record.began, |oldest: DateTime<Utc>| oldest.min(record.began)));
                changes.push(change);
            }
            window.at += 1;
        }
        if window.at == window.until {
            window.base = window.at;
        }
        Ok(oldest.map(|oldest| (changes, oldest)))
    }

    /// What a message's changes within the window come to, told by the last of them alone.
    fn net_change(&self, record: &Record, window: &Window, statuses: StatusSet) -> Option<MessageChange> {
        if record.later <= window.until {
            return None;
        }
        let mut first = record;
        while first.earlier > window.base {
            first = self.get(first.earlier)?;
        }
        let (before, now) = (first.before.as_deref(), &record.seen.message);
        let told = match before {
            // It came and went unseen.
            None if record.removed => false,
            None => statuses.keeps(now.status),
            // Whom the filter kept from hearing of it need not hear that it is gone.
            Some(before) if record.removed => statuses.keeps(before.status),
            // It went and came back to where it was.
            Some(before) if same_state(before, now) => false,
            Some(_) => statuses.keeps(now.status),
        };
        told.then(|| MessageChange {
            message: Arc::clone(now),
            previous: before.map(|before| before.status),
            removed: record.removed,
        })
    }

    /// The number of the oldest change kept.
    fn first(&self) -> u64 {
        self.next - self.records.len() as u64
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.first())?).ok()
    }

    fn get(&self, sequence: u64) -> Option<&Record> {
        self.records.get(self.index(sequence)?)
    }

    fn get_mut(&mut self, sequence: u64) -> Option<&mut Record> {
        let index = self.index(sequence)?;
        self.records.get_mut(index)
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
