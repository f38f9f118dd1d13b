#![allow(clippy::unwrap_used)]

use tokio::time::sleep;

use super::*;
use crate::{
    error::Applied,
    upstream::{
        Outcome,
        testing::{
            REFUSED, add, answer, batch, config, with_retry_after,
            world::{MILLISECOND, World, settle, within, workspace},
        },
    },
};

#[tokio::test(start_paused = true)]
async fn a_429_that_one_call_met_is_heeded_by_all_of_its_workspace_and_by_nobody_else() {
    let world = World::new(10, |_| {});
    world.answers(with_retry_after(answer(429, ""), "20"));
    let ours = within(workspace(1), 5);
    let outcome = add(&world.client, &ours, &batch(&["a"])).await;
    assert!(matches!(outcome, Outcome::NotApplied(_)), "{outcome:?}");
    world.answers(None);
    let began = Instant::now();
    for error in [world.client.admit(&ours).await.unwrap_err(), world.lookup(&ours).await.unwrap_err()] {
        assert_eq!((error.reason(), error.applied()), (Reason::UpstreamRateLimited, Applied::No));
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(20)));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(world.lookup(&workspace(2)).await.unwrap() <= MILLISECOND * 12);
    assert_eq!(world.seen(Class::Bulk).len(), 1);
    // Who has the time waits, and is let through.
    assert!(world.lookup(&workspace(1)).await.unwrap() >= Duration::from_secs(19));
    assert!(matches!(add(&world.client, &workspace(1), &batch(&["a"])).await, Outcome::Added(_)));
}

#[tokio::test(start_paused = true)]
async fn a_503_with_retry_after_holds_the_import_back_and_no_lookup() {
    let world = World::new(10, |_| {});
    let ours = within(workspace(1), 5);
    world.answers(with_retry_after(answer(503, ""), "8"));
    let _ = add(&world.client, &ours, &batch(&["a"])).await;
    world.answers(None);
    assert!(world.lookup(&ours).await.unwrap() <= MILLISECOND * 12);
    let error = world.client.admit(&ours).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::UpstreamUnavailable, Applied::No));
    let began = Instant::now();
    let _ = world.client.admit(&workspace(1)).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_lookups_spends_no_token_and_is_one_workspaces_own() {
    let world = World::rated(100, 1);
    let left = world.break_circuit(&workspace(1)).await;
    let sent = world.seen(Class::Lookup).len();
    // Shortly before its end, so that tokens could not come back.
    sleep(left - MILLISECOND * 10).await;
    for _ in 0..1_000 {
        let error = world.lookup(&workspace(1)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::UpstreamCircuitOpen);
    }
    assert_eq!(world.seen(Class::Lookup).len(), sent);
    world.lookup(&workspace(2)).await.unwrap();
    sleep(MILLISECOND * 11).await;
    for _ in 0..50 {
        assert!(world.lookup(&workspace(1)).await.unwrap() <= MILLISECOND * 3);
    }
}

/// Makes so many attempts of the first workspace fail.
fn fail(world: &World, attempts: u32) {
    let lane = world.client.lanes.of(workspace(1).workspace.id);
    for _ in 0..attempts {
        lane.breaker.pass().unwrap().settle(&answer(500, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_token_does_not_keep_the_probes_place_meanwhile() {
    let world = World::rated(1, 10);
    fail(&world, 20);
    sleep(Duration::from_secs(5)).await;
    world.lookup(&workspace(1)).await.unwrap();
    // No token is left. The circuit is half-open, and stays so for whoever has one first.
    for waiting in [Class::Lookup, Class::Bulk, Class::Poll] {
        let lane = world.client.lanes.of(workspace(1).workspace.id);
        let until = Instant::now() + Duration::from_secs(30);
        let patience = Patience { until, is_callers: false };
        let waiting = tokio::spawn(async move {
            match waiting {
                Class::Lookup => lane.attempt(Class::Lookup, patience).await.map(|leave| leave.pass),
                Class::Bulk => lane.admit_bulk(patience).await.map(|admission| admission.pass),
                Class::Poll => lane.admit_poll(patience).await.map(|admission| admission.pass),
            }
        });
        settle().await;
        assert!(!waiting.is_finished());
        assert!(world.client.lanes.of(workspace(1).workspace.id).breaker.cut().is_none());
        waiting.await.unwrap().unwrap().settle(&answer(200, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn further_attempts_of_a_batch_wait_for_tokens_like_any_other() {
    let world = World::new(1, |config| {
        config.rate = NonZeroU32::new(10);
        config.bulk_share = 50;
    });
    world.answers(answer(429, ""));
    for task in world.import(&workspace(1), 6) {
        assert!(matches!(task.await.unwrap().unwrap(), Outcome::NotApplied(_)));
    }
    let seen = world.seen(Class::Bulk);
    assert!(seen.len() > 12, "{}", seen.len());
    for (n, at) in (1..).zip(&seen) {
        let most = 5.0 + 1.0 + 5.0 * (*at - seen[0]).as_secs_f64();
        assert!(f64::from(n) <= most, "{n} in {:?}", *at - seen[0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_waits_for_an_open_circuit_and_then_goes_as_its_probe() {
    let world = World::new(100, |_| {});
    let left = world.break_circuit(&workspace(1)).await;
    let began = Instant::now();
    let error = world.client.admit(&within(workspace(1), 2)).await.unwrap_err();
    assert_eq!((error.reason(), began.elapsed()), (Reason::UpstreamCircuitOpen, Duration::ZERO));
    let import = world.import(&within(workspace(1), 60), 20);
    for task in import {
        assert!(matches!(task.await.unwrap().unwrap(), Outcome::Added(_)));
    }
    let took: Vec<u128> = world.seen(Class::Bulk).iter().map(|at| (*at - began - left).as_millis()).collect();
    // Three probes one after the other, and all the others at once.
    assert!(
        took[0] <= 2 && took[1] >= 100 && took[2] >= 200 && took[3..].iter().all(|t| *t >= 300),
        "{took:?}"
    );
    assert!(took[19] <= 310, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_is_dropped_gives_its_permits_and_the_probes_place_back() {
    let world = World::new(10, |config| {
        config.bulk_concurrency = 1;
        config.concurrency = 1;
    });
    let left = world.break_circuit(&workspace(1)).await;
    sleep(left).await;
    let admission = world.client.admit(&workspace(1)).await.unwrap();
    assert_eq!(world.lookup(&workspace(1)).await.unwrap_err().reason(), Reason::UpstreamCircuitOpen);
    drop(admission);
    world.lookup(&workspace(1)).await.unwrap();
    // So does one that stops waiting for it, and a lookup that is cut in mid-flight.
    let admission = world.client.admit(&workspace(1)).await.unwrap();
    let waiting = world.import(&workspace(1), 5);
    settle().await;
    for task in waiting {
        task.abort();
    }
    drop(admission);
    tokio::time::timeout(MILLISECOND, world.lookup(&workspace(1))).await.unwrap_err();
    assert!(matches!(add(&world.client, &workspace(1), &batch(&["a"])).await, Outcome::Added(_)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_next_attempt_is_refused_here_was_not_applied() {
    let world = World::new(10, |_| {});
    fail(&world, 18);
    world.answers(REFUSED);
    let outcome = add(&world.client, &workspace(1), &batch(&["a"])).await;
    let Outcome::NotApplied(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.reason(), error.applied()), (Reason::UpstreamCircuitOpen, Applied::No));
    assert!(error.retry_delay().unwrap() > Duration::from_secs(4));
    assert_eq!(world.seen(Class::Bulk).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn workspaces_that_nobody_would_miss_are_forgotten_and_the_others_are_not() {
    let mut config = config();
    config.rate = NonZeroU32::new(1);
    let lanes = Lanes::new(&config);
    let id = |n: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        WorkspaceId(id)
    };
    let patience = || Patience { until: Instant::now() + Duration::from_secs(9), is_callers: false };
    let in_use = lanes.of(id(0));
    let open = Arc::downgrade(&lanes.of(id(1)));
    for _ in 0..20 {
        let pass = open.upgrade().unwrap().breaker.pass().unwrap();
        pass.settle(&answer(500, ""));
    }
    let paused = Arc::downgrade(&lanes.of(id(2)));
    paused.upgrade().unwrap().heed(&answer(429, ""), || Some(Duration::from_secs(50)));
    let spent = Arc::downgrade(&lanes.of(id(3)));
    drop(spent.upgrade().unwrap().attempt(Class::Lookup, patience()).await.unwrap());
    for n in 10..50_000 {
        lanes.of(id(n));
        assert!(lanes.known.lock().unwrap().lanes.len() <= FEWEST_LANES + 4);
    }
    assert!(open.upgrade().is_some() && paused.upgrade().is_some() && spent.upgrade().is_some());
    assert!(Arc::ptr_eq(&in_use, &lanes.of(id(0))));
    sleep(Duration::from_secs(200)).await;
    for n in 10..5_000 {
        lanes.of(id(n));
    }
    assert!(open.upgrade().is_none() && paused.upgrade().is_none() && spent.upgrade().is_none());
    assert!(Arc::ptr_eq(&in_use, &lanes.of(id(0))));
}
