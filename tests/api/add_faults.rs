//! AddAudience while the upstream fails. The sandbox's truth is the oracle: who was really messaged.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use blubash_grpc::{
    pb::{self, Disposition, ErrorReason},
    sandbox::{Batches, Idempotency, Options},
};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::harness::{App, EVERGREEN, dispositions, item, items, keyed, reason, request_id};

async fn messaged(app: &App) -> Vec<String> {
    let truth = app.rest.truth().await;
    truth.iter().map(|made| made["identifier"].as_str().unwrap().to_owned()).collect()
}

/// That nobody was messaged twice; how many were.
async fn messaged_once(app: &App) -> usize {
    let messaged = messaged(app).await;
    assert_eq!(messaged.iter().collect::<HashSet<_>>().len(), messaged.len());
    messaged.len()
}

async fn add_within(
    app: &App,
    id: &str,
    items: Vec<pb::AudienceItem>,
    timeout: Duration,
) -> Result<pb::AddAudienceResponse, Status> {
    let (campaign_id, options) = (EVERGREEN.into(), Some(request_id(id)));
    let mut request = keyed(tokio_stream::iter([pb::AddAudienceRequest { campaign_id, options, items }]));
    request.set_timeout(timeout);
    app.client.clone().add_audience(request).await.map(tonic::Response::into_inner)
}

fn all_replayed(answer: &pb::AddAudienceResponse) -> bool {
    answer.results.iter().all(|result| result.replayed)
}

#[tokio::test]
async fn a_write_without_a_trustworthy_answer_is_in_doubt_and_never_sent_again() {
    for (harm, really) in [
        (json!({"reset_after": true}), 2),
        (json!({"reset_before": true}), 0),
        (json!({"truncate": true}), 2),
        (json!({"status": 500, "apply": true}), 2),
        (json!({"status": 502, "body": "<html>Bad Gateway</html>"}), 0),
        (json!({"status": 503, "headers": {"Retry-After": "0"}}), 0),
        (json!({"status": 504, "apply": true}), 2),
        (json!({"status": 408}), 0),
        (json!({"status": 409, "apply": true}), 2),
        (json!({"status": 302, "headers": {"Location": "/elsewhere"}}), 0),
        (json!({"status": 200, "body": "taken", "apply": true}), 2),
        (json!({"status": 200, "body": [], "apply": true}), 2),
    ] {
        let app = App::start().await;
        // A connection that was used before is where clients repeat on their own.
        app.get(EVERGREEN, "no-such-message").await.unwrap_err();
        let mut rule = json!({"operation": "add"});
        rule.as_object_mut().unwrap().extend(harm.as_object().unwrap().clone());
        app.rest.fault(rule).await;
        let answer = app.add(request_id("doubt"), items(2)).await.unwrap();
        assert_eq!(dispositions(&answer), [Disposition::InDoubt; 2], "{harm}");
        let failure = answer.results[0].failure.clone().unwrap();
        assert_eq!(failure.reason(), ErrorReason::OutcomeUnknown, "{harm}");
        app.rest.control(reqwest::Method::DELETE, "faults", Value::Null).await;
        let again = app.add(request_id("doubt"), items(2)).await.unwrap();
        assert_eq!(dispositions(&again), [Disposition::InDoubt; 2], "{harm}");
        assert!(all_replayed(&again), "{harm}");
        assert_eq!(app.upstream_calls("add").await.len(), 1, "{harm}");
        assert_eq!(messaged_once(&app).await, really, "{harm}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out_and_everyone_is_added_once() {
    let app = App::start().await;
    let limited = json!({"operation": "add", "count": 1, "status": 429, "headers": {"Retry-After": "1"}});
    app.rest.fault(limited).await;
    let began = Instant::now();
    let answer = app.add(request_id("limited"), items(2)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(dispositions(&answer), [Disposition::Added; 2]);
    assert_eq!((app.upstream_calls("add").await.len(), messaged_once(&app).await), (2, 2));
}

#[tokio::test]
async fn a_rate_limit_beyond_the_deadline_is_a_status_and_the_items_stay_free() {
    let app = App::start().await;
    let limited = json!({"operation": "add", "count": 1, "status": 429, "headers": {"Retry-After": "3"}});
    app.rest.fault(limited).await;
    let status = add_within(&app, "later", items(2), Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED".into()));
    // The next call knows: it waits for as long as the upstream asked, and then goes.
    let answer = app.add(request_id("later"), items(2)).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added; 2]);
    assert!(!all_replayed(&answer));
    assert_eq!((app.upstream_calls("add").await.len(), messaged_once(&app).await), (2, 2));
}

fn with_bad_ones(bad: &[usize]) -> Vec<pb::AudienceItem> {
    let mut items = items(250);
    bad.iter().for_each(|&n| items[n] = item("abc"));
    items
}

#[tokio::test]
async fn a_refused_batch_is_in_doubt_as_a_whole_and_the_rest_goes_one_by_one() {
    let app = App::start().await;
    let answer = app.add(request_id("bad"), with_bad_ones(&[5, 130, 220])).await.unwrap();
    for (n, disposition) in dispositions(&answer).into_iter().enumerate() {
        let expected = match n {
            0..100 => Disposition::InDoubt,
            130 | 220 => Disposition::Rejected,
            _ => Disposition::Added,
        };
        assert_eq!(disposition, expected, "{n}");
    }
    let failure = |n: usize| answer.results[n].failure.clone().unwrap();
    assert_eq!(failure(130).reason(), ErrorReason::IdentifierInvalid);
    assert_eq!(failure(0).metadata["upstream_status"], "400");
    assert_eq!(failure(0).metadata["upstream_reason"], "IDENTIFIER_INVALID");
    assert_eq!(answer.termination, None);
    // The sandbox kept the five before the bad one: the doubt was right.
    assert_eq!((messaged_once(&app).await, app.upstream_calls("add").await.len()), (5 + 148, 1 + 150));
}

#[tokio::test]
async fn with_batches_declared_atomic_only_the_bad_items_are_rejected_and_none_is_in_doubt() {
    let options = Options { batches: Batches::Atomic, ..Options::default() };
    let app = App::with(options, &["--upstream-batches=atomic"]).await;
    let answer = app.add(request_id("atomic"), with_bad_ones(&[5, 130, 131])).await.unwrap();
    for (n, disposition) in dispositions(&answer).into_iter().enumerate() {
        let bad = [5, 130, 131].contains(&n);
        assert_eq!(disposition, if bad { Disposition::Rejected } else { Disposition::Added }, "{n}");
    }
    assert_eq!(messaged_once(&app).await, 247);
    assert!(app.upstream_calls("add").await.len() < 50);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_split_until_it_fits() {
    let app = App::with(Options { max_items: 30, ..Options::default() }, &[]).await;
    let answer = app.add(request_id("large"), items(250)).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added; 250]);
    assert_eq!(messaged_once(&app).await, 250);
    // What was too large once is not tried again and again.
    let calls = app.upstream_calls("add").await;
    assert!(calls.iter().filter(|call| call["status"] == 413).count() <= 3, "{calls:?}");
}

#[tokio::test]
async fn a_deadline_finds_items_on_their_way_pending_and_a_repeat_finds_them_settled() {
    for (fault, settled, really) in [
        (json!({"operation": "add", "latency_ms": 1500}), Disposition::Added, 2),
        (json!({"operation": "add", "hang_ms": 1500, "apply": true}), Disposition::InDoubt, 2),
        (json!({"operation": "add", "hang_ms": 1500}), Disposition::InDoubt, 0),
    ] {
        let app = App::start().await;
        app.rest.fault(fault).await;
        let (began, timeout) = (Instant::now(), Duration::from_millis(800));
        let answer = add_within(&app, "slow", items(2), timeout).await.unwrap();
        assert!(began.elapsed() < timeout);
        assert_eq!(dispositions(&answer), [Disposition::Pending; 2]);
        let termination = answer.termination.clone().unwrap();
        assert_eq!(termination.reason(), ErrorReason::DeadlineExceeded);
        let again = app.add(request_id("slow"), items(2)).await.unwrap();
        assert_eq!(dispositions(&again), [settled; 2]);
        assert!(all_replayed(&again));
        assert_eq!((app.upstream_calls("add").await.len(), messaged_once(&app).await), (1, really));
    }
}

#[tokio::test]
async fn a_deadline_before_anything_was_sent_is_a_status() {
    let app = App::start().await;
    let (send, stream) = tokio::sync::mpsc::channel(1);
    let first = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("open")),
        items: items(1),
    };
    send.send(first).await.unwrap();
    let mut request = keyed(tokio_stream::wrappers::ReceiverStream::new(stream));
    request.set_timeout(Duration::from_millis(300));
    let status = app.client.clone().add_audience(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
    assert!(app.upstream_calls("add").await.is_empty());
}

#[tokio::test]
async fn a_caller_who_hangs_up_cuts_no_batch_in_half_and_starts_no_other() {
    let app = App::start().await;
    app.rest.fault(json!({"operation": "add", "count": 1, "latency_ms": 500})).await;
    let mut client = app.client.clone();
    let first = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("hung")),
        items: items(250),
    };
    let request = keyed(tokio_stream::iter([first]));
    let call = tokio::spawn(async move { client.add_audience(request).await });
    while app.upstream_calls("add").await.is_empty() {}
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    // The repeat waits for what is on its way.
    let again = app.add(request_id("hung"), items(250)).await.unwrap();
    assert_eq!(dispositions(&again), [Disposition::Added; 250]);
    assert_eq!(again.summary.unwrap().replayed, 100);
    assert_eq!((app.upstream_calls("add").await.len(), messaged_once(&app).await), (3, 250));
}

#[tokio::test]
async fn with_keys_declared_proven_a_doubt_is_repeated_under_its_key_and_added_once() {
    let options = Options { idempotency: Idempotency::Honoured, ..Options::default() };
    let app = App::with(options, &["--upstream-idempotency=proven"]).await;
    app.rest.fault(json!({"operation": "add", "count": 1, "reset_after": true})).await;
    let answer = app.add(request_id("proven"), items(2)).await.unwrap();
    assert_eq!(dispositions(&answer), [Disposition::Added; 2]);
    let calls = app.upstream_calls("add").await;
    assert_eq!((calls.len(), messaged_once(&app).await), (2, 2));
    for same in ["idempotency_key", "body_print"] {
        assert!(calls[0][same].is_string() && calls[0][same] == calls[1][same], "{same}");
    }
}

#[tokio::test]
async fn five_doubts_in_a_row_stop_the_ingestion() {
    let app = App::start().await;
    app.rest.fault(json!({"operation": "add", "status": 503})).await;
    let options = pb::AudienceOptions { max_batch_size: 1, ..request_id("doubts") };
    let answer = app.add(options, items(8)).await.unwrap();
    let told = dispositions(&answer);
    assert_eq!(
        (&told[..5], &told[5..]),
        (&[Disposition::InDoubt; 5][..], &[Disposition::NotAttempted; 3][..])
    );
    assert_eq!(answer.termination.clone().unwrap().reason(), ErrorReason::DoubtLimitReached);
    assert_eq!(app.upstream_calls("add").await.len(), 5);
}
