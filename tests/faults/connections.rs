//! Where the road itself breaks: at every point of an exchange, in both ways in which a connection ends.

use std::time::Duration;

use blubash_grpc::pb::Disposition::{Added, InDoubt};

use crate::{
    harness::{IMPATIENT, PATIENT, meets},
    upstream::{
        Ending::{Close, Reset},
        Fault, Point,
    },
};

async fn cut(point: Point, messaged: usize) {
    for ending in [Reset, Close] {
        meets(Fault::Cut(point, ending), PATIENT, InDoubt, messaged).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_request_is_read_leaves_doubt() {
    cut(Point::BeforeReading, 0).await;
}

#[tokio::test]
async fn a_connection_that_ends_while_the_request_is_read_leaves_doubt() {
    cut(Point::WhileReading, 0).await;
}

#[tokio::test]
async fn a_connection_that_ends_before_anyone_is_messaged_leaves_doubt() {
    cut(Point::BeforeApplying, 0).await;
}

#[tokio::test]
async fn a_connection_that_ends_after_all_are_messaged_leaves_doubt_and_no_second_message() {
    cut(Point::AfterApplying, 3).await;
}

#[tokio::test]
async fn a_connection_that_ends_within_the_answer_leaves_doubt_and_no_second_message() {
    cut(Point::InTheAnswersHead, 3).await;
    cut(Point::InTheAnswersBody, 3).await;
}

#[tokio::test]
async fn an_upstream_that_never_answers_leaves_doubt_whether_or_not_it_acted() {
    meets(Fault::Hang { applied: false }, IMPATIENT, InDoubt, 0).await;
    meets(Fault::Hang { applied: true }, IMPATIENT, InDoubt, 3).await;
}

#[tokio::test]
async fn an_answer_that_drips_is_an_answer_while_the_attempt_lasts() {
    meets(Fault::Drip(Duration::from_millis(1)), PATIENT, Added, 3).await;
    meets(Fault::Drip(Duration::from_millis(100)), IMPATIENT, InDoubt, 3).await;
}

#[tokio::test]
async fn an_interim_answer_says_nothing_and_the_one_after_it_everything() {
    meets(Fault::InterimThenAnswer, PATIENT, Added, 3).await;
    meets(Fault::ContinueThenClose { applied: false }, PATIENT, InDoubt, 0).await;
    meets(Fault::ContinueThenClose { applied: true }, PATIENT, InDoubt, 3).await;
}

#[tokio::test]
async fn what_is_not_http_leaves_doubt() {
    meets(Fault::Gibberish { applied: false }, PATIENT, InDoubt, 0).await;
    meets(Fault::Gibberish { applied: true }, PATIENT, InDoubt, 3).await;
}
