#![allow(clippy::unwrap_used)]

use super::{super::feed::Feed, *};
use crate::model::{Message, Status};

fn id(n: u64) -> MessageId {
    MessageId::parse(format!("m{n}")).unwrap()
}

/// A page of these, open where `open` says so.
fn page(ids: impl IntoIterator<Item = u64>, open: impl Fn(u64) -> bool, total: Option<u64>) -> Page {
    let status = |n| if open(n) { Status::Queued } else { Status::Sent };
    Page { entries: ids.into_iter().map(|n| Some(Message::bare(id(n), status(n)))).collect(), total }
}

/// What is wanted by who watches the whole campaign.
fn whole(open: impl IntoIterator<Item = u64>) -> Wants {
    let feed = Feed::new(1, Duration::ZERO);
    Wants { whole: true, open: open.into_iter().map(id).collect(), ..feed.wants() }
}

fn named(ids: impl IntoIterator<Item = u64>) -> Wants {
    Wants { whole: false, named: ids.into_iter().map(id).collect(), ..whole([]) }
}

/// A list of a thousand that was read in pages of a hundred.
fn read(open: impl Fn(u64) -> bool, total: Option<u64>, at: Instant) -> Survey {
    let mut survey = Survey::new(100);
    survey.begin();
    for first in (0..1_000).step_by(100) {
        survey.note(first, &page(first..first + 100, &open, total));
    }
    survey.read_all(at, (0..1_000).map(id).collect(), 11, 100);
    survey.begin();
    survey
}

#[test]
fn the_first_round_is_full_and_then_only_what_may_have_changed_is_looked_at() {
    let now = Instant::now();
    assert_eq!(Survey::new(100).plan(&whole([]), now).0, Plan::Full);
    let survey = read(|n| n < 250, Some(1_000), now);
    // The head and the tail, and two pages between.
    assert_eq!(survey.plan(&whole(0..250), now), (Plan::Quick, 4));
    assert_eq!(survey.plan(&whole([]), now), (Plan::Quick, 2));
    let survey = read(|_| true, Some(1_000), now);
    assert_eq!(survey.plan(&whole([500, 700, 999, 3]), now), (Plan::Quick, 4));
}

#[test]
fn a_full_round_comes_each_minute_and_where_a_quick_one_costs_as_much() {
    let now = Instant::now();
    let survey = read(|_| true, Some(1_000), now);
    assert_eq!(survey.plan(&whole([]), now + Duration::from_secs(59)).0, Plan::Quick);
    assert_eq!(survey.plan(&whole([]), now + Duration::from_secs(60)).0, Plan::Full);
    assert_eq!(survey.plan(&whole(0..1_000), now), (Plan::Full, 11));
    let mut long = read(|_| true, Some(1_000), now);
    long.read_all(now, (0..1_000).map(id).collect(), 200, 100);
    assert_eq!(long.plan(&whole([]), now + Duration::from_secs(99)).0, Plan::Quick);
    assert_eq!(long.plan(&whole([]), now + Duration::from_secs(100)).0, Plan::Full);
}

#[test]
fn pages_are_asked_for_where_they_show_two_or_more_and_the_others_stand_alone() {
    let now = Instant::now();
    let mut survey = read(|_| true, Some(1_000), now);
    let ids: Vec<_> = [200, 210, 290, 296, 500, 730, 800].into_iter().map(id).collect();
    let offsets: Vec<_> = survey.pages_of(&ids).iter().map(|slice| slice.offset).collect();
    assert_eq!(offsets, [192, 722], "each a little before the first, 292 is where the first page ends");
    // If the pages do not show them, nobody knows where they are.
    assert!(survey.pages_of(&ids).is_empty());
}

#[test]
fn what_was_inserted_in_front_moves_the_rest_back() {
    let now = Instant::now();
    let mut survey = read(|_| true, Some(1_000), now);
    assert_eq!(survey.note(0, &page((1_000..1_030).chain(0..70), |_| true, Some(1_030))), 30);
    survey.shift(30, |seen| (0..70).chain(1_000..1_030).any(|n| *seen == id(n)));
    assert_eq!(survey.tail(), 1_022);
    assert_eq!(survey.pages_of(&[id(500), id(510)])[0].offset, 522);
}

#[test]
fn a_quick_round_has_seen_all_only_where_a_pages_total_was_all_that_was_known_by_then() {
    let at = Instant::now();
    let none = |_| false;
    // Two came in front, and while the round goes on one more.
    let mut survey = read(none, Some(1_000), at);
    survey.note(0, &page((1_000..1_002).chain(0..98), none, Some(1_002)));
    survey.note(994, &page(992..1_000, none, Some(1_003)));
    assert!(survey.saw_all());
    // One came in the middle.
    let mut survey = read(none, Some(1_000), at);
    survey.note(0, &page(0..100, none, Some(1_001)));
    assert!(!survey.saw_all());
    assert_eq!(survey.plan(&whole([]), at).0, Plan::Full);
    // One went, and was found to be gone.
    let mut survey = read(none, Some(1_000), at);
    survey.note(0, &page(0..100, none, Some(999)));
    survey.lose(&id(500));
    assert!(survey.saw_all());
    // One went unseen.
    let mut survey = read(none, Some(1_000), at);
    survey.note(0, &page(0..100, none, Some(999)));
    assert!(!survey.saw_all());
}

#[test]
fn a_list_that_tells_no_total_is_read_in_full_where_somebody_waits_for_all_of_it() {
    let now = Instant::now();
    let mut survey = read(|_| false, None, now);
    survey.note(0, &page(0..100, |_| false, None));
    assert!(!survey.saw_all());
    assert_eq!(survey.plan(&whole([]), now), (Plan::Quick, 3));
    assert_eq!(survey.plan(&Wants { owed: true, ..whole([]) }, now).0, Plan::Full);
    survey.doubt();
    assert_eq!(survey.plan(&whole([]), now).0, Plan::Full);
}

#[test]
fn where_nobody_wants_more_the_named_are_asked_for_if_that_costs_less_than_pages() {
    let now = Instant::now();
    assert_eq!(Survey::new(100).plan(&named(0..8), now), (Plan::Named, 8));
    assert_eq!(Survey::new(100).plan(&named(0..9), now).0, Plan::Full);
    let survey = read(|_| false, Some(1_000), now);
    assert_eq!(survey.plan(&named(0..2), now), (Plan::Named, 2));
    assert_eq!(survey.plan(&named(0..3), now), (Plan::Quick, 2));
    assert_eq!(survey.plan(&named([]), now + Duration::from_secs(3_600)), (Plan::Named, 0));
    assert_eq!(survey.plan(&Wants { whole: true, ..named(0..2) }, now).0, Plan::Quick);
}
