//! What is known of a campaign's list, and which calls a round makes on the strength of it. Pure.
//!
//! Where things stand in the list decides only what a round costs, never what is believed: a message that
//! the pages did not show is asked for by name. That nothing came unseen is taken from the list's total.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::feed::Wants;
use crate::model::{MessageId, Page, Slice};

/// A page begins so many entries before what it is asked for: the list may have become shorter.
const MARGIN: u64 = 8;

/// However sure it seems that nothing came unseen, the whole list is read this often, and a long one not
/// more often than once in so much time a page.
const FULL_EVERY: Duration = Duration::from_secs(60);
const FULL_EVERY_PER_PAGE: Duration = Duration::from_millis(500);

/// While nobody knows how long the list is, so many messages are rather asked for by name.
const CALLS_OF_UNKNOWN_LIST: usize = 8;

/// What a round looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The whole list.
    Full,
    /// What is new at the list's ends, and every open message.
    Quick,
    /// The named messages alone.
    Named,
}

/// What is known of the list.
#[derive(Debug)]
pub(super) struct Survey {
    page_size: u32,
    /// Where each open message was last seen.
    places: HashMap<MessageId, u64>,
    /// All that the list is known to hold.
    listed: HashSet<MessageId>,
    /// Behind the last known entry.
    end: u64,
    tells_total: bool,
    /// By how much the totals of this round's pages were above what was known right after each.
    surplus: HashSet<i64>,
    /// How many of the known this round has found to be gone.
    gone: i64,
    full: Option<Full>,
    /// Whether something must have come or gone unseen.
    doubtful: bool,
}

/// The last reading of the whole list.
#[derive(Debug)]
struct Full {
    at: Instant,
    calls: usize,
    /// Entries on a page: the upstream may cap them.
    page_len: u64,
}

/// Pages that each show several of the messages looked for.
#[derive(Debug, Default)]
struct Windows {
    offsets: Vec<u64>,
    shown: Vec<MessageId>,
    /// Those that stand alone, or nobody knows where.
    alone: usize,
}

impl Survey {
    pub(super) fn new(page_size: u32) -> Self {
        Self {
            page_size: page_size.max(1),
            places: HashMap::new(),
            listed: HashSet::new(),
            end: 0,
            tells_total: false,
            surplus: HashSet::new(),
            gone: 0,
            full: None,
            doubtful: false,
        }
    }

    /// What the next round looks at, and about how many calls that takes.
    pub(super) fn plan(&self, wants: &Wants, now: Instant) -> (Plan, usize) {
        let (pages, calls) = self.plan_pages(wants, now);
        if !wants.whole && wants.named.len() <= calls {
            (Plan::Named, wants.named.len())
        } else {
            (pages, calls)
        }
    }

    fn plan_pages(&self, wants: &Wants, now: Instant) -> (Plan, usize) {
        let Some(full) = &self.full else { return (Plan::Full, CALLS_OF_UNKNOWN_LIST) };
        let every = FULL_EVERY.max(FULL_EVERY_PER_PAGE * u32::try_from(full.calls).unwrap_or(u32::MAX));
        let is_due = self.doubtful || now >= full.at + every || (wants.owed && !self.tells_total);
        let quick = self.quick_calls(wants, full);
        // At its very best a full one needs so many; and a list of one page is read by its first.
        let pages = self.end.div_ceil(full.page_len.max(1));
        if is_due || quick as u64 >= pages { (Plan::Full, full.calls) } else { (Plan::Quick, quick) }
    }

    fn quick_calls(&self, wants: &Wants, full: &Full) -> usize {
        let ends = if self.tells_total { 2 } else { 3 };
        let between = full.page_len..self.tail();
        let is_between = |id: &&MessageId| self.places.get(*id).is_none_or(|place| between.contains(place));
        let windows = self.windows(wants.open.iter().filter(is_between));
        ends + windows.offsets.len() + windows.alone + wants.unseen
    }

    /// A round begins.
    pub(super) fn begin(&mut self) {
        self.surplus.clear();
        self.gone = 0;
    }

    /// Takes what a page shows of the list, and says how many of its messages were not known to be there.
    pub(super) fn note(&mut self, offset: u64, page: &Page) -> u64 {
        let mut new = 0;
        for (place, entry) in (offset..).zip(&page.entries) {
            let Some(message) = entry else { continue };
            new += u64::from(self.listed.insert(message.id.clone()));
            if message.status.is_terminal() {
                self.places.remove(&message.id);
            } else {
                self.places.insert(message.id.clone(), place);
            }
        }
        self.tells_total = page.total.is_some();
        if let Some(total) = page.total {
            self.surplus.insert(signed(total) - signed(self.listed.len() as u64));
        }
        new
    }

    /// Takes it that so many were inserted in front of all but those that `seen` knows.
    pub(super) fn shift(&mut self, by: u64, seen: impl Fn(&MessageId) -> bool) {
        if by == 0 {
            return;
        }
        self.end += by;
        for (_, place) in self.places.iter_mut().filter(|(id, _)| !seen(id)) {
            *place += by;
        }
    }

    /// Where to look for what is new at the end.
    pub(super) fn tail(&self) -> u64 {
        self.end.saturating_sub(MARGIN)
    }

    /// The list ends here.
    pub(super) fn ends_at(&mut self, end: u64) {
        self.end = end;
    }

    /// Something must have come or gone unseen: the next round reads all.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// The pages that may show two or more of these each.
    pub(super) fn pages_of(&mut self, ids: &[MessageId]) -> Vec<Slice> {
        let windows = self.windows(ids.iter());
        // The pages say anew where they are; which of them they do not show, nobody knows.
        for id in &windows.shown {
            self.places.remove(id);
        }
        windows.offsets.into_iter().map(|offset| Slice { offset, limit: self.page_size }).collect()
    }

    fn windows<'a>(&self, ids: impl Iterator<Item = &'a MessageId>) -> Windows {
        let mut windows = Windows::default();
        let mut placed = Vec::new();
        for id in ids {
            match self.places.get(id) {
                Some(place) => placed.push((*place, id)),
                None => windows.alone += 1,
            }
        }
        placed.sort_unstable();
        let page_len = self.full.as_ref().map_or(0, |full| full.page_len);
        let margin = MARGIN.min(page_len / 10);
        let mut rest = placed.as_slice();
        while let Some((first, _)) = rest.first() {
            let offset = first.saturating_sub(margin);
            let (here, behind) =
                rest.split_at(rest.partition_point(|(place, _)| *place < offset + page_len).max(1));
            if here.len() > 1 {
                windows.offsets.push(offset);
                windows.shown.extend(here.iter().map(|(_, id)| (*id).clone()));
            } else {
                windows.alone += 1;
            }
            rest = behind;
        }
        windows
    }

    /// The upstream has no such message (any more).
    pub(super) fn lose(&mut self, id: &MessageId) {
        self.places.remove(id);
        if self.listed.remove(id) {
            self.gone += 1;
            self.end = self.end.saturating_sub(1);
        }
    }

    /// The whole list was read in a round that began then: it holds these.
    pub(super) fn read_all(&mut self, at: Instant, listed: HashSet<MessageId>, calls: usize, page_len: u64) {
        self.end = listed.len() as u64;
        self.places.retain(|id, _| listed.contains(id));
        self.listed = listed;
        self.full = Some(Full { at, calls, page_len });
        self.doubtful = false;
    }

    /// A quick round went through. Says whether it has certainly seen all that came, by the list's total.
    pub(super) fn saw_all(&mut self) -> bool {
        // At the time of one page, at least, all that was there was known, but for what was gone already.
        let all = self.surplus.contains(&-self.gone);
        self.doubtful |= self.tells_total && !all;
        all
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
