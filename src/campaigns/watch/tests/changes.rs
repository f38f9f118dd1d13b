use std::time::Duration;

use futures_util::StreamExt as _;

use super::{super::WatchConfig, harness::*};
use crate::model::{WatchEvent, WatchOptions};

#[tokio::test(start_paused = true)]
async fn each_messages_changes_come_in_order_and_none_twice() {
    let rig = Rig::new(messages(3, "PENDING"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    let mut was = "PENDING";
    for status in ["QUEUED", "SENDING", "SENT"] {
        rig.world().set("m1", status);
        assert_eq!(changes(&mut watch).await, [format!("m1: {was} -> {status}")]);
        quiet(&mut watch, 10).await;
        was = status;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_told_the_newest_state_against_what_it_had() {
    let rig = Rig::new(messages(3, "PENDING"));
    let mut slow = rig.watch(everything());
    snapshot(&mut slow).await;
    let steps: [(&str, &str); 5] =
        [("m1", "QUEUED"), ("m0", "QUEUED"), ("m1", "SENDING"), ("new", "QUEUED"), ("m1", "SENT")];
    for (id, status) in steps {
        if id == "new" {
            rig.world().add(id, status);
        } else {
            rig.world().set(id, status);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let told = changes(&mut slow).await;
    assert_eq!(told, ["m0: PENDING -> QUEUED", "new: new QUEUED", "m1: PENDING -> SENT"]);
    quiet(&mut slow, 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_the_history_left_behind_is_reset_and_told_all_anew() {
    let rig = Rig::with(messages(20, "QUEUED"), WatchConfig { log_capacity: 8, ..Default::default() });
    let mut slow = rig.watch(WatchOptions { snapshot: false, ..everything() });
    let mut quick = rig.watch(everything());
    assert_eq!(snapshot(&mut slow).await, [""; 0]);
    assert_eq!(snapshot(&mut quick).await.len(), 20);
    for n in 0..10 {
        rig.world().set(&format!("m{n}"), "SENT");
        assert_eq!(changes(&mut quick).await, [format!("m{n}: QUEUED -> SENT")]);
    }
    assert_eq!(next(&mut slow).await, WatchEvent::Reset);
    assert_eq!(snapshot(&mut slow).await.len(), 20);
    rig.world().set("m19", "SENT");
    assert_eq!(changes(&mut slow).await, ["m19: QUEUED -> SENT"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_back_is_told_only_when_the_message_itself_confirms_it() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().stale.insert("m1".to_owned(), "PENDING".to_owned());
    quiet(&mut watch, 10).await;
    assert!(rig.world().gets() > 0);
    rig.world().stale.clear();
    rig.world().set("m1", "PENDING");
    assert_eq!(changes(&mut watch).await, ["m1: QUEUED -> PENDING"]);
    // While it is asked for, it can have moved on.
    rig.world().stale.insert("m2".to_owned(), "PENDING".to_owned());
    rig.world().set("m2", "SENT");
    assert_eq!(changes(&mut watch).await, ["m2: QUEUED -> SENT"]);
    quiet(&mut watch, 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_known_message_that_a_sweep_missed_is_asked_for_until_it_is_terminal() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().hidden.insert("m1".to_owned());
    quiet(&mut watch, 10).await;
    rig.world().set("m1", "SENT");
    assert_eq!(changes(&mut watch).await, ["m1: QUEUED -> SENT"]);
    let gets = rig.world().gets();
    assert!(gets > 0);
    quiet(&mut watch, 60).await;
    assert_eq!(rig.world().gets(), gets);
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_told_once_and_what_comes_back_is_new() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().remove("m1");
    assert_eq!(changes(&mut watch).await, ["m1: QUEUED, gone"]);
    quiet(&mut watch, 60).await;
    assert_eq!(rig.world().gets(), 1);
    assert_eq!(snapshot(&mut rig.watch(everything())).await.len(), 2);
    rig.world().add("m1", "PENDING");
    assert_eq!(changes(&mut watch).await, ["m1: new PENDING"]);
}

#[tokio::test(start_paused = true)]
async fn a_terminal_message_that_goes_is_not_told_of() {
    let rig = Rig::new(messages(3, "SENT"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().remove("m1");
    quiet(&mut watch, 60).await;
    assert_eq!(rig.world().gets(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_shifts_under_the_reader_loses_and_repeats_nothing() {
    let rig = Rig::new(messages(300, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    // A whole page more in front with each of two requests, and then two pages less.
    let mut batch = 0;
    let from = rig.world().requests.len();
    rig.world().script = Some(Box::new(move |world, request| match request - from {
        2..=3 => {
            (0..100).for_each(|n| world.add_first(&format!("b{batch}-{n}"), "SENT"));
            batch += 1;
        }
        6..=7 => world.messages.drain(..100).for_each(drop),
        _ => {}
    }));
    let mut told = Vec::new();
    let news = async {
        while let Some(Ok(update)) = watch.next().await {
            match update.event {
                WatchEvent::Changes(changes) => told.extend(changes.iter().map(short)),
                other => assert!(matches!(other, WatchEvent::Heartbeat { failure: None, .. }), "{other:?}"),
            }
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), news).await.is_err());
    let unique: std::collections::HashSet<_> = told.iter().collect();
    assert_eq!(unique.len(), told.len(), "nothing twice");
    assert!(told.iter().all(|change| change.ends_with(": new SENT")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_another_field_is_not_told_but_shows_in_the_next_snapshot() {
    let rig = Rig::new(messages(1, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().contact = "other";
    quiet(&mut watch, 10).await;
    let mut late = rig.watch(everything());
    let WatchEvent::Changes(told) = next(&mut late).await else { panic!("a snapshot was due") };
    assert_eq!(told[0].message.contact_id.as_deref(), Some("other"));
}
