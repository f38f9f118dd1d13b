//! What quick rounds see, and what must wait for a full one.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::harness::*;
use crate::model::WatchOptions;

/// A thousand messages, all but these terminal, and a watcher that has been told of them.
async fn watched(tells_total: bool, open: &[&str]) -> (Rig, Updates) {
    let mut world = World { tells_total, ..messages(1_000, "SENT") };
    open.iter().for_each(|id| world.set(id, "QUEUED"));
    let rig = Rig::new(world);
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    (rig, watch)
}

/// How many pages and messages are asked for in forty seconds, in which no full round is due.
async fn costs(rig: &Rig, watch: &mut Updates) -> (usize, usize) {
    rig.world().requests.clear();
    quiet(watch, 40).await;
    let world = rig.world();
    (world.lists(), world.gets())
}

#[tokio::test(start_paused = true)]
async fn a_quick_round_asks_for_the_ends_for_pages_with_several_open_messages_and_for_single_ones_by_name() {
    for (tells_total, ends) in [(true, 2), (false, 3)] {
        let (rig, mut watch) = watched(tells_total, &["m3", "m300", "m310", "m370", "m600", "m998"]).await;
        let (lists, gets) = costs(&rig, &mut watch).await;
        // m3 and m998 stand at the ends, and m600 alone.
        assert!((19..=20).contains(&gets), "{gets}");
        assert_eq!(lists, gets * (ends + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn every_open_message_is_seen_in_each_round_wherever_it_went() {
    for tells_total in [true, false] {
        let (rig, mut watch) = watched(tells_total, &["m300", "m310", "m600"]).await;
        rig.world().messages.rotate_left(400);
        rig.world().hidden.insert("m310".to_owned());
        quiet(&mut watch, 5).await;
        for id in ["m300", "m310", "m600"] {
            rig.world().set(id, "SENT");
            let told = timeout(Duration::from_millis(2_300), changes(&mut watch)).await;
            assert_eq!(told.unwrap(), [format!("{id}: QUEUED -> SENT")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_at_the_ends_is_told_by_the_next_round_and_in_the_middle_where_the_total_tells() {
    for (tells_total, at, within) in [
        (true, 0, 2_300),
        (false, 0, 2_300),
        (true, 1_000, 2_300),
        (false, 1_000, 2_300),
        (true, 500, 4_300),
        (false, 500, 62_000),
    ] {
        let (rig, mut watch) = watched(tells_total, &["m600"]).await;
        quiet(&mut watch, 5).await;
        // More than a page of them.
        for n in 0..150 {
            rig.world().messages.insert(at, (format!("n{n}"), "PENDING".to_owned()));
        }
        let began = Instant::now();
        let mut told = 0;
        while told < 150 {
            told += changes(&mut watch).await.len();
        }
        let took = began.elapsed();
        assert!(took <= Duration::from_millis(within), "{tells_total}, {at}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_watcher_is_told_no_state_that_may_lack_what_came_in_the_middle() {
    let (rig, mut watch) = watched(false, &["m600"]).await;
    quiet(&mut watch, 5).await;
    rig.world().messages.insert(500, ("new".to_owned(), "SENT".to_owned()));
    // Quick rounds go through, and do not see it.
    quiet(&mut watch, 5).await;
    let began = Instant::now();
    assert_eq!(snapshot(&mut rig.watch(everything())).await.len(), 1_001);
    assert!(began.elapsed() < Duration::from_secs(3), "who waits makes the next round a full one");
}

#[tokio::test(start_paused = true)]
async fn without_a_total_a_watch_completes_only_after_a_full_round_and_a_write_asks_for_one() {
    let (rig, mut keeper) = watched(false, &["m600"]).await;
    let complete_when_terminal = true;
    let mut watch = rig.watch(WatchOptions { complete_when_terminal, ..everything() });
    snapshot(&mut watch).await;
    quiet(&mut keeper, 5).await;
    rig.world().messages.insert(500, ("new".to_owned(), "QUEUED".to_owned()));
    rig.world().set("m600", "SENT");
    assert_eq!(changes(&mut watch).await, ["m600: QUEUED -> SENT"]);
    // All that is known is terminal, and not all is known.
    assert_eq!(changes(&mut watch).await, ["new: new QUEUED"]);
    rig.world().set("new", "SENT");
    assert_eq!(changes(&mut watch).await, ["new: QUEUED -> SENT"]);
    let began = Instant::now();
    rig.hub.wrote(context(1).workspace.id, &campaign());
    assert_eq!(end(&mut watch).await.map(|error| error.reason()), None);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
