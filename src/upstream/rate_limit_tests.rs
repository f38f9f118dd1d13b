#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use tokio::{
    task::yield_now,
    time::{advance, sleep_until},
};

use super::*;
use crate::error::Applied;

fn turnstile(rate: u32, percent: u8) -> Arc<Turnstile> {
    Arc::new(Turnstile::new(NonZeroU32::new(rate), percent, Reason::UpstreamRateLimited))
}

fn within(time: Duration) -> Patience {
    Patience { until: Instant::now() + time, is_callers: true }
}

const MOMENT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

async fn pass(turnstile: &Turnstile, patience: Patience) -> Result<Instant, Error> {
    let place = turnstile.join(patience)?;
    place.turn(patience).await?.take_token(patience).await?;
    Ok(Instant::now())
}

fn spawn(turnstile: &Arc<Turnstile>, patience: Patience) -> tokio::task::JoinHandle<Result<Instant, Error>> {
    let turnstile = Arc::clone(turnstile);
    tokio::spawn(async move { pass(&turnstile, patience).await })
}

/// Lets everybody who can move do so.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

proptest! {
    #[test]
    fn in_no_stretch_of_time_more_pass_than_the_rate_and_a_seconds_burst_allow(
        rate in 1_u32..2_000, percent in 1_u8..=100,
        arrivals in prop::collection::vec((0_u64..5_000, prop::bool::weighted(0.2)), 1..200),
        pause in prop::option::of((0_u64..3_000, 0_u64..3_000)),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let mut passed = runtime.block_on(async {
            let turnstile = turnstile(rate, percent);
            let began = Instant::now();
            let mut tasks = Vec::new();
            for (at, hangs_up) in arrivals {
                let turnstile = Arc::clone(&turnstile);
                tasks.push(tokio::spawn(async move {
                    sleep_until(began + Duration::from_millis(at)).await;
                    if turnstile.try_pass() {
                        return Some(Instant::now());
                    }
                    let patience = within(HOUR * 24);
                    let patient = if hangs_up { Duration::from_millis(700) } else { HOUR * 24 };
                    tokio::time::timeout(patient, pass(&turnstile, patience)).await.ok().map(Result::unwrap)
                }));
            }
            if let Some((at, length)) = pause {
                sleep_until(began + Duration::from_millis(at)).await;
                turnstile.pause(Duration::from_millis(length));
            }
            let mut passed = Vec::new();
            for task in tasks {
                passed.extend(task.await.unwrap());
            }
            passed
        });
        passed.sort();
        let rate = f64::from(rate) * f64::from(percent) / 100.0;
        let burst = rate.floor().max(1.0);
        for (i, from) in passed.iter().enumerate() {
            for (n, to) in (1..).zip(&passed[i..]) {
                let most = burst + rate * (*to - *from).as_secs_f64() + 1e-3;
                prop_assert!(f64::from(n) <= most, "{n} in {:?} at {rate}/s", *to - *from);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn calls_pass_in_the_order_in_which_they_came_and_nobody_overtakes() {
    let turnstile = turnstile(10, 100);
    while turnstile.try_pass() {}
    let mut tasks = Vec::new();
    for _ in 0..30 {
        tasks.push(spawn(&turnstile, within(HOUR)));
        settle().await;
    }
    let mut times = Vec::new();
    for task in tasks {
        // Those who do not queue must not take what the queue waits for.
        assert!(!turnstile.try_pass());
        times.push(task.await.unwrap().unwrap());
    }
    assert!(times.is_sorted());
    let took = times[29] - times[0];
    assert!(took >= Duration::from_millis(2_900) && took <= Duration::from_millis(2_960), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_come_back_is_the_heads_of_the_queue() {
    let turnstile = turnstile(10, 100);
    while turnstile.try_pass() {}
    let place = turnstile.join(within(HOUR)).unwrap();
    let turn = place.turn(within(HOUR)).await.unwrap();
    advance(Duration::from_millis(100)).await;
    assert!(!turnstile.try_pass());
    turn.take_token(within(MOMENT)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_queue_takes_no_token_along() {
    let turnstile = turnstile(1, 100);
    assert!(turnstile.try_pass());
    let began = Instant::now();
    let tasks: Vec<_> = (0..50).map(|_| spawn(&turnstile, within(HOUR))).collect();
    settle().await;
    let last = spawn(&turnstile, within(HOUR));
    settle().await;
    for task in &tasks {
        task.abort();
    }
    let passed = last.await.unwrap().unwrap();
    assert!(passed - began <= Duration::from_millis(1_002), "{:?}", passed - began);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_pass_the_deadline_is_refused_at_once_with_its_length() {
    let turnstile = turnstile(2, 100);
    let began = Instant::now();
    while turnstile.try_pass() {}
    let error = pass(&turnstile, within(Duration::from_millis(400))).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::Overloaded, Applied::No));
    assert_eq!(error.retry_delay(), Some(Duration::from_millis(500)));
    // With ten in front it is plain, too, before the turn comes.
    let tasks: Vec<_> = (0..10).map(|_| spawn(&turnstile, within(HOUR))).collect();
    settle().await;
    let error = pass(&turnstile, within(Duration::from_secs(5))).await.unwrap_err();
    assert_eq!(error.retry_delay(), Some(Duration::from_millis(5_500)));
    assert_eq!(began.elapsed(), Duration::ZERO);
    let passed = pass(&turnstile, within(Duration::from_secs(6))).await.unwrap();
    let took = (passed - began).as_millis();
    assert!((5_500..5_520).contains(&took), "{took}");
    drop(tasks);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_the_queue_ends_the_wait() {
    let turnstile = turnstile(1, 100);
    let place = turnstile.join(within(HOUR)).unwrap();
    let _turn = place.turn(within(HOUR)).await.unwrap();
    let began = Instant::now();
    let error = pass(&turnstile, within(Duration::from_secs(3))).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::DeadlineExceeded, Applied::No));
    assert_eq!(began.elapsed().as_secs(), 3);
    let own = Patience { until: Instant::now() + Duration::from_secs(3), is_callers: false };
    let error = pass(&turnstile, own).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::Overloaded, Applied::No));
    assert!(error.retry_delay().is_some());
}

#[tokio::test(start_paused = true)]
async fn nobody_passes_during_a_pause_and_no_pause_is_longer_than_a_minute() {
    for turnstile in [turnstile(0, 100), turnstile(1_000, 100)] {
        turnstile.pause(Duration::from_secs(10));
        // A shorter one does not cut it short.
        turnstile.pause(Duration::from_secs(1));
        assert!(!turnstile.try_pass());
        let began = Instant::now();
        let error = pass(&turnstile, within(Duration::from_secs(9))).await.unwrap_err();
        assert_eq!((error.reason(), error.applied()), (Reason::UpstreamRateLimited, Applied::No));
        assert_eq!((error.retry_delay(), began.elapsed()), (Some(Duration::from_secs(10)), Duration::ZERO));
        let waiting = spawn(&turnstile, within(HOUR));
        advance(Duration::from_secs(5)).await;
        // It may be made longer while somebody waits.
        turnstile.pause(Duration::from_secs(24 * 3600));
        let passed = waiting.await.unwrap().unwrap() - began;
        assert!(passed >= Duration::from_secs(65) && passed.as_millis() <= 65_002, "{passed:?}");
        assert!(turnstile.try_pass());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_begins_behind_ones_back_refuses_whoever_cannot_outwait_it() {
    let turnstile = turnstile(1, 100);
    assert!(turnstile.try_pass());
    let began = Instant::now();
    let tasks: Vec<_> = (0..5).map(|_| spawn(&turnstile, within(Duration::from_secs(20)))).collect();
    settle().await;
    turnstile.pause(Duration::from_secs(30));
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().reason(), Reason::UpstreamRateLimited);
    }
    assert!(began.elapsed() <= Duration::from_millis(1_002), "as soon as the head of the queue looks");
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_everybody_passes() {
    let turnstile = turnstile(0, 80);
    assert!((0..100_000).all(|_| turnstile.try_pass()));
}

#[tokio::test(start_paused = true)]
async fn a_turnstile_is_missed_until_its_tokens_are_back_and_its_pause_is_over() {
    let turnstile = turnstile(2, 100);
    assert!(turnstile.is_blank(Instant::now()));
    while turnstile.try_pass() {}
    assert!(!turnstile.is_blank(Instant::now() + Duration::from_millis(999)));
    assert!(turnstile.is_blank(Instant::now() + Duration::from_millis(1_000)));
    turnstile.pause(Duration::from_secs(7));
    assert!(!turnstile.is_blank(Instant::now() + Duration::from_millis(6_999)));
    assert!(turnstile.is_blank(Instant::now() + Duration::from_secs(7)));
}
