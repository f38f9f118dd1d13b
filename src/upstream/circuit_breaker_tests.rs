#![allow(clippy::unwrap_used)]

use http::StatusCode;
use proptest::prelude::*;
use tokio::{
    task::yield_now,
    time::{advance, timeout},
};

use super::{window::FEWEST, *};
use crate::upstream::evidence::{Broken, Unsent};

fn breaker() -> Arc<CircuitBreaker> {
    CircuitBreaker::new(WorkspaceId([7; 16]))
}

fn good() -> Evidence {
    Evidence::answered(StatusCode::OK, "")
}

fn bad() -> Evidence {
    Evidence::answered(StatusCode::BAD_GATEWAY, "")
}

fn attempts(breaker: &Arc<CircuitBreaker>, count: u32, evidence: &Evidence) {
    for _ in 0..count {
        breaker.pass().unwrap().settle(evidence);
    }
}

/// How long it is open, to the moment.
fn open_left(breaker: &Arc<CircuitBreaker>) -> Duration {
    match breaker.pass() {
        Err(Cut::Until(until)) => until - Instant::now(),
        other => panic!("{other:?}"),
    }
}

fn opened() -> Arc<CircuitBreaker> {
    let breaker = breaker();
    attempts(&breaker, FEWEST, &bad());
    breaker
}

#[tokio::test(start_paused = true)]
async fn twenty_attempts_of_which_half_failed_open_the_circuit_and_no_fewer() {
    let breaker = breaker();
    attempts(&breaker, 9, &bad());
    attempts(&breaker, 10, &good());
    assert!(breaker.cut().is_none(), "19 attempts prove nothing");
    attempts(&breaker, 1, &bad());
    assert!(open_left(&breaker) > Duration::from_secs(4));

    let breaker = self::breaker();
    attempts(&breaker, 11, &good());
    attempts(&breaker, 10, &bad());
    assert!(breaker.cut().is_none(), "less than half failed");
}

#[tokio::test(start_paused = true)]
async fn failures_of_more_than_ten_seconds_ago_count_no_more() {
    let breaker = breaker();
    attempts(&breaker, 19, &bad());
    advance(Duration::from_secs(5)).await;
    assert!(!breaker.is_blank(Instant::now()));
    advance(Duration::from_secs(5)).await;
    assert!(breaker.is_blank(Instant::now()));
    attempts(&breaker, 19, &bad());
    assert!(breaker.cut().is_none());
    // Spread over the window they all count.
    advance(Duration::from_secs(9)).await;
    attempts(&breaker, 1, &bad());
    assert!(breaker.cut().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_5xx_shows_that_the_upstream_works() {
    let broken = |why| Evidence::Broken { why };
    let unsent = |why| Evidence::NotSent { why };
    let answered = |status| Evidence::answered(StatusCode::from_u16(status).unwrap(), "");
    for failure in [
        broken(Broken::Timeout),
        broken(Broken::Connection),
        unsent(Unsent::Dns),
        unsent(Unsent::Connect),
        unsent(Unsent::ConnectTimeout),
        answered(500),
        answered(503),
        answered(522),
    ] {
        let breaker = breaker();
        attempts(&breaker, FEWEST, &failure);
        assert!(breaker.cut().is_some(), "{failure:?}");
    }
    for status in [200, 201, 302, 400, 401, 403, 404, 408, 409, 422, 425, 429] {
        let breaker = breaker();
        attempts(&breaker, FEWEST * 3, &answered(status));
        assert!(breaker.cut().is_none(), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_here_says_nothing_of_the_upstream() {
    let breaker = breaker();
    for _ in 0..FEWEST * 3 {
        drop(breaker.pass().unwrap());
    }
    attempts(&breaker, FEWEST - 1, &bad());
    assert!(breaker.cut().is_none());
}

#[tokio::test(start_paused = true)]
async fn three_clean_probes_one_after_the_other_close_the_circuit() {
    let breaker = opened();
    advance(open_left(&breaker)).await;
    for _ in 0..CLEAN_PROBES {
        let probe = breaker.pass().unwrap();
        assert_eq!(breaker.pass().unwrap_err(), Cut::Probing);
        probe.settle(&good());
    }
    let both = (breaker.pass().unwrap(), breaker.pass().unwrap());
    drop(both);
    // It begins anew: what failed before it opened is forgotten.
    attempts(&breaker, FEWEST - 1, &bad());
    assert!(breaker.cut().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_the_circuit_for_twice_as_long_up_to_a_minute() {
    let breaker = opened();
    for longest in [5, 10, 20, 40, 60, 60] {
        let left = open_left(&breaker);
        let longest = Duration::from_secs(longest);
        assert!(left <= longest && left >= longest.mul_f64(0.9), "{left:?} of {longest:?}");
        advance(left).await;
        breaker.pass().unwrap().settle(&good());
        breaker.pass().unwrap().settle(&bad());
    }
    // Once it was closed, it begins with five seconds again.
    advance(open_left(&breaker)).await;
    attempts(&breaker, CLEAN_PROBES, &good());
    attempts(&breaker, FEWEST, &bad());
    assert!(open_left(&breaker) <= FIRST_OPEN);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_dropped_gives_its_place_back_and_proves_nothing() {
    let breaker = opened();
    advance(open_left(&breaker)).await;
    attempts(&breaker, CLEAN_PROBES - 1, &good());
    for _ in 0..CLEAN_PROBES {
        drop(breaker.pass().unwrap());
    }
    let probe = breaker.pass().unwrap();
    assert_eq!(breaker.cut(), Some(Cut::Probing), "it is still half-open");
    probe.settle(&good());
    assert!(breaker.pass().is_ok() && breaker.cut().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_an_attempt_of_before_is_no_probe() {
    let breaker = breaker();
    let (late, later) = (breaker.pass().unwrap(), breaker.pass().unwrap());
    attempts(&breaker, FEWEST, &bad());
    advance(open_left(&breaker)).await;
    let probe = breaker.pass().unwrap();
    late.settle(&bad());
    assert_eq!(breaker.cut(), Some(Cut::Probing));
    drop(later);
    assert_eq!(breaker.cut(), Some(Cut::Probing));
    probe.settle(&good());
    attempts(&breaker, CLEAN_PROBES - 1, &good());
    assert!(matches!(breaker.lock().phase, Phase::Closed(_)));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_circuit_wakes_when_it_may_go_and_is_told_at_once_when_that_is_too_late() {
    let breaker = opened();
    let (began, left) = (Instant::now(), open_left(&breaker));
    let hour = began + Duration::from_secs(3600);
    assert!(matches!(breaker.ready(began + left / 2).await, Err(Cut::Until(_))));
    assert_eq!(began.elapsed(), Duration::ZERO);
    breaker.ready(hour).await.unwrap();
    assert!(began.elapsed() >= left && began.elapsed() < left + Duration::from_millis(2));

    // The place of a probe is waited for, too: until it is dropped here.
    let probe = breaker.pass().unwrap();
    let waiting = tokio::spawn({
        let breaker = Arc::clone(&breaker);
        async move { breaker.ready(hour).await }
    });
    yield_now().await;
    assert!(!waiting.is_finished());
    drop(probe);
    timeout(Duration::from_millis(1), waiting).await.unwrap().unwrap().unwrap();

    let _probe = breaker.pass().unwrap();
    let last = Instant::now() + Duration::from_secs(3);
    assert_eq!(breaker.ready(last).await, Err(Cut::Probing));
    assert!(Instant::now() >= last);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_is_left() {
    let breaker = opened();
    let left = open_left(&breaker);
    let error = Error::from(breaker.pass().unwrap_err());
    assert_eq!((error.reason(), error.retry_delay()), (Reason::UpstreamCircuitOpen, Some(left)));
    assert_eq!(error.applied(), crate::error::Applied::No);
}

#[derive(Clone, Debug)]
enum Step {
    Pass,
    Settle(usize, bool),
    Drop(usize),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Pass),
        4 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(n, failed)| Step::Settle(n, failed)),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => (0_u64..15_000).prop_map(Step::Advance),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_one_probe_at_a_time_passes_half_open_and_three_clean_ones_always_close_it(
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let breaker = breaker();
            let mut out: Vec<Pass> = Vec::new();
            for step in steps {
                match step {
                    Step::Pass => out.extend(breaker.pass().ok()),
                    Step::Settle(n, failed) if !out.is_empty() => {
                        let n = n % out.len();
                        out.swap_remove(n).settle(&if failed { bad() } else { good() });
                    }
                    Step::Drop(n) if !out.is_empty() => drop(out.swap_remove(n % out.len())),
                    Step::Advance(ms) => advance(Duration::from_millis(ms)).await,
                    Step::Settle(..) | Step::Drop(_) => {}
                }
                let probes = out.iter().filter(|pass| pass.is_probe && pass.term == breaker.lock().term);
                let probes = probes.count();
                let state = breaker.lock();
                match &state.phase {
                    Phase::Closed(_) | Phase::Open { .. } => prop_assert_eq!(probes, 0),
                    Phase::HalfOpen { probing, clean, .. } => {
                        prop_assert_eq!(probes, usize::from(*probing));
                        prop_assert!(*clean < CLEAN_PROBES);
                    }
                }
            }
            out.clear();
            advance(LONGEST_OPEN).await;
            attempts(&breaker, CLEAN_PROBES, &good());
            prop_assert!(matches!(breaker.lock().phase, Phase::Closed(_)));
            Ok(())
        })?;
    }
}
