//! The items that wait to be sent, and how many of them go into the next upstream call: as many as count
//! and bytes allow, and fewer only when no more come soon.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{Limits, plan::Planned};

#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Planned>,
    bytes: usize,
    /// Since when the first item waits.
    since: Instant,
    /// Parts of a batch that has to be sent in smaller ones, before anything else.
    parts: VecDeque<Vec<Planned>>,
    limits: Limits,
    max_items: usize,
}

impl Queue {
    pub(super) fn new(limits: Limits, asked: Option<u32>) -> Self {
        let asked = asked.map_or(usize::MAX, |n| n as usize);
        Self {
            items: VecDeque::new(),
            bytes: 0,
            since: Instant::now(),
            parts: VecDeque::new(),
            limits,
            max_items: asked.min(limits.batch_max_items).max(1),
        }
    }

    /// The bytes of the items that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn extend(&mut self, items: Vec<Planned>) {
        if self.items.is_empty() {
            self.since = Instant::now();
        }
        self.bytes += weight(&items);
        self.items.extend(items);
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.parts.clear();
    }

    /// From here on each item goes alone.
    pub(super) fn send_singles(&mut self) {
        self.max_items = 1;
    }

    pub(super) fn sends_singles(&self) -> bool {
        self.max_items == 1
    }

    /// From here on no batch has more items.
    pub(super) fn shrink_to(&mut self, items: usize) {
        self.max_items = self.max_items.min(items).max(1);
    }

    /// Takes a batch of several back, to be sent in two halves.
    pub(super) fn halve(&mut self, mut batch: Vec<Planned>) {
        let half = batch.len() / 2;
        let back = batch.split_off(half);
        self.parts.push_front(back);
        self.parts.push_front(batch);
    }

    /// Whether a batch can go now: a full one, or what there is when no more will come (`is_all`) or has
    /// come for long enough.
    pub(super) fn has_batch(&self, is_all: bool) -> bool {
        !self.parts.is_empty()
            || self.items.len() >= self.max_items
            || self.bytes >= self.limits.batch_max_bytes
            || (!self.items.is_empty() && (is_all || self.since.elapsed() >= self.limits.batch_max_age))
    }

    /// When what there is will be sent although it is no full batch.
    pub(super) fn partial_batch_at(&self) -> Option<Instant> {
        (!self.items.is_empty()).then(|| self.since + self.limits.batch_max_age)
    }

    /// The next batch, of at most so many items. `frame`: what a body weighs without items.
    pub(super) fn next_batch(&mut self, frame: usize, most: usize) -> Vec<Planned> {
        if let Some(mut batch) = self.parts.pop_front() {
            if batch.len() > most {
                let rest = batch.split_off(most);
                self.parts.push_front(rest);
            }
            return batch;
        }
        let sizes = self.items.iter().map(|item| item.encoded.len());
        let count = cut(sizes, frame, self.max_items.min(most), self.limits.batch_max_bytes);
        let batch: Vec<Planned> = self.items.drain(..count).collect();
        self.bytes -= weight(&batch);
        self.since = Instant::now();
        batch
    }
}

fn weight(items: &[Planned]) -> usize {
    items.iter().map(|item| item.encoded.len()).sum()
}

/// The number of items to take from the front, at least one if there is one: as many as the count and the
/// bytes allow. `frame` is what a body weighs without items; items are joined by one byte each.
fn cut(sizes: impl IntoIterator<Item = usize>, frame: usize, max_items: usize, max_bytes: usize) -> usize {
    let mut bytes = frame;
    let mut count = 0;
    for size in sizes.into_iter().take(max_items.max(1)) {
        bytes = bytes.saturating_add(size).saturating_add(usize::from(count > 0));
        // A single item that is too large goes alone: the upstream's answer is then that item's own.
        if bytes > max_bytes && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::cut;

    proptest! {
        #[test]
        fn batches_keep_every_item_and_both_bounds_and_are_as_large_as_they_may(
            sizes in prop::collection::vec(1_usize..5_000, 0..300),
            frame in 10_usize..100, max_items in 1_usize..120, max_bytes in 100_usize..20_000,
        ) {
            let mut rest = &sizes[..];
            while !rest.is_empty() {
                let n = cut(rest.iter().copied(), frame, max_items, max_bytes);
                prop_assert!((1..=max_items).contains(&n));
                let weigh = |items: &[usize]| frame + items.iter().sum::<usize>() + items.len() - 1;
                prop_assert!(n == 1 || weigh(&rest[..n]) <= max_bytes);
                let could_take_more = n < max_items && n < rest.len() && weigh(&rest[..=n]) <= max_bytes;
                prop_assert!(!could_take_more);
                rest = &rest[n..];
            }
            prop_assert_eq!(cut([], frame, max_items, max_bytes), 0);
        }
    }
}
