//! A list behind an upstream with its manners, and a caller who pages it to the end.

use std::collections::HashSet;

use super::super::paging::{Paging, Position, Told};
use crate::{
    error::Error,
    model::{Message, MessageId, Page, Slice, Status},
};

pub(super) fn message(n: u32) -> Message {
    Message::bare(MessageId::parse(format!("m{n}")).unwrap(), Status::Queued)
}

pub(super) fn number(message: &Message) -> u32 {
    message.id.as_str()[1..].parse().unwrap()
}

/// How the upstream answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) tells_total: bool,
    /// The most entries that it sends at once.
    pub(super) cap: usize,
    /// Sends the whole rest of the list (up to its cap), whatever was asked for.
    pub(super) ignores_limit: bool,
    /// Sends the list from its start, whatever was asked for.
    pub(super) ignores_offset: bool,
}

pub(super) const GOOD: Manners =
    Manners { tells_total: true, cap: 1_000, ignores_limit: false, ignores_offset: false };

/// Something that happens to the list; places in per mille of its length.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// New messages, as many as this.
    Insert(usize, u32),
    /// A stretch goes.
    Delete(usize, usize),
    /// One entry goes elsewhere.
    Move(usize, usize),
    /// Two neighbours change places. Either may be seen as the one that moved: neither may be lost.
    Swap(usize),
}

pub(super) struct Upstream {
    pub(super) list: Vec<u32>,
    /// Those that have no id.
    pub(super) nameless: HashSet<u32>,
    pub(super) manners: Manners,
    /// Those with an id that stood in the list all along, and kept their order.
    pub(super) steady: HashSet<u32>,
    next: u32,
    pub(super) asked: Vec<Slice>,
}

impl Upstream {
    pub(super) fn new(count: u32, manners: Manners) -> Self {
        let list: Vec<_> = (0..count).collect();
        let steady = list.iter().copied().collect();
        Self { list, nameless: HashSet::new(), manners, steady, next: count, asked: Vec::new() }
    }

    pub(super) fn without_ids(mut self, nameless: HashSet<u32>) -> Self {
        self.steady.retain(|n| !nameless.contains(n));
        self.nameless = nameless;
        self
    }

    pub(super) fn apply(&mut self, change: &Change) {
        let len = self.list.len();
        let place = |per_mille: usize, len: usize| per_mille * len / 1_000;
        match *change {
            Change::Insert(at, count) => {
                let at = place(at, len);
                self.list.splice(at..at, self.next..self.next + count);
                self.next += count;
            }
            Change::Delete(at, count) => {
                let from = place(at, len);
                for n in self.list.drain(from..(from + count).min(len)) {
                    self.steady.remove(&n);
                }
            }
            Change::Move(from, to) if len > 0 => {
                let n = self.list.remove(place(from, len));
                self.list.insert(place(to, len), n);
                self.steady.remove(&n);
            }
            Change::Swap(at) if len > 1 => {
                let at = place(at, len - 1);
                self.list.swap(at, at + 1);
            }
            Change::Move(..) | Change::Swap(_) => {}
        }
    }

    pub(super) fn answer(&mut self, slice: Slice) -> Page {
        self.asked.push(slice);
        let Manners { tells_total, cap, ignores_limit, ignores_offset } = self.manners;
        let from = if ignores_offset { 0 } else { (slice.offset as usize).min(self.list.len()) };
        let limit = if ignores_limit { cap } else { cap.min(slice.limit as usize) };
        let to = (from + limit).min(self.list.len());
        let entry = |n: &u32| (!self.nameless.contains(n)).then(|| message(*n));
        Page {
            entries: self.list[from..to].iter().map(entry).collect(),
            total: tells_total.then_some(self.list.len() as u64),
        }
    }
}

/// One page, for which the upstream is asked as often as it takes; before each time but a reading's first,
/// something may happen.
pub(super) fn turn(
    upstream: &mut Upstream,
    page_size: u32,
    from: Option<Position>,
    mut happens: impl FnMut(&mut Upstream),
) -> Result<Told, Error> {
    let mut is_first = from.is_none();
    let mut paging = Paging::new(page_size, from);
    for _ in 0..40 {
        if !is_first {
            happens(upstream);
        }
        is_first = false;
        if let Some(told) = paging.take(upstream.answer(paging.next()))? {
            return Ok(told);
        }
    }
    panic!("one page asked for ever: {paging:?}");
}
