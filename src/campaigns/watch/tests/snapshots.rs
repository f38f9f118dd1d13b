use std::collections::HashSet;

use super::harness::*;
use crate::model::{Status, StatusSet, WatchEvent, WatchOptions};

#[tokio::test(start_paused = true)]
async fn ten_thousand_messages_are_told_once_each_and_then_each_change_once() {
    let rig = Rig::new(messages(10_000, "QUEUED"));
    let mut watch = rig.watch(everything());
    let told = snapshot(&mut watch).await;
    assert_eq!(told.len(), 10_000);
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), 10_000);
    (0..10_000).for_each(|n| rig.world().set(&format!("m{n}"), "SENT"));
    let mut told = HashSet::new();
    while told.len() < 10_000 {
        for change in changes(&mut watch).await {
            assert!(change.ends_with(": QUEUED -> SENT"), "{change}");
            assert!(told.insert(change));
        }
    }
    quiet(&mut watch, 60).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_told_in_chunks_that_a_message_can_hold() {
    let config = super::super::WatchConfig { chunk: 4, chunk_bytes: 500, ..Default::default() };
    let rig = Rig::with(messages(10, "SENT"), config);
    let mut watch = rig.watch(everything());
    let mut told = 0;
    while told < 10 {
        let chunk = changes(&mut watch).await.len();
        assert!((1..=4).contains(&chunk), "{chunk}");
        told += chunk;
    }
    assert_eq!(next(&mut watch).await, WatchEvent::SnapshotComplete { message_count: 10 });
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_server_caps_the_limit_is_read_to_its_end() {
    for tells_total in [false, true] {
        let rig = Rig::new(World { cap: Some(7), tells_total, ..messages(50, "QUEUED") });
        assert_eq!(snapshot(&mut rig.watch(everything())).await.len(), 50);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_campaign_has_an_empty_snapshot() {
    let rig = Rig::new(World::default());
    let mut watch = rig.watch(everything());
    assert_eq!(next(&mut watch).await, WatchEvent::SnapshotComplete { message_count: 0 });
    quiet(&mut watch, 60).await;
    rig.world().add("a", "PENDING");
    assert_eq!(changes(&mut watch).await, ["a: new PENDING"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_skips_the_present_state_is_told_only_what_changes() {
    let rig = Rig::new(messages(5, "QUEUED"));
    let mut watch = rig.watch(WatchOptions { snapshot: false, ..everything() });
    assert_eq!(next(&mut watch).await, WatchEvent::SnapshotComplete { message_count: 0 });
    quiet(&mut watch, 60).await;
    rig.world().set("m3", "SENDING");
    assert_eq!(changes(&mut watch).await, ["m3: QUEUED -> SENDING"]);
}

#[tokio::test(start_paused = true)]
async fn only_named_messages_are_told_and_an_unknown_one_when_it_appears() {
    let rig = Rig::new(messages(5, "QUEUED"));
    let message_ids = HashSet::from([id("m1"), id("later")]);
    let mut watch = rig.watch(WatchOptions { message_ids, ..everything() });
    assert_eq!(snapshot(&mut watch).await, ["m1: new QUEUED"]);
    rig.world().set("m2", "SENT");
    quiet(&mut watch, 60).await;
    rig.world().add("later", "PENDING");
    assert_eq!(changes(&mut watch).await, ["later: new PENDING"]);
    rig.world().set("m1", "SENT");
    assert_eq!(changes(&mut watch).await, ["m1: QUEUED -> SENT"]);
}

#[tokio::test(start_paused = true)]
async fn only_messages_in_and_changes_into_a_wanted_status_are_told() {
    let mut world = messages(2, "QUEUED");
    world.add("sent", "SENT");
    let rig = Rig::new(world);
    let statuses = StatusSet::from_iter([Status::Sent, Status::Failed]);
    let mut watch = rig.watch(WatchOptions { statuses, ..everything() });
    assert_eq!(snapshot(&mut watch).await, ["sent: new SENT"]);
    rig.world().set("m0", "SENDING");
    rig.world().remove("m1");
    quiet(&mut watch, 60).await;
    rig.world().set("m0", "FAILED");
    assert_eq!(changes(&mut watch).await, ["m0: SENDING -> FAILED"]);
}

#[tokio::test(start_paused = true)]
async fn what_this_server_wrote_shows_in_every_watch_that_begins_after() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut first = rig.watch(everything());
    snapshot(&mut first).await;
    // Without the write, the present state would be told at once, and be older.
    rig.world().set("m0", "CANCELLED");
    rig.hub.wrote(context(1).workspace.id, &campaign());
    let sweeps = rig.world().sweeps();
    let mut second = rig.watch(everything());
    let told = snapshot(&mut second).await;
    assert!(told.contains(&"m0: new CANCELLED".to_owned()), "{told:?}");
    assert_eq!(rig.world().sweeps(), sweeps + 1);
    // Without a write, it is.
    let requests = rig.world().requests.len();
    snapshot(&mut rig.watch(everything())).await;
    assert_eq!(rig.world().requests.len(), requests);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_under_way_when_this_server_writes_is_too_old_for_a_new_watch() {
    let mut world = messages(250, "QUEUED");
    world.tells_total = true;
    let rig = Rig::new(world);
    let mut first = rig.watch(everything());
    // In the middle of the first sweep, after m0 was read.
    quiet_until(&mut first, || rig.world().requests.len() == 2).await;
    rig.world().set("m0", "CANCELLED");
    rig.hub.wrote(context(1).workspace.id, &campaign());
    let mut second = rig.watch(everything());
    assert!(snapshot(&mut first).await.contains(&"m0: new QUEUED".to_owned()));
    assert!(snapshot(&mut second).await.contains(&"m0: new CANCELLED".to_owned()));
    assert_eq!(changes(&mut first).await, ["m0: QUEUED -> CANCELLED"]);
}

async fn quiet_until(watch: &mut Updates, met: impl Fn() -> bool) {
    use futures_util::StreamExt as _;
    while !met() {
        let next = tokio::time::timeout(std::time::Duration::from_millis(1), watch.next()).await;
        assert!(next.is_err(), "nothing was due: {next:?}");
    }
}
