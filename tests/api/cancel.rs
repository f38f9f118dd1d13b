//! CancelMessage, through the service.

use std::time::Duration;

use blubash_grpc::{pb::MessageStatus, sandbox};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, items, keyed, reason, request_id};

/// A message of `camp-evergreen` that is QUEUED.
async fn queued(app: &App) -> String {
    let answer = app.add(request_id("queued"), items(1)).await.unwrap();
    app.rest.advance(2).await;
    answer.results[0].added.clone().unwrap().message_id
}

fn message_status(status: &Status) -> String {
    status.get_details_error_info().unwrap().metadata["message_status"].clone()
}

#[tokio::test]
async fn a_queued_message_is_cancelled_and_a_repeat_says_that_it_was() {
    let app = App::start().await;
    let id = queued(&app).await;
    let first = app.cancel(EVERGREEN, &id).await.unwrap();
    assert!(!first.already_cancelled);
    let message = first.message.unwrap();
    assert_eq!((message.message_id.as_str(), message.status()), (id.as_str(), MessageStatus::Cancelled));
    let again = app.cancel(EVERGREEN, &id).await.unwrap();
    assert!(again.already_cancelled);
    assert_eq!(again.message.unwrap().status(), MessageStatus::Cancelled);
    assert_eq!(app.rest.truth().await[0]["status"], "CANCELLED");
}

#[tokio::test]
async fn a_message_in_another_status_is_not_cancellable_and_the_error_says_which() {
    let app = App::start().await;
    for (id, word, wait) in [
        ("msg-seeded-pending", "PENDING", true),
        ("msg-seeded-sending", "SENDING", false),
        ("msg-seeded-sent", "SENT", false),
        ("msg-seeded-failed", "FAILED", false),
    ] {
        let status = app.cancel(sandbox::SEEDED, id).await.unwrap_err();
        assert_eq!(reason(&status), (Code::FailedPrecondition, "MESSAGE_NOT_CANCELLABLE".into()));
        assert_eq!(message_status(&status), word);
        assert_eq!(status.get_details_retry_info().is_some(), wait, "{word}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_by_its_name() {
    let app = App::start().await;
    for (campaign, why) in [(EVERGREEN, "MESSAGE_NOT_FOUND"), ("camp-nowhere", "CAMPAIGN_NOT_FOUND")] {
        let status = app.cancel(campaign, "no-such-message").await.unwrap_err();
        assert_eq!(reason(&status), (Code::NotFound, why.into()));
    }
}

#[tokio::test]
async fn a_lost_answer_is_made_good_by_a_look() {
    for harm in [json!({"reset_after": true}), json!({"truncate": true})] {
        let app = App::start().await;
        let id = queued(&app).await;
        let mut rule = json!({"operation": "cancel", "count": 1});
        rule.as_object_mut().unwrap().extend(harm.as_object().unwrap().clone());
        app.rest.fault(rule).await;
        let cancelled = app.cancel(EVERGREEN, &id).await.unwrap();
        assert!(!cancelled.already_cancelled);
        assert_eq!(cancelled.message.unwrap().status(), MessageStatus::Cancelled);
        assert_eq!(app.upstream_calls("cancel").await.len(), 1);
    }
}

#[tokio::test]
async fn a_lost_answer_and_a_failing_look_are_unknown() {
    let app = App::start().await;
    let id = queued(&app).await;
    app.rest.fault(json!({"operation": "cancel", "status": 502})).await;
    app.rest.fault(json!({"operation": "get", "status": 503})).await;
    let status = app.cancel(EVERGREEN, &id).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unknown, "OUTCOME_UNKNOWN".into()));
}

#[tokio::test]
async fn a_deadline_while_the_cancellation_hangs_is_unknown() {
    let app = App::start().await;
    let id = queued(&app).await;
    app.rest.fault(json!({"operation": "cancel", "hang_ms": 1500, "apply": true})).await;
    let call =
        blubash_grpc::pb::CancelMessageRequest { campaign_id: EVERGREEN.into(), message_id: id.clone() };
    let mut request = keyed(call);
    request.set_timeout(Duration::from_millis(600));
    let status = app.client.clone().cancel_message(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unknown, "OUTCOME_UNKNOWN".into()));
    assert_eq!(app.get(EVERGREEN, &id).await.unwrap().status(), MessageStatus::Cancelled);
}

#[tokio::test]
async fn an_upstream_out_of_reach_is_unavailable_for_nothing_was_sent() {
    let rest = crate::sandbox::Bench::default().await;
    // Bound and let go: nobody listens there.
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let app = App::in_front_of(rest, &format!("http://{nowhere}/api/v1/campaigns"), &[]).await;
    let status = app.cancel(EVERGREEN, "m1").await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".into()));
    assert!(status.get_details_retry_info().is_some());
    assert!(app.rest.log().await.is_empty());
}
