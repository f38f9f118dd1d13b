//! Single pages: where they begin, what they hold, what they are taken for.

use std::collections::HashSet;

use super::{
    super::paging::{Paging, Position, Told},
    model::{Change, GOOD, Manners, Upstream, message, number, turn},
};
use crate::{
    error::Reason,
    model::{Message, Page},
};

fn ids(told: &Told) -> Vec<u32> {
    told.messages.iter().map(number).collect()
}

/// A list of 100 of which the first 40 were told, and where the next page begins.
fn forty_of_a_hundred(manners: Manners) -> (Upstream, Position) {
    let mut upstream = Upstream::new(100, manners);
    let told = turn(&mut upstream, 40, None, |_| {}).unwrap();
    assert_eq!(ids(&told), Vec::from_iter(0..40));
    upstream.asked.clear();
    (upstream, told.next.unwrap())
}

/// The next page of 10, after this happened.
fn after(change: &Change) -> (Vec<u32>, usize) {
    let (mut upstream, position) = forty_of_a_hundred(GOOD);
    upstream.apply(change);
    let told = turn(&mut upstream, 10, Some(position), |_| {}).unwrap();
    (ids(&told), upstream.asked.len())
}

#[test]
fn a_deletion_before_the_page_pulls_nothing_past_the_reader() {
    assert_eq!(after(&Change::Delete(0, 1)), (Vec::from_iter(40..50), 1), "within the overlap");
    assert_eq!(after(&Change::Delete(0, 30)), (Vec::from_iter(40..50), 2), "the total says how far");
    assert_eq!(after(&Change::Delete(350, 4)), (Vec::from_iter(40..50), 1), "with half of the anchors");
}

#[test]
fn an_insertion_before_the_page_repeats_nothing() {
    // The window is the same: what is old in it leaves less room.
    assert_eq!(after(&Change::Insert(0, 3)), (Vec::from_iter(40..47), 1));
    assert_eq!(after(&Change::Insert(0, 500)), (Vec::from_iter(40..50), 2), "the total says how far");
    // What came in between told ones cannot be told from what moved there: it is told.
    let (told, calls) = after(&Change::Insert(380, 1));
    assert_eq!((told[0], told[1], calls), (100, 40, 1));
}

#[test]
fn without_a_total_the_place_is_looked_for_ahead_and_then_back() {
    for (change, calls) in
        [(Change::Insert(0, 90), 2), (Change::Insert(0, 180), 3), (Change::Delete(0, 30), 4)]
    {
        let (mut upstream, position) = forty_of_a_hundred(Manners { tells_total: false, ..GOOD });
        upstream.apply(&change);
        let told = turn(&mut upstream, 10, Some(position), |_| {}).unwrap();
        assert_eq!(ids(&told), Vec::from_iter(40..50), "{change:?}");
        assert_eq!(upstream.asked.len(), calls, "{change:?}: {:?}", upstream.asked);
    }
}

#[test]
fn one_message_that_moved_misleads_nobody() {
    for from in (320..400).step_by(10) {
        for to in (0..1_000).step_by(10) {
            let mover = (from / 10) as u32;
            let (told, _) = after(&Change::Move(from, to));
            let wanted: Vec<_> = (40..told.iter().copied().filter(|n| *n >= 40).max().unwrap()).collect();
            let rest: Vec<_> = told.iter().copied().filter(|n| *n >= 40 && *n != mover).collect();
            assert!(rest.starts_with(&wanted), "{from} to {to}: {told:?}");
        }
    }
    // The last of them goes behind all others, while the rest slips away: alone, it is no anchor.
    let (mut upstream, position) = forty_of_a_hundred(Manners { tells_total: false, ..GOOD });
    upstream.apply(&Change::Move(390, 999));
    upstream.apply(&Change::Delete(0, 35));
    let told = turn(&mut upstream, 100, Some(position), |_| {}).unwrap();
    assert_eq!(ids(&told)[..60], Vec::from_iter(40..100));
}

#[test]
fn two_that_move_down_while_the_place_is_looked_for_do_not_pass_for_it() {
    let (mut upstream, position) = forty_of_a_hundred(Manners { tells_total: false, ..GOOD });
    upstream.apply(&Change::Delete(0, 10));
    let mut movers = [38, 39].into_iter();
    let told = turn(&mut upstream, 10, Some(position), |upstream| {
        let Some(mover) = movers.next() else { return };
        upstream.list.retain(|n| *n != mover);
        upstream.list.push(mover);
    });
    assert_eq!(ids(&told.unwrap()), Vec::from_iter(40..50));
}

#[test]
fn the_one_message_that_was_told_is_no_place_to_go_on_behind_when_it_moves() {
    let mut upstream = Upstream::new(4, GOOD);
    let position = turn(&mut upstream, 1, None, |_| {}).unwrap().next;
    upstream.list = vec![1, 2, 0, 3];
    assert_eq!(ids(&turn(&mut upstream, 3, position, |_| {}).unwrap()), [1, 2, 3]);
}

#[test]
fn neighbours_that_change_places_at_the_boundary_are_both_told() {
    for at in 30..45 {
        let (mut upstream, position) = forty_of_a_hundred(GOOD);
        upstream.list.swap(at, at + 1);
        let told = turn(&mut upstream, 10, Some(position), |_| {}).unwrap();
        let told: HashSet<_> = ids(&told).into_iter().collect();
        assert_eq!(told, (40..50).collect(), "{at}");
        assert_eq!(upstream.asked.len(), 1);
    }
}

#[test]
fn a_place_that_is_lost_is_read_again_from_the_start_and_the_fourth_time_that_is_an_error() {
    let (mut upstream, mut position) = forty_of_a_hundred(GOOD);
    for restarts in 1..=3 {
        // All anchors go, and as many others come.
        let gone = (position.offset - 8) as usize;
        upstream.list.splice(gone..gone + 8, 1_000 * restarts..1_000 * restarts + 8);
        let first = upstream.list[0];
        let told = turn(&mut upstream, 40, Some(position), |_| {}).unwrap();
        assert_eq!(ids(&told)[0], first, "repeats are better than losses");
        position = told.next.unwrap();
        assert_eq!(position.restarts, restarts as u8);
    }
    upstream.list = (5_000..5_100).collect();
    let asked = upstream.asked.len();
    let error = turn(&mut upstream, 40, Some(position), |_| {}).unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamResponseInvalid);
    assert!(error.message().contains("from the first page"), "{}", error.message());
    assert!(upstream.asked.len() - asked <= 8);
}

#[test]
fn what_ends_in_entries_without_an_id_is_held_against_those_before_them() {
    let mut upstream = Upstream::new(100, GOOD).without_ids((35..40).collect());
    let position = turn(&mut upstream, 35, None, |_| {}).unwrap().next.unwrap();
    upstream.apply(&Change::Delete(0, 1));
    let told = turn(&mut upstream, 10, Some(position), |_| {}).unwrap();
    assert_eq!(ids(&told)[0], 40);
}

#[test]
fn a_page_that_ignores_the_limit_is_cut_to_what_was_asked_for() {
    let mut upstream = Upstream::new(100, Manners { ignores_limit: true, ..GOOD });
    let told = turn(&mut upstream, 4, None, |_| {}).unwrap();
    assert_eq!(ids(&told), [0, 1, 2, 3]);
    assert_eq!(told.next.unwrap().offset, 4);
}

#[test]
fn no_more_is_asked_for_than_upstreams_send() {
    let limit = |page_size| Paging::new(page_size, None).next().limit;
    assert_eq!([1, 50, 92, 93, 100, 101, 992, 1_000].map(limit), [9, 58, 100, 100, 100, 109, 1_000, 1_000]);
}

#[test]
fn an_answer_stays_below_what_a_grpc_client_accepts() {
    let heavy = |n| Some(Message { failure_reason: Some("x".repeat(100_000)), ..message(n) });
    let page = Page { entries: (0..100).map(heavy).collect(), total: Some(100) };
    let told = Paging::new(1_000, None).take(page).unwrap().unwrap();
    assert!((10..30).contains(&told.messages.len()), "{}", told.messages.len());
    assert_eq!(told.next.unwrap().offset, told.messages.len() as u64);
}
