//! One sweep over an offset-paginated list that shifts while it is read: which page next, and when it is
//! the end. A sweep proves that a message is there, never that one is not. Pure.

use std::collections::HashSet;

use crate::{
    error::{Error, Reason},
    model::{Message, MessageId, Page, Slice},
};

/// More pages than any campaign has: a list without an end is not a list.
const MAX_PAGES: u32 = 20_000;

/// Pages in a row that may bring nothing new. One can be innocent: where the list is newest first, as many
/// insertions as a page has entries, between two requests, show the same page again (one batch of
/// additions does that). A list that ignores the offset does it for ever.
const MAX_BARREN_PAGES: u32 = 2;

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweep {
    limit: u32,
    offset: u64,
    pages: u32,
    barren: u32,
    seen: HashSet<MessageId>,
}

/// What a page brought.
#[derive(Debug)]
pub(super) struct Step {
    /// Its messages, in the list's order. One can have been on an earlier page: the later observation wins.
    pub(super) messages: Vec<Message>,
    /// Whether the list ends here.
    pub(super) last: bool,
}

impl Sweep {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), offset: 0, pages: 0, barren: 0, seen: HashSet::new() }
    }

    /// The part of the list to ask for next.
    pub(super) fn next(&self) -> Slice {
        Slice { offset: self.offset, limit: self.limit }
    }

    /// Whether a page of this sweep had it.
    pub(super) fn has_seen(&self, id: &MessageId) -> bool {
        self.seen.contains(id)
    }

    /// Takes the page that [`Self::next`] asked for.
    pub(super) fn take(&mut self, page: Page) -> Result<Step, Error> {
        if page.entries.is_empty() {
            return Ok(Step { messages: Vec::new(), last: true });
        }
        // By what came, not by what was asked for: the upstream may cap the limit.
        self.offset += page.entries.len() as u64;
        self.pages += 1;
        let messages: Vec<_> = page.entries.into_iter().flatten().collect();
        let known = self.seen.len();
        self.seen.extend(messages.iter().map(|message| message.id.clone()));
        self.barren = if self.seen.len() > known { 0 } else { self.barren + 1 };
        if self.barren > MAX_BARREN_PAGES {
            return Err(invalid("the upstream's list of messages repeats itself: it ignores the offset"));
        }
        // A total that is reached by repeats alone proves nothing; a short page never does.
        let last = self.barren == 0 && page.total.is_some_and(|total| self.offset >= total);
        if !last && self.pages >= MAX_PAGES {
            return Err(invalid("the upstream's list of messages does not end"));
        }
        Ok(Step { messages, last })
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(Reason::UpstreamResponseInvalid, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::Status;

    fn page(ids: impl IntoIterator<Item = u32>, total: Option<u64>) -> Page {
        let message = |n: u32| {
            let id = MessageId::from_upstream(format!("m{n}"));
            id.map(|id| Message::bare(id, Status::Queued))
        };
        Page { entries: ids.into_iter().map(message).collect(), total }
    }

    #[test]
    fn the_offset_advances_by_what_came_and_only_an_empty_page_ends_the_list() {
        let mut sweep = Sweep::new(100);
        assert!(!sweep.take(page(0..50, None)).unwrap().last, "the upstream may cap the limit");
        assert_eq!(sweep.next(), Slice { offset: 50, limit: 100 });
        assert!(!sweep.take(page(50..53, None)).unwrap().last, "a short page proves nothing");
        assert_eq!(sweep.next().offset, 53);
        assert!(sweep.take(page([], None)).unwrap().last);
        assert!(sweep.has_seen(&MessageId::parse("m52").unwrap()));
    }

    #[test]
    fn a_reached_total_ends_the_list() {
        let mut sweep = Sweep::new(100);
        assert!(!sweep.take(page(0..100, Some(150))).unwrap().last);
        assert!(sweep.take(page(100..150, Some(150))).unwrap().last);
    }

    #[test]
    fn an_entry_without_an_id_still_counts_in_the_offset() {
        let mut sweep = Sweep::new(2);
        let mut with_gap = page([1], None);
        with_gap.entries.push(None);
        assert_eq!(sweep.take(with_gap).unwrap().messages.len(), 1);
        assert_eq!(sweep.next().offset, 2);
    }

    #[test]
    fn a_list_that_ignores_the_offset_is_an_error_with_or_without_a_total() {
        for total in [None, Some(6), Some(9), Some(1_000)] {
            let mut sweep = Sweep::new(3);
            let error = (0..10).find_map(|_| match sweep.take(page(0..3, total)) {
                Ok(step) => {
                    assert!(!step.last, "{total:?}");
                    None
                }
                Err(error) => Some(error),
            });
            assert_eq!(error.unwrap().reason(), Reason::UpstreamResponseInvalid, "{total:?}");
        }
    }

    #[test]
    fn insertions_that_push_a_whole_page_back_are_no_error() {
        let mut sweep = Sweep::new(3);
        assert!(!sweep.take(page(0..3, Some(6))).unwrap().last);
        assert!(!sweep.take(page(0..3, Some(9))).unwrap().last, "three were inserted before the first");
        assert!(sweep.take(page(3..6, Some(9))).unwrap().last);
    }

    #[test]
    fn a_list_without_an_end_is_an_error() {
        let mut sweep = Sweep::new(1);
        let error = (0..=MAX_PAGES).find_map(|n| sweep.take(page([n], None)).err());
        assert_eq!(error.unwrap().reason(), Reason::UpstreamResponseInvalid);
    }
}
