//! One workspace's import starves neither another's calls nor its own lookups.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use proptest::prelude::*;
use tokio::time::sleep;

use tokio::time::Instant;

use super::{
    lane::Class,
    testing::{
        campaign, message_id,
        world::{MILLISECOND, World, settle, within, workspace},
    },
    *,
};
use crate::error::Applied;

#[tokio::test(start_paused = true)]
async fn lookups_are_answered_beside_an_import_that_takes_all_it_can() {
    // Held back by its rate, by its permits, and by both.
    for (rate, takes, calls) in
        [(Some(50), 100, 256), (None, 5_000, 256), (Some(10), 3_000, 256), (Some(1), 100, 3), (None, 700, 2)]
    {
        let world = World::new(takes, |config| {
            config.rate = rate.and_then(NonZeroU32::new);
            config.concurrency = calls;
        });
        let (ours, others) = (within(workspace(1), 600), workspace(2));
        let import = world.import(&ours, 200);
        settle().await;
        let token = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        for _ in 0..10 {
            let alone = Duration::from_millis(takes);
            let took = world.lookup(&ours).await.unwrap();
            // These ask for more than the import leaves: one write may be in front, and a token is due each.
            assert!(took <= alone + token * 2 + MILLISECOND * 2, "{rate:?}: {took:?}");
            let took = world.lookup(&others).await.unwrap();
            assert!(took <= alone + MILLISECOND * 2, "{rate:?}: {took:?}");
        }
        assert!(!world.seen(Class::Bulk).is_empty());
        drop(import);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_import_keeps_to_its_share_and_lookups_within_the_rest_wait_for_one_token_at_most(
        rate in 1_u32..100, share in 10_u8..=80, import in 1_usize..300, seconds in 1_u64..20,
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (bulk, lookups) = runtime.block_on(async {
            let world = World::new(20, |config| {
                config.rate = NonZeroU32::new(rate);
                config.bulk_share = share;
                config.operation_timeout = Duration::from_secs(3600);
            });
            let import = world.import(&workspace(1), import);
            settle().await;
            // What the import leaves, asked for evenly.
            let every = Duration::from_secs_f64(100.0 / f64::from(100 - share) / f64::from(rate));
            let until = Instant::now() + Duration::from_secs(seconds);
            let mut lookups = Vec::new();
            while Instant::now() < until {
                let world = world.clone();
                lookups.push(tokio::spawn(async move { world.lookup(&workspace(1)).await.unwrap() }));
                sleep(every).await;
            }
            let mut took = Vec::new();
            for lookup in lookups {
                took.push(lookup.await.unwrap());
            }
            drop(import);
            (world.seen(Class::Bulk), took)
        });
        let token = Duration::from_secs(1) / rate;
        for took in lookups {
            prop_assert!(took <= Duration::from_millis(24) + token, "{took:?} at {rate}/s");
        }
        let share = f64::from(rate) * f64::from(share) / 100.0;
        for (i, from) in bulk.iter().enumerate() {
            for (n, to) in (1..).zip(&bulk[i..]) {
                // Between token and wire a call may wait for the other queue's token: one at a time.
                let most = share.floor().max(1.0) + 1.0 + share * (*to - *from).as_secs_f64() + 1e-3;
                prop_assert!(f64::from(n) <= most, "{n} in {:?} at {share}/s", *to - *from);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn imports_of_one_workspace_do_not_slow_anothers() {
    let world = World::rated(10, 100);
    let ours = world.import(&workspace(1), 300);
    settle().await;
    let began = Instant::now();
    for theirs in world.import(&workspace(2), 20) {
        theirs.await.unwrap().unwrap();
    }
    // Eight at once, and twelve more at eight a second.
    let took = began.elapsed();
    assert!(took <= Duration::from_millis(1_650), "{took:?}");
    drop(ours);
}

#[tokio::test(start_paused = true)]
async fn so_many_batches_and_calls_are_on_their_way_at_once_and_no_more() {
    let world = World::new(1_000, |config| config.concurrency = 40);
    let import = world.import(&workspace(1), 100);
    let lookups: Vec<_> = (0..100)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.lookup(&workspace(1)).await.unwrap() })
        })
        .collect();
    for task in import {
        assert!(matches!(task.await.unwrap().unwrap(), Outcome::Added(_)));
    }
    for task in lookups {
        task.await.unwrap();
    }
    assert_eq!(world.most(), [40, 32, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_import_that_cannot_get_its_turn_in_time_is_refused_at_once_and_learns_the_wait() {
    let world = World::rated(10, 10);
    let import = world.import(&within(workspace(1), 600), 100);
    settle().await;
    let began = Instant::now();
    let error = world.client.admit(&within(workspace(1), 5)).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::Overloaded, Applied::No));
    // Eight went at once; 92 are in front, at eight a second.
    let wait = error.retry_delay().unwrap().as_millis();
    assert!((11_500..=11_650).contains(&wait), "{wait}");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let error = world.client.admit(&within(workspace(1), 0)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DeadlineExceeded);
    drop(import);
}

#[tokio::test(start_paused = true)]
async fn however_many_polls_wait_lookups_and_imports_keep_their_pace() {
    let world = World::new(20, |config| {
        config.rate = NonZeroU32::new(100);
        config.bulk_share = 60;
    });
    let ours = within(workspace(1), 600);
    let polls = world.polls(&ours, 5_000);
    let import = world.import(&ours, 2_000);
    settle().await;
    let began = Instant::now();
    // What both leave, asked for evenly.
    while began.elapsed() < Duration::from_secs(20) {
        let took = world.lookup(&ours).await.unwrap();
        // A token's time each for one write, one poll and itself.
        assert!(took <= Duration::from_millis(20 + 30 + 2), "{took:?}");
        sleep(Duration::from_secs_f64(1.0 / 15.0).saturating_sub(took)).await;
    }
    let per_second = |class| world.seen(class).iter().filter(|at| **at > began).count() as f64 / 20.0;
    let (bulk, polled) = (per_second(Class::Bulk), per_second(Class::Poll));
    assert!((58.0..=63.0).contains(&bulk), "{bulk}");
    assert!((20.0..=26.5).contains(&polled), "{polled}");
    drop((polls, import));
}

#[tokio::test(start_paused = true)]
async fn polls_hold_no_more_than_a_quarter_of_what_may_be_on_its_way() {
    for (concurrency, bulk, quarter) in [(40, 32, 7), (40, 8, 10), (8, 1, 2), (2, 1, 1), (1, 1, 1)] {
        let world = World::new(1_000, |config| {
            config.concurrency = concurrency;
            config.bulk_concurrency = bulk;
        });
        let polls = world.polls(&workspace(1), 50);
        settle().await;
        if concurrency > 1 {
            let took = world.lookup(&workspace(1)).await.unwrap();
            assert!(took <= Duration::from_millis(1_002), "{concurrency}: {took:?}");
        }
        for poll in polls {
            poll.await.unwrap();
        }
        assert_eq!(world.most()[2], quarter, "{concurrency}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_told_to_a_poll_at_once() {
    let world = World::rated(100, 1);
    world.break_circuit(&workspace(1)).await;
    let began = Instant::now();
    let poll = world.client.polling();
    let error = poll.get_message(&workspace(1), &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamCircuitOpen);
    assert_eq!(began.elapsed(), Duration::ZERO);
}
