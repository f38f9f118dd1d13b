#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    error::Reason,
    upstream::{
        Outcome,
        testing::{
            REFUSED, RESET, add, answer, batch, campaign, config, ctx, message_id, scripted, scripted_with,
            with_retry_after,
        },
    },
};

const FOUND: &str = r#"{"id":"m1","status":"SENT"}"#;
const ADDED: &str = r#"{"items":[{"messageId":"m"}]}"#;

#[tokio::test(start_paused = true)]
async fn a_read_is_tried_again_until_it_succeeds() {
    let script = vec![REFUSED, RESET, answer(503, ""), answer(200, FOUND)];
    let (client, attempts) = scripted(script);
    let found = client.get_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap();
    assert_eq!(found.value.id.as_str(), "m1");
    let numbers: Vec<u32> = attempts.calls().iter().map(|call| call.attempt).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for (wait, longest) in attempts.waits().into_iter().zip([100, 200, 400]) {
        assert!(wait <= Duration::from_millis(longest + 1), "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_has_four_attempts_at_most_and_then_says_when_to_come_back() {
    let (client, attempts) = scripted(vec![answer(503, "")]);
    let error = client.get_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!((error.reason(), attempts.count()), (Reason::UpstreamUnavailable, 4));
    assert_eq!(error.retry_delay(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_was_refused_is_not_tried_again() {
    for status in [400, 401, 403, 404, 409, 302] {
        let (client, attempts) = scripted(vec![answer(status, "")]);
        client.get_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap_err();
        assert_eq!(attempts.count(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_tried_again_with_the_same_bytes_and_key_while_nothing_was_done() {
    let (client, attempts) = scripted(vec![REFUSED, answer(429, ""), answer(201, ADDED)]);
    let outcome = add(&client, &ctx(), &batch(&["a"])).await;
    assert!(matches!(outcome, Outcome::Added(_)), "{outcome:?}");
    let calls = attempts.calls();
    assert_eq!(calls.len(), 3);
    for call in &calls {
        assert_eq!(call.request.body(), calls[0].request.body());
        assert_eq!(call.request.headers(), calls[0].request.headers());
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_been_done_is_never_tried_again() {
    let cut = crate::upstream::Evidence::Broken { why: crate::upstream::Broken::Timeout };
    for evidence in
        [RESET, cut, answer(500, ""), answer(503, ""), answer(408, ""), answer(302, ""), answer(200, "")]
    {
        let (client, attempts) = scripted(vec![with_retry_after(evidence.clone(), "1"), answer(201, ADDED)]);
        let outcome = add(&client, &ctx(), &batch(&["a"])).await;
        assert!(matches!(outcome, Outcome::InDoubt { by_refusal: false, .. }), "{evidence:?} {outcome:?}");
        assert_eq!(attempts.count(), 1, "{evidence:?}");
        let (client, attempts) = scripted(vec![evidence.clone(), answer(200, FOUND)]);
        let _ = client.cancel_message(&ctx(), &campaign(), &message_id("m1")).await;
        assert_eq!(attempts.count(), 1, "{evidence:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_asks_to_wait_is_waited() {
    for (value, seconds) in [("3", 3), ("Wed, 11 Mar 2026 09:00:05 GMT", 5)] {
        let script = vec![with_retry_after(answer(503, ""), value), answer(200, FOUND)];
        let (client, attempts) = scripted(script);
        client.get_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap();
        let wait = attempts.waits()[0];
        let asked = Duration::from_secs(seconds);
        assert!(wait >= asked && wait < asked + Duration::from_millis(102), "{value}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_callers_deadline_and_the_wait_is_handed_on() {
    let (client, attempts) = scripted(vec![with_retry_after(answer(429, ""), "3"), answer(201, ADDED)]);
    let mut ctx = ctx();
    ctx.deadline = Some(Instant::now() + Duration::from_secs(2));
    let before = Instant::now();
    let outcome = add(&client, &ctx, &batch(&["a"])).await;
    let Outcome::NotApplied(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!((attempts.count(), before.elapsed()), (1, Duration::ZERO));
    assert_eq!(
        (error.reason(), error.retry_delay()),
        (Reason::UpstreamRateLimited, Some(Duration::from_secs(3)))
    );
    let error = client.get_message(&ctx, &campaign(), &message_id("m1")).await;
    assert!(error.is_err());
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_no_attempt_begins_after_the_operation_timeout() {
    let (client, attempts) = scripted(vec![with_retry_after(answer(429, ""), "60")]);
    let outcome = add(&client, &ctx(), &batch(&["a"])).await;
    assert!(matches!(outcome, Outcome::NotApplied(_)), "{outcome:?}");
    assert_eq!(attempts.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_upstream_is_met_with_a_tenth_more_attempts_and_one_a_second() {
    // By answers that leave the circuit closed.
    let (client, attempts) = scripted_with(&config(), vec![answer(429, "")]);
    let mut calls = 0;
    // Ten seconds' worth of reserve, and a tenth of what was asked.
    for _ in 0..200 {
        calls += 1;
        let _ = client.get_message(&ctx(), &campaign(), &message_id("m1")).await;
    }
    let extra = attempts.count() - calls;
    let seconds = 10 + attempts.waits().iter().sum::<Duration>().as_secs() as usize;
    assert!(extra <= calls / 10 + seconds, "{extra} extra attempts for {calls} calls");
    assert!(extra >= calls / 10, "{extra} extra attempts for {calls} calls");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_calls_come_and_fail_the_attempts_beyond_them_are_a_tenth_and_one_a_second(
        gaps in prop::collection::vec(0_u64..400, 1..400), fails in 0.3_f64..=1.0,
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (calls, attempts) = runtime.block_on(async {
            // By an answer that leaves the circuit closed: it would only make them fewer.
            let mut script: Vec<_> = (0..gaps.len() * 4)
                .map(|_| if fastrand::f64() < fails { answer(429, "") } else { answer(200, FOUND) })
                .collect();
            script.push(answer(429, ""));
            let (client, attempts) = scripted(script);
            let (mut calls, mut running) = (Vec::new(), Vec::new());
            for gap in gaps {
                calls.push(Instant::now());
                let client = client.clone();
                running.push(tokio::spawn(async move {
                    let _ = client.get_message(&ctx(), &campaign(), &message_id("m1")).await;
                }));
                tokio::time::sleep(Duration::from_millis(gap)).await;
            }
            for call in running {
                call.await.unwrap();
            }
            (calls, attempts.times())
        });
        for (n, at) in (1..).zip(&attempts) {
            let calls_by_then = calls.partition_point(|call| call <= at) as f64;
            let seconds = (*at - calls[0]).as_secs_f64();
            // Ten seconds' worth is in reserve.
            let most = calls_by_then * 1.1 + seconds + 10.0;
            prop_assert!(f64::from(n) <= most, "{n} attempts for {calls_by_then} calls in {seconds} s");
        }
    }

    #[test]
    fn a_wait_is_between_nothing_and_five_seconds(attempt in 0_u32..=u32::MAX) {
        prop_assert!(backoff(attempt) <= LONGEST_BACKOFF);
    }
}
