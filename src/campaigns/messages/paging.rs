//! One page of a list that may shift between two calls. A page asks again for the last entries of the one
//! before: where they stand, it goes on behind them; where they do not, it looks for them nearby, and
//! begins the list anew where they are nowhere. Pure.
//!
//! The promise: what stood in the list all along, and kept its order relative to the others, is told. For what
//! now stands before an anchor that did not move stood before it then, and was told. Which of them moved
//! cannot be seen, so the first that is found counts: only if all that are found moved can an entry be lost.

use ring::digest;

use crate::{
    error::{Error, Reason},
    model::{Message, Page, Slice},
};

/// A page's messages weigh at most about this many bytes: well below the 4 MiB that gRPC clients accept.
const MAX_PAGE_BYTES: usize = 2 << 20;

/// So many of the ids before a position are remembered, to find it again.
pub const ANCHORS: usize = 8;

/// The most entries that are asked for again. More than [`ANCHORS`], as some may have no id.
const MAX_OVERLAP: usize = 2 * ANCHORS;

/// How often a caller's reading may lose its place and begin the list anew.
const MAX_RESTARTS: u8 = 3;

/// So many windows of one page may hold nothing new, where none was to be expected: a list that shifts goes on
/// behind them, one that ignores the offset sends them for ever.
const MAX_STALE: u8 = 8;

/// The least that is asked for at once where the list was not as expected.
const SEARCH_LIMIT: u32 = 100;

/// Where the next page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Entries before it, when it was taken.
    pub offset: u64,
    /// The number of messages in the campaign then, where the upstream told.
    pub total: Option<u64>,
    /// How often the place was lost and the list begun anew.
    pub restarts: u8,
    /// So many entries before it are asked for again.
    pub overlap: u8,
    /// The last ids before it, at most [`ANCHORS`], in the list's order. All of them were told.
    pub anchors: Vec<Anchor>,
}

/// An id that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// How many entries before the position it stood: 1 for the last.
    pub back: u8,
    /// The id's digest. Long enough that no other message is ever taken for it, and left out.
    pub digest: [u8; 8],
}

/// What makes one answer.
#[derive(Debug, PartialEq)]
pub(super) struct Told {
    /// In the upstream's order.
    pub(super) messages: Vec<Message>,
    /// Where the next page begins; `None` on the last.
    pub(super) next: Option<Position>,
    /// The number of messages in the campaign, where the upstream told.
    pub(super) total: Option<u64>,
}

/// One page on its way.
#[derive(Debug)]
pub(super) struct Paging {
    page_size: u32,
    from: Position,
    asked: Slice,
    look: Look,
    stale: u8,
}

/// What the window that was asked for is to show.
#[derive(Debug)]
enum Look {
    /// The overlap, and the page behind it.
    Expected,
    /// The list's end: nothing came but entries of the overlap.
    Nothing,
    /// The anchors, which were not where they had been. The offsets to try next, the next one last.
    Search(Vec<u64>),
}

impl Paging {
    pub(super) fn new(page_size: u32, from: Option<Position>) -> Self {
        let from = from.unwrap_or_default();
        let asked = expected(page_size, &from);
        Self { page_size, from, asked, look: Look::Expected, stale: 0 }
    }

    /// The window to ask for next.
    pub(super) fn next(&self) -> Slice {
        self.asked
    }

    /// Takes the window that [`Self::next`] asked for. `None`: another one is needed.
    pub(super) fn take(&mut self, page: Page) -> Result<Option<Told>, Error> {
        let came = page.entries.len();
        if matches!(self.look, Look::Nothing) {
            if came == 0 {
                return Ok(Some(Told { messages: Vec::new(), next: None, total: page.total }));
            }
            // The upstream caps `limit` below the overlap. What came stands on none: again, with a shorter one.
            self.expect();
            return Ok(None);
        }
        let digests: Vec<_> = page.entries.iter().map(|entry| entry.as_ref().map(digest_of)).collect();
        let found = self.find(&digests);
        let is_known = found.len() >= self.needed();
        let start = match found.iter().map(|(index, _)| *index).min() {
            // Entries without an id, or one at a time, leave nothing to hold the window against.
            _ if self.expected_anchors() == 0 => 0,
            Some(first) if is_known => first,
            _ if self.asked.offset == 0 => 0,
            _ => {
                self.search(came, page.total);
                return Ok(None);
            }
        };
        if !is_known && matches!(self.look, Look::Search(_)) {
            self.restart()?;
        }
        let in_place = matches!(self.look, Look::Expected) && found.iter().all(|at| self.is_in_place(*at));
        let total = page.total;
        let (messages, boundary) = self.fill(page.entries, &digests, start);
        let reached = self.asked.offset + boundary as u64;
        // A short page proves nothing (the upstream may cap `limit`); an empty one does, and so does a total
        // that is reached, unless the list has shifted under the offset, or ignores it.
        let is_offset_sure = in_place || self.asked.offset == 0;
        let is_last =
            came == 0 || (boundary == came && is_offset_sure && total.is_some_and(|total| reached >= total));
        let anchors = anchors(&digests[start..boundary]);
        let overlap = overlap(&anchors, came);
        let mut next = Position { offset: reached, total, restarts: self.from.restarts, overlap, anchors };
        // Behind the overlap there may be entries without an id alone: they are passed by.
        let goes_on = !messages.is_empty() || (in_place && reached > self.from.offset);
        if is_last || goes_on {
            return Ok(Some(Told { messages, next: (!is_last).then_some(next), total }));
        }
        // What was told and did not show stands further on: it is not to be told again.
        let unseen = self.from.anchors.iter().filter(|anchor| !found.iter().any(|(_, seen)| seen == *anchor));
        next.anchors.extend(unseen.map(|anchor| Anchor { back: u8::MAX, ..*anchor }));
        self.from = next;
        if in_place {
            self.look = Look::Nothing;
            self.asked.offset = reached;
        } else {
            self.stale += 1;
            if self.stale > MAX_STALE {
                return Err(invalid(
                    "the upstream sent the same page for another offset: its list cannot be read page by page",
                ));
            }
            self.expect();
        }
        Ok(None)
    }

    /// Asks again, from where the place is now known to be; for more, as the list may go on shifting.
    fn expect(&mut self) {
        self.look = Look::Expected;
        self.asked = expected(self.page_size, &self.from);
        self.asked.limit = self.asked.limit.max(SEARCH_LIMIT);
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.from.restarts += 1;
        if self.from.restarts <= MAX_RESTARTS {
            return Ok(());
        }
        Err(invalid(
            "the upstream's list changes so much between the pages that the place in it was lost again and \
             again: list anew from the first page, with a larger page_size or when less is going on",
        ))
    }

    /// Which anchors the window holds, and at which index.
    fn find(&self, digests: &[Option<[u8; 8]>]) -> Vec<(usize, Anchor)> {
        let at = |anchor: &Anchor| digests.iter().position(|digest| *digest == Some(anchor.digest));
        self.from.anchors.iter().filter_map(|anchor| Some((at(anchor)?, *anchor))).collect()
    }

    fn is_in_place(&self, (index, anchor): (usize, Anchor)) -> bool {
        index + usize::from(anchor.back) == usize::from(self.from.overlap)
    }

    /// How many anchors the overlap should hold.
    fn expected_anchors(&self) -> usize {
        self.from.anchors.iter().filter(|anchor| anchor.back <= self.from.overlap).count()
    }

    /// How many anchors make a place known. Never one alone of several: it may be the one that moved. A
    /// search takes several calls, between which more may move, and looks where the list's end may be.
    fn needed(&self) -> usize {
        let expected = self.expected_anchors();
        match self.look {
            Look::Search(_) => (expected / 2 + 1).max(2),
            // Here, not to know the place costs nothing.
            _ if self.asked.offset == 0 => 2,
            _ => expected.min(2),
        }
    }

    /// Takes what is new and fits one answer, and says behind which entry that ends.
    fn fill(
        &self,
        entries: Vec<Option<Message>>,
        digests: &[Option<[u8; 8]>],
        start: usize,
    ) -> (Vec<Message>, usize) {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let came = entries.len();
        for (index, entry) in entries.into_iter().enumerate().skip(start) {
            let is_told = self.from.anchors.iter().any(|anchor| digests[index] == Some(anchor.digest));
            let Some(message) = entry.filter(|_| !is_told) else { continue };
            bytes += message.weight();
            let is_full = messages.len() == self.page_size as usize || bytes > MAX_PAGE_BYTES;
            if is_full && !messages.is_empty() {
                return (messages, index);
            }
            messages.push(message);
        }
        (messages, came)
    }

    /// Looks elsewhere: where the change of the total says, ahead (insertions in front, the most likely),
    /// back, and in the end at the list's start.
    fn search(&mut self, came: usize, total: Option<u64>) {
        if matches!(self.look, Look::Expected) {
            let (near, overlap) = (self.asked.offset, u64::from(self.from.overlap));
            self.asked.limit = self.asked.limit.max(SEARCH_LIMIT);
            let width = u64::from(self.asked.limit) - overlap;
            let by_total = total.zip(self.from.total).filter(|(now, then)| now != then);
            let mut offsets = vec![0];
            offsets.extend([3, 2, 1].map(|n| near.saturating_sub(n * width)));
            if came > 0 {
                let behind = (near + came as u64).saturating_sub(overlap);
                offsets.extend([behind + width, behind]);
            }
            let moved = by_total.map(|(now, then)| near.saturating_add(now).saturating_sub(then));
            offsets.extend(moved.filter(|offset| *offset > 0));
            self.look = Look::Search(offsets);
        }
        if let Look::Search(offsets) = &mut self.look {
            // The start, which needs no anchor, comes last.
            self.asked.offset = offsets.pop().unwrap_or(0);
        }
    }
}

/// The window in which a position should show: its overlap, and a page.
fn expected(page_size: u32, from: &Position) -> Slice {
    // What a caller asks for is not pushed over a round number, where upstreams draw their line.
    let most = if page_size <= 100 { 100 } else { 1_000 };
    let limit = page_size.saturating_add(u32::from(from.overlap).max(ANCHORS as u32)).min(most);
    Slice { offset: from.offset.saturating_sub(from.overlap.into()), limit }
}

/// The last ids of entries that were told, in their order.
fn anchors(told: &[Option<[u8; 8]>]) -> Vec<Anchor> {
    let last = told.iter().rev().zip(1..=u8::MAX);
    let mut anchors: Vec<_> =
        last.filter_map(|(digest, back)| Some(Anchor { back, digest: (*digest)? })).take(ANCHORS).collect();
    anchors.reverse();
    anchors
}

/// How much of it to ask for again: no more than half of what came, so that a cap on `limit` leaves room to go on.
fn overlap(anchors: &[Anchor], came: usize) -> u8 {
    let most = MAX_OVERLAP.min(came / 2);
    anchors.iter().map(|anchor| anchor.back).find(|back| usize::from(*back) <= most).unwrap_or(0)
}

fn digest_of(message: &Message) -> [u8; 8] {
    let digest = digest::digest(&digest::SHA256, message.id.as_str().as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    first
}

fn invalid(message: &'static str) -> Error {
    Error::new(Reason::UpstreamResponseInvalid, message)
}
