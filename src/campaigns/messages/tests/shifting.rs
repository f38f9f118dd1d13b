//! The promise: what stood in the list all along is told, whatever happens to the list meanwhile.

use std::{collections::HashSet, ops::Range};

use proptest::prelude::*;

use super::model::{Change, GOOD, Manners, Upstream, number, turn};

/// Where new messages come in.
#[derive(Clone, Copy, Debug)]
enum Order {
    OldestFirst,
    NewestFirst,
    Arbitrary,
}

fn change(order: Order) -> impl Strategy<Value = Change> {
    let at = || 0..1_000_usize;
    let insert = match order {
        Order::OldestFirst => Just(1_000).boxed(),
        Order::NewestFirst => Just(0).boxed(),
        Order::Arbitrary => at().boxed(),
    };
    prop_oneof![
        3 => (insert.clone(), 1..3_u32).prop_map(|(at, count)| Change::Insert(at, count)),
        1 => (insert, 1..80_u32).prop_map(|(at, count)| Change::Insert(at, count)),
        3 => (at(), 1..3_usize).prop_map(|(at, count)| Change::Delete(at, count)),
        1 => (at(), 1..60_usize).prop_map(|(at, count)| Change::Delete(at, count)),
    ]
}

/// One entry moves.
fn shuffle() -> impl Strategy<Value = Option<Change>> {
    let at = || 0..1_000_usize;
    let one = prop_oneof![
        (at(), at()).prop_map(|(from, to)| Change::Move(from, to)),
        at().prop_map(|from| Change::Move(from, 0)),
        at().prop_map(|from| Change::Move(from, 999)),
        at().prop_map(Change::Swap),
    ];
    prop::option::of(one)
}

/// What happens between the upstream's answers, in turn: some changes, and one entry may move.
fn events(moves: bool) -> impl Strategy<Value = Vec<Vec<Change>>> {
    let orders = prop::sample::select(vec![Order::OldestFirst, Order::NewestFirst, Order::Arbitrary]);
    orders.prop_flat_map(move |order| {
        let between =
            (prop::collection::vec(change(order), 0..4), shuffle()).prop_map(move |(changes, shuffle)| {
                changes.into_iter().chain(shuffle.filter(|_| moves)).collect()
            });
        prop::collection::vec(between, 0..40)
    })
}

fn manners(cap: Range<usize>) -> impl Strategy<Value = Manners> {
    (any::<bool>(), cap, prop::bool::weighted(0.2)).prop_map(|(tells_total, cap, ignores_limit)| Manners {
        tells_total,
        cap,
        ignores_limit,
        ..GOOD
    })
}

/// Pages to the end, and returns what was told; `None` where the list shifted too much for that, which is an error.
fn read(upstream: &mut Upstream, sizes: &[u32], events: Vec<Vec<Change>>) -> Option<HashSet<u32>> {
    let mut events = events.into_iter();
    let (mut told, mut from, mut pages) = (HashSet::new(), None, 0);
    loop {
        let asked = upstream.asked.len();
        let answer = turn(upstream, sizes[pages % sizes.len()], from, |upstream| {
            for change in events.next().unwrap_or_default() {
                upstream.apply(&change);
            }
        });
        let Ok(page) = answer else {
            let starts = upstream.asked.iter().filter(|slice| slice.offset == 0).count();
            let asked = &upstream.asked[asked..];
            assert!(starts > 4 || asked.len() > 8, "given up too soon: {asked:?}");
            return None;
        };
        told.extend(page.messages.iter().map(number));
        pages += 1;
        assert!(pages < 5_000, "paging does not end");
        from = page.next;
        if from.is_none() {
            return Some(told);
        }
    }
}

proptest! {
    #[test]
    fn what_stood_in_the_list_all_along_is_told_whatever_happens_to_the_list_between_two_answers(
        count in 0..400_u32,
        sizes in prop::collection::vec(1..120_u32, 1..4),
        // With fewer entries at once there is no room to ask for all anchors again.
        manners in manners(16..150),
        nameless in prop::collection::hash_set(0..400_u32, 0..10),
        events in events(true),
    ) {
        let mut upstream = Upstream::new(count, manners).without_ids(nameless);
        if let Some(told) = read(&mut upstream, &sizes, events) {
            let lost: Vec<_> = upstream.steady.iter().filter(|n| !told.contains(n)).collect();
            prop_assert!(lost.is_empty(), "{:?}, asked {:?}", lost, upstream.asked);
        }
    }

    #[test]
    fn where_nothing_moves_two_entries_at_once_are_enough(
        count in 0..100_u32,
        sizes in prop::collection::vec(1..40_u32, 1..4),
        manners in manners(2..16),
        events in events(false),
    ) {
        let mut upstream = Upstream::new(count, manners);
        if let Some(told) = read(&mut upstream, &sizes, events) {
            let lost: Vec<_> = upstream.steady.iter().filter(|n| !told.contains(n)).collect();
            prop_assert!(lost.is_empty(), "{:?}, asked {:?}", lost, upstream.asked);
        }
    }
}
