use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all};

use super::{super::WatchConfig, harness::*};
use crate::model::WatchOptions;

/// Requests that this many watchers cost in ten minutes with some changes.
async fn cost_of(watchers: usize) -> usize {
    let rig = Rig::new(messages(250, "QUEUED"));
    let mut watches: Vec<_> = (0..watchers).map(|_| rig.watch(everything())).collect();
    let told = join_all(watches.iter_mut().map(snapshot)).await;
    assert!(told.iter().all(|told| told.len() == 250));
    for n in 0..10 {
        rig.world().set(&format!("m{n}"), "SENT");
        let told = join_all(watches.iter_mut().map(changes)).await;
        assert!(told.iter().all(|told| *told == [format!("m{n}: QUEUED -> SENT")]));
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let requests = rig.world().requests.len();
    assert!(requests > 600);
    requests
}

#[tokio::test(start_paused = true)]
async fn a_hundred_watchers_cost_the_upstream_what_one_costs() {
    assert_eq!(cost_of(100).await, cost_of(1).await);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_watchers_of_the_whole_and_of_a_few_each_cost_what_one_costs() {
    let mut costs = Vec::new();
    for watchers in [1, 1_000] {
        let rig = Rig::new(World { tells_total: true, ..messages(1_000, "QUEUED") });
        let mut watches: Vec<_> = (0..watchers)
            .map(|n| {
                let ids = 1..=n % 3;
                let message_ids = ids.map(|i| id(&format!("m{}", (n * i) % 1_000))).collect();
                rig.watch(WatchOptions { message_ids, ..everything() })
            })
            .collect();
        let told = join_all(watches.iter_mut().map(snapshot)).await;
        assert!(told.iter().enumerate().all(|(n, told)| told.len() == [1_000, 1, 2][n % 3]));
        for n in 0..3 {
            rig.world().set(&format!("m{n}"), "SENT");
            let told = join_all(watches.iter_mut().step_by(3).map(changes)).await;
            assert!(told.iter().all(|told| *told == [format!("m{n}: QUEUED -> SENT")]));
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        costs.push(rig.world().requests.len());
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test(start_paused = true)]
async fn watchers_that_all_name_their_messages_cost_a_call_a_message_until_one_wants_the_whole() {
    let rig = Rig::new(World { tells_total: true, ..messages(5_000, "QUEUED") });
    let named = |ids: [&str; 2]| WatchOptions { message_ids: ids.map(id).into(), ..everything() };
    let mut watches = [rig.watch(named(["m1", "m2"])), rig.watch(named(["m2", "later"]))];
    assert_eq!(snapshot(&mut watches[0]).await.len(), 2);
    assert_eq!(snapshot(&mut watches[1]).await, ["m2: new QUEUED"]);
    let asked = || {
        let world = rig.world();
        (world.lists(), world.gets())
    };
    assert_eq!(asked(), (0, 3));
    // What others have asked for already is there at once.
    assert_eq!(snapshot(&mut rig.watch(named(["m1", "later"]))).await.len(), 1);
    assert_eq!(asked(), (0, 3));
    rig.world().set("m1", "SENT");
    rig.world().add_first("later", "SENT");
    assert_eq!(changes(&mut watches[0]).await, ["m1: QUEUED -> SENT"]);
    assert_eq!(changes(&mut watches[1]).await, ["later: new SENT"]);
    rig.world().requests.clear();
    quiet(&mut watches[0], 60).await;
    let (lists, gets) = asked();
    assert!(lists == 0 && (29..=30).contains(&gets), "what is terminal is not asked for: {gets}");
    let mut whole = rig.watch(everything());
    assert_eq!(snapshot(&mut whole).await.len(), 5_001);
}

#[tokio::test(start_paused = true)]
async fn a_campaign_that_its_own_list_does_not_know_ends_the_watch_of_a_named_message() {
    let rig = Rig::new(World::default());
    rig.world().script = Some(Box::new(|world, _| {
        let is_list = world.requests.last().is_some_and(|path| path.contains("offset="));
        world.fault = Some((404, if is_list { "Campaign not found" } else { "Not found" }));
    }));
    let mut watch = rig.watch(WatchOptions { message_ids: [id("m")].into(), ..everything() });
    assert_eq!(end(&mut watch).await.unwrap().reason(), crate::error::Reason::CampaignNotFound);
}

#[tokio::test(start_paused = true)]
async fn who_joins_an_idle_campaign_is_told_nothing_old_and_waits_no_idle_interval_for_it() {
    for total in [true, false] {
        let rig = Rig::new(World { tells_total: total, ..messages(1_000, "SENT") });
        let heartbeat_interval = Duration::from_secs(3_600);
        let mut first = rig.watch(WatchOptions { heartbeat_interval, ..everything() });
        snapshot(&mut first).await;
        let idle = |from: usize| rig.world().sweep_starts.len() - from;
        quiet(&mut first, 299).await;
        let sweeps = idle(0);
        assert!(sweeps >= 100, "{sweeps}");
        tokio::time::sleep(Duration::from_secs(1_800)).await;
        let slow = idle(sweeps);
        assert!((25..60).contains(&slow), "{slow}");
        tokio::time::sleep(Duration::from_secs(7)).await;
        let began = tokio::time::Instant::now();
        assert_eq!(snapshot(&mut rig.watch(everything())).await.len(), 1_000);
        assert!(began.elapsed() < Duration::from_secs(2), "also where nothing is new: {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(200)).await;
        rig.world().add_first("new", "QUEUED");
        let began = tokio::time::Instant::now();
        let told = snapshot(&mut rig.watch(everything())).await;
        assert!(told.contains(&"new: new QUEUED".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        // And something moves again.
        assert_eq!(changes(&mut first).await, ["new: new QUEUED"]);
        rig.world().set("new", "SENT");
        let told = tokio::time::timeout(Duration::from_millis(2_100), changes(&mut first)).await;
        assert_eq!(told.unwrap(), ["new: QUEUED -> SENT"]);
    }
}

#[tokio::test(start_paused = true)]
async fn polling_stops_with_the_last_watcher_and_starts_with_the_next() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let (mut one, mut two) = (rig.watch(everything()), rig.watch(everything()));
    snapshot(&mut one).await;
    snapshot(&mut two).await;
    drop(one);
    let requests = rig.world().requests.len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.world().requests.len() > requests + 20);
    drop(two);
    let requests = rig.world().requests.len();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(rig.world().requests.len(), requests);
    assert!(rig.tracker.is_empty());
    rig.world().set("m0", "SENT");
    let told = snapshot(&mut rig.watch(everything())).await;
    assert!(told.contains(&"m0: new SENT".to_owned()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_never_read_still_stops_polling_when_dropped() {
    let rig = Rig::new(messages(3, "QUEUED"));
    drop(rig.watch(everything()));
    tokio::task::yield_now().await;
    assert!(rig.tracker.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_that_joins_as_the_last_one_leaves_is_polled_for_once() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    for _ in 0..50 {
        snapshot(&mut watch).await;
        watch = rig.watch(everything());
        snapshot(&mut watch).await;
        drop(watch);
        watch = rig.watch(everything());
    }
    snapshot(&mut watch).await;
    assert_eq!(rig.tracker.len(), 1);
    let sweeps = rig.world().sweeps();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.world().sweeps() - sweeps <= 31);
    rig.world().set("m0", "SENT");
    assert_eq!(changes(&mut watch).await, ["m0: QUEUED -> SENT"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joining_and_leaving_at_once_on_many_threads_leaves_no_poller_behind_and_none_out() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let tasks = (0..8).map(|task| {
        let hub = rig.hub.clone();
        tokio::spawn(async move {
            for turn in 0..100 {
                let mut watch = hub.watch(context(1), campaign(), everything(), None).boxed();
                if (task + turn) % 16 == 0 {
                    assert_eq!(snapshot(&mut watch).await.len(), 3);
                }
            }
        })
    });
    for done in join_all(tasks).await {
        done.unwrap();
    }
    rig.tracker.close();
    rig.tracker.wait().await;
}

#[tokio::test(start_paused = true)]
async fn workspaces_and_campaigns_are_polled_apart_each_with_its_own_key() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let other = crate::model::CampaignId::parse("other").unwrap();
    let mut watches = [
        rig.hub.watch(context(1), campaign(), everything(), None).boxed(),
        rig.hub.watch(context(2), campaign(), everything(), None).boxed(),
        rig.hub.watch(context(2), other, everything(), None).boxed(),
    ];
    for watch in &mut watches {
        snapshot(watch).await;
    }
    assert_eq!(rig.tracker.len(), 3);
    assert_eq!(rig.world().sweeps(), 3);
    assert_eq!(rig.world().keys.len(), 2);
}

/// The times between sweep starts, in milliseconds, while this runs.
async fn paces(rig: &Rig, watch: &mut Updates) -> Vec<u128> {
    quiet(watch, 60).await;
    rig.world().sweep_starts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn sweeps_begin_a_poll_interval_apart_and_a_long_one_is_followed_by_half_of_it_in_rest() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    let apart = paces(&rig, &mut watch).await;
    assert!(apart.iter().all(|apart| (2_000..2_020).contains(apart)), "{apart:?}");
    // Some 60 pages of ten that overlap by half, 10 ms each, and 100 ms.
    let poll_interval = Duration::from_millis(200);
    let config = WatchConfig { page_size: 10, poll_interval, poll_rate: 10_000, ..Default::default() };
    let rig = Rig::with(messages(300, "QUEUED"), config);
    let mut watch = rig.watch(everything());
    snapshot(&mut watch).await;
    let apart = paces(&rig, &mut watch).await;
    assert!(!apart.is_empty() && apart.iter().all(|apart| (680..740).contains(apart)), "{apart:?}");
}

#[tokio::test(start_paused = true)]
async fn writes_never_make_sweeps_faster_than_the_pace_but_cut_a_back_off_short() {
    let rig = Rig::new(messages(3, "QUEUED"));
    let mut watch =
        rig.watch(WatchOptions { heartbeat_interval: Duration::from_secs(3_600), ..everything() });
    snapshot(&mut watch).await;
    let write = || rig.hub.wrote(context(1).workspace.id, &campaign());
    for _ in 0..600 {
        write();
        quiet_for(&mut watch, Duration::from_millis(100)).await;
    }
    let apart = paces(&rig, &mut watch).await;
    assert!(apart.iter().all(|apart| *apart >= 2_000), "{apart:?}");
    // Left alone, a poller that has failed for long rests up to 30 s.
    for status in ["SENDING", "SENT"] {
        rig.world().fault = Some((400, "no"));
        quiet_for(&mut watch, Duration::from_secs(200)).await;
        rig.world().fault = None;
        rig.world().set("m0", status);
        write();
        let told = tokio::time::timeout(Duration::from_secs(3), changes(&mut watch)).await;
        assert_eq!(told.unwrap().len(), 1);
    }
}

async fn quiet_for(watch: &mut Updates, time: Duration) {
    assert!(tokio::time::timeout(time, watch.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_takes_less_than_a_kilobyte_besides_what_all_share() {
    let rig = Rig::new(messages(1, "QUEUED"));
    let watch = rig.hub.watch(context(1), campaign(), everything(), None);
    assert!(size_of_val(&watch) < 1_024, "{}", size_of_val(&watch));
}
