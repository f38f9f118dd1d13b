//! AddAudience: what goes up, in which batches, and what comes back for each item.

use std::collections::HashSet;

use blubash_grpc::{
    pb::{self, Disposition, ErrorReason, ResultView},
    sandbox::{self, Options},
};
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::harness::{App, EVERGREEN, dispositions, item, items, keyed, reason, request_id, with_key};

/// How many items each upstream call had.
async fn batches(app: &App) -> Vec<u64> {
    app.upstream_calls("add").await.iter().map(|call| call["items"].as_u64().unwrap()).collect()
}

/// That no upstream call changed anything.
async fn nothing_changed(app: &App) {
    assert!(app.rest.truth().await.is_empty());
    assert!(app.rest.log().await.iter().all(|call| call["changed"] == 0));
}

async fn nothing_sent(app: &App) {
    assert_eq!(app.rest.log().await, [Value::Null; 0]);
    assert!(app.rest.truth().await.is_empty());
}

/// Something is wrong with two of its fields.
fn invalid(canary: &str) -> pb::AudienceItem {
    pb::AudienceItem { name: canary.repeat(50), schedule: None, ..item("5511911111111") }
}

fn message(items: Vec<pb::AudienceItem>) -> pb::AddAudienceRequest {
    pb::AddAudienceRequest { items, ..Default::default() }
}

fn first(options: pb::AudienceOptions, items: Vec<pb::AudienceItem>) -> pb::AddAudienceRequest {
    pb::AddAudienceRequest { campaign_id: EVERGREEN.into(), options: Some(options), items }
}

#[tokio::test]
async fn results_come_in_item_order_and_each_names_its_own_message() {
    let app = App::start().await;
    let answer = app.add(request_id("order"), items(250)).await.unwrap();
    assert_eq!(batches(&app).await.iter().sum::<u64>(), 250);
    let mut sizes = batches(&app).await;
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100, 100]);
    assert_eq!(answer.results.len(), 250);
    let truth = app.rest.truth().await;
    assert_eq!(truth.len(), 250);
    for (n, result) in (0_i64..).zip(&answer.results) {
        assert_eq!((result.index, result.disposition()), (n, Disposition::Added));
        let id = &result.added.as_ref().unwrap().message_id;
        let made = truth.iter().find(|made| made["messageId"] == **id).unwrap();
        assert_eq!(made["identifier"], format!("55119{n:08}"));
    }
    let summary = answer.summary.unwrap();
    assert_eq!((summary.received, summary.added, summary.replayed), (250, 250, 0));
    assert_eq!(answer.termination, None);
}

#[tokio::test]
async fn batches_are_as_small_as_the_caller_wants_and_never_larger_than_the_server_allows() {
    let app = App::start().await;
    let of = |n| pb::AudienceOptions { max_batch_size: n, ..Default::default() };
    app.add(of(1), items(5)).await.unwrap();
    assert_eq!(batches(&app).await, [1; 5]);
    let app = App::with(Options::default(), &["--batch-max-items=10"]).await;
    app.add(of(1_000), items(20)).await.unwrap();
    assert_eq!(batches(&app).await, [10, 10]);
}

#[tokio::test]
async fn batches_stay_below_the_bytes_that_the_operator_allows() {
    let app = App::with(Options::default(), &["--batch-max-bytes=1kB"]).await;
    // 12 bytes of frame, 62 an item, 1 between two.
    app.add(request_id("bytes"), items(40)).await.unwrap();
    let mut sizes = batches(&app).await;
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 15, 15]);
}

#[tokio::test]
async fn an_invalid_item_is_named_field_by_field_without_its_values_and_stops_no_other() {
    let app = App::start().await;
    let mut three = items(3);
    three[1] = pb::AudienceItem { item_id: "mine".into(), ..invalid("canary-") };
    let answer = app.add(request_id("invalid"), three).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added, Disposition::Invalid, Disposition::Added]);
    assert_eq!(answer.results[1].item_id, "mine");
    let failure = answer.results[1].failure.clone().unwrap();
    let mut fields: Vec<_> = failure.field_violations.iter().map(|v| v.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["name", "schedule"]);
    assert!(!format!("{answer:?}").contains("canary"));
    assert_eq!(failure.code, Code::InvalidArgument as i32);
    assert_eq!(batches(&app).await, [2]);
    assert_eq!((answer.summary.unwrap().invalid, answer.termination), (1, None));
}

#[tokio::test]
async fn a_call_of_invalid_items_alone_is_ok_and_sends_nothing() {
    let app = App::start().await;
    let answer = app.add(request_id("all"), vec![invalid("x"); 3]).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Invalid; 3]);
    assert_eq!(answer.termination, None);
    nothing_sent(&app).await;
}

#[tokio::test]
async fn a_result_view_leaves_results_out_and_counts_them_all_the_same() {
    let app = App::start().await;
    let mut three = items(3);
    three[1] = invalid("x");
    for (view, indexes) in [
        (ResultView::Unspecified, &[0, 1, 2][..]),
        (ResultView::All, &[0, 1, 2]),
        (ResultView::Failures, &[1]),
        (ResultView::Summary, &[]),
    ] {
        let options = pb::AudienceOptions { result_view: view.into(), ..Default::default() };
        let answer = app.add(options, three.clone()).await.unwrap();
        assert_eq!(answer.results.iter().map(|r| r.index).collect::<Vec<_>>(), indexes, "{view:?}");
        let summary = answer.summary.unwrap();
        assert_eq!((summary.received, summary.added, summary.invalid), (3, 2, 1));
    }
}

#[tokio::test]
async fn validate_only_checks_every_item_sends_nothing_and_remembers_nothing() {
    let app = App::start().await;
    let options = pb::AudienceOptions { validate_only: true, ..request_id("dry") };
    let mut three = items(3);
    three[1] = invalid("x");
    for _ in 0..2 {
        let answer = app.add(options.clone(), three.clone()).await.unwrap();
        assert_eq!(dispositions(&answer), [Disposition::Valid, Disposition::Invalid, Disposition::Valid]);
        assert_eq!(answer.summary.unwrap().valid, 2);
    }
    nothing_sent(&app).await;
    let answer = app.add(request_id("dry"), vec![item("5511922222222")]).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added]);
    assert!(!answer.results[0].replayed);
}

#[tokio::test]
async fn a_recipient_that_came_before_is_invalid_only_where_the_caller_asks_for_it() {
    let app = App::start().await;
    let twice = vec![item("5511933333333"), item("5511944444444"), item("5511933333333")];
    let strict = pb::AudienceOptions { reject_duplicate_recipients: true, ..Default::default() };
    let answer = app.add(strict, twice.clone()).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added, Disposition::Added, Disposition::Invalid]);
    let failure = answer.results[2].failure.clone().unwrap();
    assert_eq!(failure.reason(), ErrorReason::DuplicateRecipient);
    assert_eq!(failure.field_violations[0].field, "identifier");
    assert_eq!(app.rest.truth().await.len(), 2);
    let answer = app.add(Default::default(), twice).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added; 3]);
    assert_eq!(app.rest.truth().await.len(), 5);
}

#[tokio::test]
async fn first_index_places_a_stream_within_its_ingestion() {
    let app = App::start().await;
    let from = |first_index| pb::AudienceOptions { first_index, ..request_id("tail") };
    let all = items(5);
    app.add(from(0), all[..3].to_vec()).await.unwrap();
    let answer = app.add(from(2), all[2..].to_vec()).await.unwrap();
    let told: Vec<_> = answer.results.iter().map(|result| (result.index, result.replayed)).collect();
    assert_eq!(told, [(2, true), (3, false), (4, false)]);
    assert_eq!(app.rest.truth().await.len(), 5);
}

#[tokio::test]
async fn a_refusal_of_the_whole_call_is_a_status_with_its_reason_and_messages_nobody() {
    let app = App::start().await;
    let acme = sandbox::ACME_API_KEY;
    for (key, campaign, code, why) in [
        (acme, sandbox::PAUSED, Code::FailedPrecondition, "CAMPAIGN_PAUSED"),
        (acme, sandbox::CANCELLED, Code::FailedPrecondition, "CAMPAIGN_TERMINATED"),
        (acme, sandbox::FAILED, Code::FailedPrecondition, "CAMPAIGN_TERMINATED"),
        (acme, sandbox::NOT_EVERGREEN, Code::FailedPrecondition, "CAMPAIGN_NOT_EVERGREEN"),
        (acme, "camp-nowhere", Code::NotFound, "CAMPAIGN_NOT_FOUND"),
        (acme, sandbox::GLOBEX, Code::NotFound, "CAMPAIGN_NOT_FOUND"),
        (
            sandbox::FREE_PLAN_API_KEY,
            sandbox::FREE_PLAN,
            Code::PermissionDenied,
            "CAMPAIGNS_FEATURE_UNAVAILABLE",
        ),
        ("no-such-key", EVERGREEN, Code::Unauthenticated, "API_KEY_INVALID"),
    ] {
        let call = pb::AddAudienceRequest { campaign_id: campaign.into(), options: None, items: items(150) };
        let request = with_key(tokio_stream::iter([call]), key);
        let status = app.client.clone().add_audience(request).await.unwrap_err();
        assert_eq!(reason(&status), (code, why.to_owned()), "{campaign}: {status:?}");
    }
    // One call each: nothing further of a refused ingestion goes up.
    assert_eq!(app.upstream_calls("add").await.len(), 8);
    nothing_changed(&app).await;
}

#[tokio::test]
async fn more_items_than_one_call_can_answer_for_are_refused_and_none_is_sent() {
    let app = App::start().await;
    let status = app.add(request_id("many"), items(5_001)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "TOO_MANY_ITEMS".into()));
    nothing_sent(&app).await;
    let answer = app.add(request_id("most"), items(5_000)).await.unwrap();
    assert_eq!(answer.summary.unwrap().added, 5_000);
    let people: HashSet<_> =
        app.rest.truth().await.iter().map(|made| made["identifier"].to_string()).collect();
    assert_eq!(people.len(), 5_000);
}

#[tokio::test]
async fn a_stream_that_breaks_its_rules_is_refused_and_messages_nobody() {
    let app = App::start().await;
    let opened = || first(request_id("rules"), items(1));
    let other = pb::AddAudienceRequest { campaign_id: "camp-other".into(), ..message(items(1)) };
    let changed = pb::AddAudienceRequest { options: Some(request_id("other")), ..message(items(1)) };
    for (what, stream) in [
        ("an empty stream", vec![]),
        ("no item", vec![first(request_id("rules"), vec![])]),
        ("no campaign", vec![message(items(1))]),
        ("another campaign", vec![opened(), other]),
        ("other options", vec![opened(), changed]),
    ] {
        let status = app.add_stream(stream).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_INVALID".into()), "{what}");
    }
    nothing_sent(&app).await;
}

#[tokio::test]
async fn a_later_message_may_repeat_the_first_ones_head() {
    let app = App::start().await;
    let head = first(request_id("same"), items(1));
    let answer = app.add_stream(vec![head.clone(), head, message(items(1))]).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added; 3]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_has_messaged_nobody() {
    let mut app = App::start().await;
    let (send, stream) = tokio::sync::mpsc::channel(1);
    let mut client = app.client.clone();
    let call = tokio::spawn(async move { client.add_audience(keyed(ReceiverStream::new(stream))).await });
    send.send(first(request_id("gone"), items(100))).await.unwrap();
    send.send(message(items(100))).await.unwrap();
    // The same connection: what was sent before this has arrived when it is answered.
    let unknown: Status = app.get(EVERGREEN, "no-such-message").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    app.drain().await;
    assert!(app.upstream_calls("add").await.is_empty());
    assert!(app.rest.truth().await.is_empty());
}
