//! Where an answer comes, and cannot be believed.

use blubash_grpc::pb::Disposition::{Added, InDoubt};

use crate::{
    harness::{App, IMPATIENT, PATIENT, dispositions, meets},
    upstream::{Fault, Lie},
};

async fn lies(lies: &[Lie]) {
    for lie in lies {
        meets(Fault::Lie(*lie), PATIENT, InDoubt, 3).await;
    }
}

#[tokio::test]
async fn an_answer_shorter_or_longer_than_it_says_leaves_doubt() {
    lies(&[Lie::LengthTooShort, Lie::LengthGarbage, Lie::TwoLengths]).await;
    // The bytes that are missing are waited for as long as the attempt lasts.
    meets(Fault::Lie(Lie::LengthTooLong), IMPATIENT, InDoubt, 3).await;
}

#[tokio::test]
async fn an_answer_in_broken_chunks_leaves_doubt() {
    lies(&[Lie::BrokenChunk, Lie::ChunksWithoutEnd]).await;
}

#[tokio::test]
async fn an_answer_over_the_cap_leaves_doubt_and_is_not_read() {
    lies(&[Lie::OverTheCap, Lie::OverTheCapInChunks]).await;
}

#[tokio::test]
async fn an_answer_that_does_not_name_each_message_once_leaves_doubt() {
    lies(&[Lie::NotJson, Lie::NoItems, Lie::OneTooFew, Lie::OneTooMany, Lie::RepeatedIds, Lie::EmptyIds])
        .await;
}

#[tokio::test]
async fn a_redirect_leaves_doubt_and_the_host_that_it_names_hears_nothing() {
    for status in [301, 302, 303, 307, 308] {
        meets(Fault::Redirect(status), PATIENT, InDoubt, 0).await;
    }
}

#[tokio::test]
async fn a_failure_of_the_upstream_leaves_doubt_whether_or_not_it_acted() {
    for status in [408, 409, 500, 502, 503, 504, 520, 599] {
        for applied in [false, true] {
            meets(Fault::Status { status, applied }, PATIENT, InDoubt, if applied { 3 } else { 0 }).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_proves_that_nothing_was_done_is_followed_by_another_attempt() {
    for status in [421, 425, 429] {
        let app = App::start(PATIENT, [Fault::Status { status, applied: false }]).await;
        let answer = app.add("again", 3, 3).await.unwrap();
        app.hold_against_the_truth(&answer, &status.to_string());
        assert_eq!(dispositions(&answer), [Added; 3], "{status}");
        assert_eq!((app.upstream.exchanges(), app.upstream.state.truth.count()), (2, 3), "{status}");
    }
}
