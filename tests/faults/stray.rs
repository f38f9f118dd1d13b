//! Bytes that nobody asked for, on a connection that waits for its next request: they must never be taken
//! for the answer to it.

use std::time::Duration;

use blubash_grpc::pb::Disposition::Added;

use crate::{
    harness::{App, PATIENT, dispositions},
    upstream::{Fault, Goodbye},
};

/// Each pair is two persons, one after the other, with the stray bytes between them: at once, or so many
/// microseconds later, which is about when the second request goes out.
async fn is_never_believed(goodbye: Goodbye) {
    for pause in (0..600).step_by(12) {
        let fault = Fault::Stray(goodbye, Duration::from_micros(pause));
        let app = App::start(PATIENT, [fault]).await;
        let answer = app.add("stray", 2, 1).await.unwrap();
        app.hold_against_the_truth(&answer, &format!("{fault:?}"));
        assert_eq!(dispositions(&answer), [Added; 2], "{fault:?}");
        assert_eq!((app.upstream.exchanges(), app.upstream.connections()), (2, 2), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_twice_is_not_the_next_requests_answer() {
    is_never_believed(Goodbye::Echo).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_asked_for_is_not_the_next_requests_answer() {
    is_never_believed(Goodbye::Added).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_nobody_asked_for_lets_no_one_be_messaged_twice() {
    is_never_believed(Goodbye::TooMany).await;
}
