//! Going on from a token, what is kept for that, and readers that stand still.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::{super::WatchConfig, harness::*};
use crate::{
    error::Reason,
    model::{WatchEvent, WatchOptions, WatchPlace},
};

/// The whole snapshot, and the place after it.
async fn snapshot_and_place(updates: &mut Updates) -> WatchPlace {
    loop {
        let update = updates.next().await.unwrap().unwrap();
        if matches!(update.event, WatchEvent::SnapshotComplete { .. }) {
            return update.place;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_nobody_watched_is_told_to_who_comes_back() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    let place = snapshot_and_place(&mut watch).await;
    drop(watch);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let requests = rig.world().requests.len();
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(rig.world().requests.len(), requests, "nobody watches, and nothing is polled");
    rig.world().set("m0", "SENT");
    rig.world().remove("m1");
    rig.world().add("m3", "PENDING");
    let mut watch = rig.resume(everything(), Some(place));
    let mut told = changes(&mut watch).await;
    while told.len() < 3 {
        told.extend(changes(&mut watch).await);
    }
    told.sort();
    assert_eq!(told, ["m0: QUEUED -> SENT", "m1: QUEUED, gone", "m3: new PENDING"]);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_not_kept_any_more_is_said_to_be_gone_and_all_is_told_anew() {
    let forgotten = |config: WatchConfig, after: u64| async move {
        let rig = Rig::with(messages(3, "QUEUED"), config);
        let mut watch = rig.watch(WatchOptions { snapshot: false, ..everything() });
        let place = snapshot_and_place(&mut watch).await;
        drop(watch);
        tokio::time::sleep(Duration::from_secs(after)).await;
        let mut watch = rig.resume(everything(), Some(place));
        let first = next(&mut watch).await;
        if first == WatchEvent::Reset {
            assert_eq!(snapshot(&mut watch).await.len(), 3, "to who skipped the present state, too");
        }
        first == WatchEvent::Reset
    };
    let config = WatchConfig { reader_patience: PATIENT, ..Default::default() };
    assert!(!forgotten(config, 590).await);
    assert!(forgotten(config, 640).await, "the window is over");
    let at_once = WatchConfig { resume_window: Duration::ZERO, ..config };
    assert!(forgotten(at_once, 0).await);
    let no_room = WatchConfig { history_max_bytes: 10, ..config };
    assert!(forgotten(no_room, 0).await);
}

#[tokio::test(start_paused = true)]
async fn a_place_in_another_servers_history_is_a_reset() {
    let mut places = Vec::new();
    for _ in 0..2 {
        let rig = Rig::new(messages(3, "QUEUED"));
        let mut watch = rig.watch(everything());
        places.push(snapshot_and_place(&mut watch).await);
    }
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    for place in places {
        let mut resumed = rig.resume(everything(), Some(place));
        assert_eq!(next(&mut resumed).await, WatchEvent::Reset);
        assert_eq!(snapshot(&mut resumed).await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn who_begins_a_watch_is_told_the_present_and_not_what_was_kept() {
    let rig = Rig::new(messages(3, "QUEUED"));
    snapshot(&mut rig.watch(everything())).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.world().set("m0", "SENT");
    let told = snapshot(&mut rig.watch(everything())).await;
    assert!(told.contains(&"m0: new SENT".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_accepts_nothing_for_a_minute_is_too_slow_and_its_token_still_holds() {
    let rig = Rig::with(messages(3, "QUEUED"), WatchConfig::default());
    let mut watch = rig.watch(everything());
    let place = snapshot_and_place(&mut watch).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    rig.world().set("m0", "SENDING");
    assert_eq!(changes(&mut watch).await, ["m0: QUEUED -> SENDING"], "59 s are not too long");
    tokio::time::sleep(Duration::from_secs(90)).await;
    let requests = rig.world().requests.len();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(rig.world().requests.len(), requests, "nothing is polled for who stands still");
    let error = watch.next().await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.retry_delay()), (Reason::WatcherTooSlow, None));
    assert!(watch.next().await.is_none());
    rig.world().set("m0", "SENT");
    let mut watch = rig.resume(everything(), Some(place));
    assert_eq!(changes(&mut watch).await, ["m0: QUEUED -> SENDING"], "what is known first");
    assert_eq!(changes(&mut watch).await, ["m0: SENDING -> SENT"]);
}

#[tokio::test(start_paused = true)]
async fn one_reader_keeps_the_polling_up_for_all_that_stand_still() {
    let rig = Rig::with(messages(3, "QUEUED"), WatchConfig::default());
    let stuck: Vec<_> = (0..10).map(|_| rig.watch(everything())).collect();
    let mut reader = rig.watch(everything());
    snapshot(&mut reader).await;
    quiet(&mut reader, 200).await;
    rig.world().set("m0", "SENT");
    assert_eq!(changes(&mut reader).await, ["m0: QUEUED -> SENT"]);
    drop(stuck);
}
