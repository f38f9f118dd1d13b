//! Cancelling many messages through gRPC: each told once, and a summary that is true.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use blubash_grpc::{
    pb,
    sandbox::{self, ListOrder, Options, SEEDED},
};
use reqwest::Method;
use serde_json::json;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, keyed, reason, with_key};

type Outcome = Result<(Vec<pb::CancelResult>, pb::CancelSummary), Status>;

fn named(campaign: &str, ids: &[&str]) -> pb::CancelMessagesRequest {
    let message_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    pb::CancelMessagesRequest { campaign_id: campaign.into(), message_ids, ..Default::default() }
}

fn all_queued(campaign: &str) -> pb::CancelMessagesRequest {
    pb::CancelMessagesRequest { campaign_id: campaign.into(), all_queued: true, ..Default::default() }
}

/// Reads the whole answer; the summary stands in its last message alone, and counts all that was told.
async fn cancel(app: &App, request: tonic::Request<pb::CancelMessagesRequest>) -> Outcome {
    let mut stream = app.client.clone().cancel_messages(request).await.map(Response::into_inner)?;
    let (mut results, mut summary) = (Vec::new(), None);
    while let Some(answer) = stream.message().await? {
        assert!(summary.is_none(), "nothing comes after the summary");
        assert_eq!(answer.summary.is_some(), answer.results.is_empty());
        results.extend(answer.results);
        summary = answer.summary;
    }
    let summary: pb::CancelSummary = summary.expect("a summary ends it");
    let pb::CancelSummary { cancelled, already_cancelled, not_cancellable, not_found, failed, unknown } =
        summary;
    let sum = cancelled + already_cancelled + not_cancellable + not_found + failed + unknown;
    assert_eq!(sum, results.len() as i64);
    for result in &results {
        assert_eq!(
            result.failure.is_none(),
            result.status() == pb::MessageStatus::Cancelled || is_queued(result)
        );
    }
    let distinct: HashSet<_> = results.iter().map(|result| &result.message_id).collect();
    assert_eq!(distinct.len(), results.len(), "each is told once");
    Ok((results, summary))
}

/// What `validate_only` says of a message that would be cancelled.
fn is_queued(result: &pb::CancelResult) -> bool {
    result.status() == pb::MessageStatus::Queued && result.failure.is_none()
}

async fn truth(app: &App) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for message in app.rest.truth().await {
        *counts.entry(message["status"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn named_messages_are_each_told_what_they_are_and_the_summary_counts_them() {
    let app = App::start().await;
    let ids =
        ["msg-seeded-queued", "msg-seeded-queued-zone", "msg-seeded-sent", "msg-seeded-pending", "no-such"];
    let known = sandbox::SEEDED_MESSAGES;
    let ids: Vec<_> = ids.into_iter().filter(|id| known.contains(id) || *id == "no-such").collect();
    // One named twice is cancelled once.
    let twice = [ids.as_slice(), &ids[..1]].concat();
    let (results, summary) = cancel(&app, keyed(named(SEEDED, &twice))).await.unwrap();
    assert_eq!(results.len(), ids.len());
    assert_eq!((summary.cancelled, summary.not_found, summary.unknown, summary.failed), (2, 1, 0, 0));
    assert_eq!(summary.not_cancellable, ids.len() as i64 - 3);
    let find = |id: &str| results.iter().find(|result| result.message_id == id).unwrap();
    assert_eq!(find("msg-seeded-queued").status(), pb::MessageStatus::Cancelled);
    let sent = find("msg-seeded-sent");
    assert_eq!(sent.status(), pb::MessageStatus::Sent);
    assert_eq!(sent.failure.as_ref().unwrap().reason(), pb::ErrorReason::MessageNotCancellable);
    assert_eq!(find("no-such").failure.as_ref().unwrap().reason(), pb::ErrorReason::MessageNotFound);

    let (_, again) = cancel(&app, keyed(named(SEEDED, &ids))).await.unwrap();
    assert_eq!((again.cancelled, again.already_cancelled), (0, 2), "repeating it is safe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_queued_is_cancelled_in_every_order_though_the_cancels_shift_the_list() {
    for list_order in [ListOrder::OldestFirst, ListOrder::NewestFirst, ListOrder::RecentlyUpdatedFirst] {
        for total in [true, false] {
            let app = App::with(Options { list_order, total, ..Options::default() }, &[]).await;
            for status in ["SENT", "QUEUED", "SENT", "QUEUED"] {
                let seed = json!({"campaign": EVERGREEN, "count": 150, "status": status});
                app.rest.control(Method::POST, "seed", seed).await;
            }
            let request = pb::CancelMessagesRequest { validate_only: true, ..all_queued(EVERGREEN) };
            let (would, summary) = cancel(&app, keyed(request)).await.unwrap();
            assert_eq!((would.len(), summary.cancelled), (300, 300), "{list_order:?}");
            assert!(app.upstream_calls("cancel").await.is_empty(), "it only says what would be");

            let (results, summary) = cancel(&app, keyed(all_queued(EVERGREEN))).await.unwrap();
            assert_eq!((results.len(), summary.cancelled), (300, 300), "{list_order:?}, total {total}");
            assert_eq!(truth(&app).await, BTreeMap::from([("CANCELLED".into(), 300), ("SENT".into(), 300)]));
            let (results, _) = cancel(&app, keyed(all_queued(EVERGREEN))).await.unwrap();
            assert_eq!(results, [], "nothing is left");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_with_its_fields() {
    let app = App::start().await;
    let many: Vec<_> = (0..10_001).map(|n| format!("m{n}")).collect();
    let both = pb::CancelMessagesRequest { all_queued: true, ..named(SEEDED, &["m"]) };
    for (request, fields) in [
        (named(SEEDED, &[]), vec!["message_ids", "all_queued"]),
        (both, vec!["message_ids", "all_queued"]),
        (named(SEEDED, &["a", "", "b", ".."]), vec!["message_ids[1]", "message_ids[3]"]),
        (named("", &["a"]), vec!["campaign_id"]),
        (named(SEEDED, &many.iter().map(String::as_str).collect::<Vec<_>>()), vec!["message_ids"]),
    ] {
        let status = cancel(&app, keyed(request)).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_INVALID".into()));
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), fields);
    }
    assert!(app.rest.log().await.is_empty());
}

#[tokio::test]
async fn one_cause_that_ends_the_call_before_anything_was_cancelled_is_its_status() {
    let app = App::start().await;
    for request in [named("no-such-campaign", &["a", "b"]), all_queued("no-such-campaign")] {
        let status = cancel(&app, keyed(request)).await.unwrap_err();
        assert_eq!(reason(&status), (Code::NotFound, "CAMPAIGN_NOT_FOUND".into()));
    }
    for request in [named(SEEDED, &["msg-seeded-queued"]), all_queued(SEEDED)] {
        let status = cancel(&app, with_key(request, "no-such-key")).await.unwrap_err();
        assert_eq!(reason(&status), (Code::Unauthenticated, "API_KEY_INVALID".into()));
    }
}

#[tokio::test]
async fn a_deadline_leaves_nothing_untold() {
    let app = App::start().await;
    let seed = json!({"campaign": EVERGREEN, "count": 400, "status": "QUEUED"});
    app.rest.control(Method::POST, "seed", seed).await;
    let ids: Vec<_> = app.rest.truth().await;
    let ids: Vec<_> = ids.iter().map(|m| m["messageId"].as_str().unwrap()).collect();
    app.rest.fault(json!({"operation": "cancel", "latency_ms": 100})).await;
    let mut request = keyed(named(EVERGREEN, &ids));
    request.set_timeout(Duration::from_secs(1));
    let (results, summary) = cancel(&app, request).await.unwrap();
    assert_eq!(results.len(), 400);
    assert!(summary.cancelled > 0 && summary.failed > 0 && summary.unknown <= 8, "{summary:?}");
    let late = results.iter().filter_map(|result| result.failure.as_ref());
    assert!(late.clone().all(|failure| {
        [pb::ErrorReason::DeadlineExceeded, pb::ErrorReason::OutcomeUnknown].contains(&failure.reason())
    }));
    // What is told of certain ones is true, once what was on its way has landed.
    let failed: HashSet<_> = results
        .iter()
        .filter(|r| r.failure.as_ref().is_some_and(|f| f.reason() == pb::ErrorReason::DeadlineExceeded))
        .map(|r| r.message_id.as_str())
        .collect();
    app.rest.control(Method::DELETE, "faults", serde_json::Value::Null).await;
    for message in app.rest.truth().await {
        let id = message["messageId"].as_str().unwrap();
        assert!(!failed.contains(id) || message["status"] == "QUEUED", "{id} was told as not cancelled");
    }
}
