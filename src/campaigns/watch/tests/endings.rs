use std::{collections::HashSet, time::Duration};

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{super::WatchConfig, harness::*};
use crate::{
    error::Reason,
    model::{ApiKey, HeldKey, Status, StatusSet, WatchEvent, WatchOptions, WorkspaceKey},
};

fn until_terminal() -> WatchOptions {
    WatchOptions { complete_when_terminal: true, ..everything() }
}

#[tokio::test(start_paused = true)]
async fn a_watch_completes_once_every_message_is_terminal_or_removed() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(until_terminal());
    snapshot(&mut watch).await;
    rig.world().set("m0", "SENT");
    rig.world().set("m1", "FAILED");
    assert_eq!(changes(&mut watch).await.len(), 2);
    quiet(&mut watch, 10).await;
    rig.world().remove("m2");
    assert_eq!(changes(&mut watch).await, ["m2: QUEUED, gone"]);
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_empty_or_finished_campaign_completes_at_once() {
    for count in [0, 250] {
        let rig = Rig::new(messages(count, "SENT"));
        let mut watch = rig.watch(until_terminal());
        assert_eq!(snapshot(&mut watch).await.len(), count);
        assert!(watch.next().await.is_none());
        assert_eq!(rig.world().sweeps(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_completes_also_on_what_it_was_not_told() {
    let rig = Rig::new(messages(2, "QUEUED"));
    let statuses = StatusSet::from_iter([Status::Failed]);
    let mut watch = rig.watch(WatchOptions { statuses, snapshot: false, ..until_terminal() });
    assert_eq!(snapshot(&mut watch).await, [""; 0]);
    quiet(&mut watch, 10).await;
    rig.world().set("m0", "SENT");
    rig.world().remove("m1");
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_does_not_complete_before_the_sweep_that_saw_the_last_one_end_has_seen_the_rest() {
    let config = WatchConfig { page_size: 1, ..Default::default() };
    let rig = Rig::with(messages(1, "QUEUED"), config);
    let mut watch = rig.watch(until_terminal());
    snapshot(&mut watch).await;
    {
        let mut world = rig.world();
        world.set("m0", "SENT");
        world.add("m1", "QUEUED");
    }
    assert_eq!(changes(&mut watch).await, ["m0: QUEUED -> SENT"]);
    assert_eq!(changes(&mut watch).await, ["m1: new QUEUED"]);
}

#[tokio::test(start_paused = true)]
async fn a_named_message_that_was_never_seen_keeps_a_watch_open() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let message_ids = HashSet::from([id("m1"), id("m2"), id("later")]);
    let mut watch = rig.watch(WatchOptions { message_ids, ..until_terminal() });
    assert_eq!(snapshot(&mut watch).await.len(), 2);
    rig.world().set("m1", "SENT");
    rig.world().remove("m2");
    let mut told = changes(&mut watch).await;
    while told.len() < 2 {
        told.extend(changes(&mut watch).await);
    }
    quiet(&mut watch, 60).await;
    rig.world().add("later", "SENT");
    assert_eq!(changes(&mut watch).await, ["later: new SENT"]);
    assert!(watch.next().await.is_none(), "m0 is not watched");
}

#[tokio::test(start_paused = true)]
async fn a_watch_completes_on_nothing_older_than_this_servers_own_write() {
    let rig = Rig::new(messages(1, "SENT"));
    let mut keeper = rig.watch(everything());
    snapshot(&mut keeper).await;
    let mut watch = rig.watch(until_terminal());
    assert_eq!(changes(&mut watch).await.len(), 1);
    // The present state is being told; it is all terminal, and already not the last word.
    rig.world().add("added", "PENDING");
    rig.hub.wrote(context(1).workspace.id, &campaign());
    assert_eq!(next(&mut watch).await, WatchEvent::SnapshotComplete { message_count: 1 });
    assert_eq!(changes(&mut watch).await, ["added: new PENDING"]);
    rig.world().set("added", "SENT");
    assert_eq!(changes(&mut watch).await, ["added: PENDING -> SENT"]);
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_refusal_ends_every_watch_and_a_new_one_starts_afresh() {
    for (fault, reason) in [
        ((401, "Missing or invalid API key"), Reason::ApiKeyInvalid),
        ((404, "Campaign not found"), Reason::CampaignNotFound),
    ] {
        let rig = Rig::new(messages(3, "QUEUED"));
        let (mut one, mut two) = (rig.watch(everything()), rig.watch(everything()));
        let unread = rig.watch(everything());
        snapshot(&mut one).await;
        rig.world().fault = Some(fault);
        assert_eq!(end(&mut one).await.unwrap().reason(), reason);
        assert_eq!(snapshot(&mut two).await.len(), 3, "what is known is told before the end");
        assert_eq!(end(&mut two).await.unwrap().reason(), reason);
        assert_eq!(end(&mut rig.watch(everything())).await.unwrap().reason(), reason);
        rig.world().fault = None;
        let mut afresh = rig.watch(everything());
        assert_eq!(snapshot(&mut afresh).await.len(), 3);
        drop(unread);
        rig.world().set("m0", "SENT");
        assert_eq!(changes(&mut afresh).await, ["m0: QUEUED -> SENT"], "the dead leave it alone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_watch_goes_on_with_a_renewed_key_and_ends_when_the_held_key_is_refused() {
    let rig = Rig::new(messages(1, "QUEUED"));
    let (mut ctx, key) = (context(1), HeldKey::new(ApiKey::new("old")));
    ctx.workspace.key = WorkspaceKey::Held(key.clone());
    let mut watch = rig.hub.watch(ctx, campaign(), everything(), None).boxed();
    snapshot(&mut watch).await;
    key.renew(ApiKey::new("new"));
    rig.world().keys.clear();
    rig.world().set("m0", "SENT");
    assert_eq!(changes(&mut watch).await, ["m0: QUEUED -> SENT"]);
    assert_eq!(rig.world().keys, ["new".to_owned()].into());
    rig.world().fault = Some((401, "Missing or invalid API key"));
    let ended = tokio::time::timeout(Duration::from_secs(60), end(&mut watch)).await.unwrap();
    assert_eq!(ended.unwrap().reason(), Reason::UpstreamKeyRefused);
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_no_watch_and_shows_in_its_heartbeats() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(WatchOptions { heartbeat_interval: Duration::from_secs(90), ..everything() });
    snapshot(&mut watch).await;
    let requests = rig.world().requests.len();
    rig.world().fault = Some((503, "down"));
    let WatchEvent::Heartbeat { failure, last_poll_time, .. } = next(&mut watch).await else { panic!() };
    assert_eq!(failure.unwrap().reason(), Reason::UpstreamUnavailable);
    assert!(last_poll_time.unwrap() < rig.start + Duration::from_secs(5));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(rig.world().requests.len() - requests < 1_500, "it backs off");
    rig.world().set("m1", "SENT");
    rig.world().fault = None;
    // The heartbeat that is due comes first.
    assert!(matches!(next(&mut watch).await, WatchEvent::Heartbeat { .. }));
    assert_eq!(changes(&mut watch).await, ["m1: QUEUED -> SENT"]);
    let WatchEvent::Heartbeat { failure: None, .. } = next(&mut watch).await else { panic!() };
}

#[tokio::test(start_paused = true)]
async fn heartbeats_flow_before_the_first_sweep_has_gone_through() {
    let rig = Rig::new(World { fault: Some((503, "down")), ..messages(3, "QUEUED") });
    let mut watch = rig.watch(WatchOptions { heartbeat_interval: Duration::from_secs(60), ..everything() });
    for _ in 0..3 {
        let WatchEvent::Heartbeat { failure, last_poll_time: None, .. } = next(&mut watch).await else {
            panic!("a heartbeat without a poll was due")
        };
        assert!(failure.is_some());
    }
    rig.world().fault = None;
    assert_eq!(snapshot(&mut watch).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_comes_when_nothing_was_told_for_its_interval() {
    let rig = Rig::new(messages(1, "PENDING"));
    let mut watch = rig.watch(WatchOptions { heartbeat_interval: Duration::from_secs(15), ..everything() });
    snapshot(&mut watch).await;
    let told = Instant::now();
    let update = watch.next().await.unwrap().unwrap();
    assert_eq!(told.elapsed().as_secs(), 15);
    let WatchEvent::Heartbeat { last_poll_time, poll_interval, failure: None } = update.event else {
        panic!()
    };
    assert_eq!(Some(update.observe_time), last_poll_time);
    assert!(update.observe_time >= rig.start + Duration::from_secs(12));
    assert_eq!(poll_interval, Duration::from_secs(2));
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.world().set("m0", "QUEUED");
    changes(&mut watch).await;
    let told = Instant::now();
    assert!(matches!(next(&mut watch).await, WatchEvent::Heartbeat { .. }));
    assert_eq!(told.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_ignores_the_offset_is_a_failure_and_no_endless_loop() {
    let rig = Rig::new(World { ignores_offset: true, ..messages(3, "QUEUED") });
    let mut watch = rig.watch(WatchOptions { heartbeat_interval: Duration::from_secs(15), ..everything() });
    let WatchEvent::Heartbeat { failure, .. } = next(&mut watch).await else { panic!() };
    assert_eq!(failure.unwrap().reason(), Reason::UpstreamResponseInvalid);
    // It gives up after 250 entries that it knew, of which each page brings two.
    assert!(rig.world().requests.len() < 1_000);
}

#[tokio::test(start_paused = true)]
async fn one_message_that_cannot_be_asked_for_keeps_no_other_from_being_told() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().hidden.extend(["m0".to_owned(), "m1".to_owned()]);
    rig.world().script = Some(Box::new(|world, _| {
        let poisoned = world.requests.last().is_some_and(|path| path.ends_with("/m0"));
        world.fault = poisoned.then_some((500, "Internal server error"));
    }));
    rig.world().set("m1", "SENT");
    assert_eq!(changes(&mut watch).await, ["m1: QUEUED -> SENT"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_deadline_and_the_poller_does_not() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let began = Instant::now();
    let mut ctx = context(1);
    ctx.deadline = Some(began + Duration::from_secs(30));
    let mut bounded = rig.hub.watch(ctx, campaign(), everything(), None).boxed();
    let mut other = rig.watch(everything());
    assert_eq!(end(&mut bounded).await.unwrap().reason(), Reason::DeadlineExceeded);
    assert_eq!(began.elapsed().as_secs(), 30);
    snapshot(&mut other).await;
    rig.world().set("m0", "SENT");
    assert_eq!(changes(&mut other).await, ["m0: QUEUED -> SENT"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_ends_its_watches_and_its_pollers() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    let drain = rig.draining.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drain.cancel();
    });
    let began = Instant::now();
    let error = end(&mut watch).await.unwrap();
    assert_eq!((error.reason(), error.retry_delay()), (Reason::ServerDraining, Some(Duration::from_secs(1))));
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(end(&mut rig.watch(everything())).await.unwrap().reason(), Reason::ServerDraining);
    rig.tracker.close();
    rig.tracker.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_poller_that_dies_of_a_bug_ends_its_watches() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    rig.world().script = Some(Box::new(|_, _| panic!("a bug")));
    assert_eq!(end(&mut watch).await.unwrap().reason(), Reason::Internal);
}
