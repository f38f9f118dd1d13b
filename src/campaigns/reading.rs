//! One reading of a whole list by offset, while the list shifts. Each page overlaps what was read before it:
//! where the overlap is not what was read, entries before it may have gone and pulled unread ones over the
//! boundary, so the reading goes back until it stands on known ground, and on from there. Pure.
//!
//! What was in the list all along and kept its place among the others is read. A move to the front, or an
//! insertion anywhere, only repeats; the ids read so far tell repeats apart.

use std::collections::HashSet;

use crate::{
    error::{Error, Reason},
    model::{Message, MessageId, Page, Slice},
};

/// More pages than any campaign has: a list without an end is not a list.
const MAX_PAGES: u32 = 20_000;

/// Entries in a row, at new ground, that may be old: as many as were inserted in front since the page before
/// push it back. A list that ignores the offset does it for ever.
const MAX_BARREN_ENTRIES: u64 = 250;

/// So many entries of the page before are asked for again.
const OVERLAP: u64 = 8;

/// A reading under way.
#[derive(Debug)]
pub(super) struct Reading {
    limit: u32,
    /// What is asked for next.
    offset: u64,
    /// How many of the entries asked for next should be known.
    overlap: u64,
    /// Behind the last entry of the page before.
    reached: u64,
    end: End,
    /// The furthest that any page reached.
    furthest: u64,
    /// How far to go back the next time that the ground is not known.
    stride: u64,
    pages: u32,
    barren: u64,
    read: HashSet<MessageId>,
}

/// Where the reading is with the list's end.
#[derive(Debug)]
enum End {
    /// Not yet there, as far as is known.
    Ahead,
    /// An empty page here would be the end. So many known entries came just before it.
    Probed(u64),
    /// It was empty: if these entries still stand where they did, nothing was pulled past the reading.
    Confirmed(u64),
}

/// What a page brought.
#[derive(Debug)]
pub(super) struct Step {
    /// Those of its messages that no page before it had.
    pub(super) messages: Vec<Message>,
    /// Whether the list ends here.
    pub(super) last: bool,
}

impl Reading {
    pub(super) fn new(limit: u32) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            offset: 0,
            overlap: 0,
            reached: 0,
            end: End::Ahead,
            furthest: 0,
            stride: u64::from(limit),
            pages: 0,
            barren: 0,
            read: HashSet::new(),
        }
    }

    /// The part of the list to ask for next.
    pub(super) fn next(&self) -> Slice {
        Slice { offset: self.offset, limit: self.limit }
    }

    /// Whether a page of this reading brought it.
    pub(super) fn has_read(&self, id: &MessageId) -> bool {
        self.read.contains(id)
    }

    /// All that its pages brought.
    pub(super) fn into_read(self) -> HashSet<MessageId> {
        self.read
    }

    /// Takes the page that [`Self::next`] asked for.
    pub(super) fn take(&mut self, page: Page) -> Result<Step, Error> {
        self.pages += 1;
        if self.pages > MAX_PAGES {
            return Err(invalid("the upstream's list of messages does not end"));
        }
        let came = page.entries.len() as u64;
        let page_total = page.total;
        match std::mem::replace(&mut self.end, End::Ahead) {
            End::Ahead => {}
            // It goes on. What came stands on no overlap: the same again, with a shorter one than before.
            End::Probed(tail) if came > 0 && tail > 1 => {
                self.overlap = tail / 2;
                self.offset = self.reached - self.overlap;
                return Ok(Step { messages: Vec::new(), last: false });
            }
            End::Probed(_) if came > 0 => {}
            // Unless entries went meanwhile, and pulled unread ones over the boundary.
            End::Probed(tail) => {
                (self.offset, self.overlap, self.end) = (self.reached - tail, tail, End::Confirmed(tail));
                return Ok(Step { messages: Vec::new(), last: false });
            }
            End::Confirmed(tail) => {
                let is_same = came == tail && self.known_in_overlap(&page) == tail;
                if !is_same {
                    self.go_back();
                }
                return Ok(Step { messages: Vec::new(), last: is_same });
            }
        }
        if !self.stands_on_known(&page) {
            // What came is not counted as read: unread entries may lie before it, and the reading comes here again.
            self.go_back();
            return Ok(Step { messages: Vec::new(), last: false });
        }
        let mut messages: Vec<_> = page.entries.into_iter().flatten().collect();
        messages.retain(|message| self.read.insert(message.id.clone()));
        self.stride = u64::from(self.limit);
        // By what came, not by what was asked for: the upstream may cap the limit.
        let end = self.offset + came;
        let is_reached = page_total.is_some_and(|total| end >= total);
        if came <= self.overlap || (came == 0 && self.offset == 0) {
            // Nothing behind the overlap: the end, or a cap on `limit`. Only an empty page tells.
            self.end = End::Probed(came);
            (self.offset, self.overlap, self.reached) = (end, 0, end);
            return Ok(Step { messages, last: came == 0 || is_reached });
        }
        if end > self.furthest {
            self.barren = if messages.is_empty() { self.barren + came } else { 0 };
        }
        if self.barren > MAX_BARREN_ENTRIES {
            return Err(invalid("the upstream's list of messages repeats itself: it ignores the offset"));
        }
        self.reached = end;
        self.furthest = self.furthest.max(end);
        // Half at most, so that a cap on `limit` leaves room to go on.
        self.overlap = OVERLAP.min(came / 2);
        self.offset = end - self.overlap;
        // A total that is reached by repeats alone proves nothing; a short page never does.
        let last = self.barren == 0 && is_reached;
        Ok(Step { messages, last })
    }

    /// Whether at least half of the overlap was read before: one entry alone may be one that was moved here.
    fn stands_on_known(&self, page: &Page) -> bool {
        self.known_in_overlap(page) >= self.overlap.div_ceil(2)
    }

    /// How many entries of the overlap were read before.
    fn known_in_overlap(&self, page: &Page) -> u64 {
        let overlap = page.entries.iter().take(usize::try_from(self.overlap).unwrap_or(usize::MAX));
        // What has no id cannot be known again, nor be told apart from what was read.
        let known =
            |entry: &Option<Message>| entry.as_ref().is_none_or(|message| self.read.contains(&message.id));
        overlap.filter(|entry| known(entry)).count() as u64
    }

    fn go_back(&mut self) {
        self.offset = self.offset.saturating_sub(self.stride);
        self.stride = self.stride.saturating_mul(2);
        self.overlap = if self.offset == 0 { 0 } else { OVERLAP.min(u64::from(self.limit) / 2) };
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(Reason::UpstreamResponseInvalid, message)
}

#[cfg(test)]
mod tests;
