#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::model::Status;

fn message(n: u32) -> Message {
    Message::bare(MessageId::parse(format!("m{n}")).unwrap(), Status::Queued)
}

fn page(ids: impl IntoIterator<Item = u32>, total: Option<u64>) -> Page {
    Page { entries: ids.into_iter().map(|n| Some(message(n))).collect(), total }
}

/// What happens to the list between two pages; places in per mille of its length.
#[derive(Clone, Debug)]
enum Change {
    Insert(usize),
    Delete(usize),
    /// A whole stretch goes.
    Purge(usize, usize),
    ToFront(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0..1_000_usize;
    prop_oneof![
        at.clone().prop_map(Change::Insert),
        Just(Change::Insert(0)),
        at.clone().prop_map(Change::Delete),
        (at.clone(), 1..40_usize).prop_map(|(at, count)| Change::Purge(at, count)),
        at.prop_map(Change::ToFront),
    ]
}

struct List {
    ids: Vec<u32>,
    next: u32,
    /// Those that were there all along, and stayed where they were among the others.
    steady: HashSet<u32>,
}

impl List {
    fn apply(&mut self, change: &Change) {
        let place = |at: usize, len: usize| at * len / 1_000;
        match *change {
            Change::Insert(at) => {
                self.ids.insert(place(at, self.ids.len() + 1), self.next);
                self.next += 1;
            }
            Change::Delete(at) => self.purge(at, 1),
            Change::Purge(at, count) => self.purge(at, count),
            Change::ToFront(at) => {
                if !self.ids.is_empty() {
                    let id = self.ids.remove(place(at, self.ids.len()));
                    self.ids.insert(0, id);
                    self.steady.remove(&id);
                }
            }
        }
    }

    fn purge(&mut self, at: usize, count: usize) {
        let from = at * self.ids.len() / 1_000;
        for id in self.ids.drain(from..(from + count).min(self.ids.len())) {
            self.steady.remove(&id);
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_stood_in_the_list_all_along_is_left_out_and_nothing_is_read_twice(
        count in 0..400_u32,
        // A page of one entry has no room for an overlap.
        limit in 2..50_u32,
        cap in 2..60_usize,
        tells_total: bool,
        changes in prop::collection::vec(prop::collection::vec(change(), 0..4), 0..40),
    ) {
        let mut list = List { ids: (0..count).collect(), next: count, steady: (0..count).collect() };
        let mut reading = Reading::new(limit);
        let (mut read, mut pages) = (Vec::new(), 0);
        let mut changes = changes.into_iter();
        loop {
            let Slice { offset, limit } = reading.next();
            let from = (offset as usize).min(list.ids.len());
            let to = (from + (limit as usize).min(cap)).min(list.ids.len());
            let total = tells_total.then_some(list.ids.len() as u64);
            let step = reading.take(page(list.ids[from..to].iter().copied(), total)).unwrap();
            read.extend(step.messages.into_iter().map(|message| message.id));
            if step.last {
                break;
            }
            pages += 1;
            prop_assert!(pages < 20_000);
            for change in changes.next().unwrap_or_default() {
                list.apply(&change);
            }
        }
        let told: HashSet<_> = read.iter().cloned().collect();
        prop_assert_eq!(told.len(), read.len(), "each once");
        let lost: Vec<_> = list.steady.iter().filter(|n| !told.contains(&message(**n).id)).collect();
        prop_assert!(lost.is_empty(), "{:?}", lost);
    }
}

#[test]
fn a_list_at_rest_costs_few_calls_more_than_its_pages() {
    let mut reading = Reading::new(100);
    let mut calls = 0;
    loop {
        let Slice { offset, .. } = reading.next();
        let from = offset.min(10_000) as u32;
        calls += 1;
        if reading.take(page(from..(from + 100).min(10_000), Some(10_000))).unwrap().last {
            break;
        }
    }
    assert!((100..=110).contains(&calls), "{calls}");
}

#[test]
fn a_list_that_ignores_the_offset_or_has_no_end_is_an_error() {
    for total in [None, Some(30), Some(1_000)] {
        let mut reading = Reading::new(10);
        let error = (0..100).find_map(|_| match reading.take(page(0..10, total)) {
            Ok(step) => {
                assert!(!step.last, "{total:?}");
                None
            }
            Err(error) => Some(error),
        });
        assert_eq!(error.unwrap().reason(), Reason::UpstreamResponseInvalid, "{total:?}");
    }
    let mut reading = Reading::new(1);
    let error = (0..=MAX_PAGES).find_map(|n| reading.take(page([n], None)).err());
    assert_eq!(error.unwrap().reason(), Reason::UpstreamResponseInvalid);
}

#[test]
fn the_offset_advances_by_what_came_whatever_was_asked_for() {
    let mut reading = Reading::new(100);
    assert!(!reading.take(page(0..50, None)).unwrap().last, "the upstream may cap the limit");
    assert_eq!(reading.next(), Slice { offset: 42, limit: 100 });
    assert!(!reading.take(page(42..53, None)).unwrap().last, "a short page proves nothing");
    assert_eq!(reading.next().offset, 48);
    assert!(reading.has_read(&message(52).id) && !reading.has_read(&message(53).id));
}

#[test]
fn an_entry_without_an_id_still_counts_in_the_offset() {
    let mut reading = Reading::new(2);
    let mut with_gap = page([1], None);
    with_gap.entries.push(None);
    assert_eq!(reading.take(with_gap).unwrap().messages.len(), 1);
    assert_eq!(reading.next().offset, 1, "two, and one of them again");
}

#[test]
fn insertions_that_push_a_whole_page_back_are_no_error() {
    let mut reading = Reading::new(10);
    assert!(!reading.take(page(0..10, Some(20))).unwrap().last);
    let behind = |n: u64| (0..20).skip(n as usize).take(10);
    // Ten were inserted before the first.
    assert!(!reading.take(page(behind(reading.next().offset.saturating_sub(10)), Some(30))).unwrap().last);
    for _ in 0..5 {
        let offset = reading.next().offset;
        if reading.take(page(behind(offset - 10), Some(30))).unwrap().last {
            assert!((0..20).all(|n| reading.has_read(&message(n).id)));
            return;
        }
    }
    panic!("the list has an end");
}
