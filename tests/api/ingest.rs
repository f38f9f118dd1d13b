//! IngestAudience: items go up while results come back, and each has one true disposition.

use std::{collections::HashSet, time::Duration};

use blubash_grpc::{
    pb::{self, Disposition, ErrorReason},
    sandbox::{Batches, Options},
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Status, Streaming};

use crate::harness::{App, EVERGREEN, item, items, keyed, reason, request_id};

/// What a whole stream told.
struct Told {
    results: Vec<pb::AudienceItemResult>,
    last: pb::IngestAudienceResponse,
    /// The largest message, in bytes.
    largest: usize,
}

impl Told {
    fn dispositions(&self) -> Vec<Disposition> {
        self.results.iter().map(pb::AudienceItemResult::disposition).collect()
    }

    fn replayed(&self) -> usize {
        self.results.iter().filter(|result| result.replayed).count()
    }

    fn summary(&self) -> pb::AudienceSummary {
        self.last.summary.unwrap()
    }
}

fn message(items: Vec<pb::AudienceItem>) -> pb::IngestAudienceRequest {
    pb::IngestAudienceRequest { items, ..Default::default() }
}

fn first(options: pb::AudienceOptions) -> pb::IngestAudienceRequest {
    pb::IngestAudienceRequest { campaign_id: EVERGREEN.into(), options: Some(options), ..Default::default() }
}

/// An open stream: what is sent into it, and what comes back.
async fn open(
    app: &App,
    options: pb::AudienceOptions,
) -> (mpsc::Sender<pb::IngestAudienceRequest>, Streaming<pb::IngestAudienceResponse>) {
    let (send, receive) = mpsc::channel(1);
    send.send(first(options)).await.unwrap();
    let request = keyed(ReceiverStream::new(receive));
    (send, app.client.clone().ingest_audience(request).await.unwrap().into_inner())
}

/// Checks what every stream must keep to, and joins it.
async fn read(mut stream: Streaming<pb::IngestAudienceResponse>, from: i64) -> Result<Told, Status> {
    let (mut results, mut settled_through, mut largest) = (Vec::new(), from, 0);
    let mut last = None::<pb::IngestAudienceResponse>;
    while let Some(answer) = stream.next().await {
        let answer = answer?;
        assert!(last.is_none_or(|last| last.summary.is_none()), "only the last message has the summary");
        assert!(answer.settled_through >= settled_through);
        settled_through = answer.settled_through;
        largest = largest.max(prost::Message::encoded_len(&answer));
        results.extend(answer.results.clone());
        assert!(results.last().is_none_or(|result: &pb::AudienceItemResult| result.index < settled_through));
        last = Some(answer);
    }
    assert!(results.is_sorted_by_key(|result| result.index));
    Ok(Told { results, last: last.unwrap(), largest })
}

async fn ingest(
    app: &App,
    options: pb::AudienceOptions,
    items: Vec<pb::AudienceItem>,
) -> Result<Told, Status> {
    let from = options.first_index;
    let messages: Vec<_> = std::iter::once(first(options))
        .chain(items.chunks(70).map(|items| message(items.to_vec())))
        .collect();
    let stream = app.client.clone().ingest_audience(keyed(tokio_stream::iter(messages))).await?.into_inner();
    read(stream, from).await
}

async fn messaged(app: &App) -> usize {
    let truth = app.rest.truth().await;
    let people: HashSet<_> = truth.iter().map(|made| made["identifier"].as_str().unwrap()).collect();
    assert_eq!(people.len(), truth.len(), "somebody was messaged twice");
    people.len()
}

#[tokio::test]
async fn results_return_while_more_items_still_go_up() {
    let app = App::start().await;
    let (send, mut stream) = open(&app, request_id("live")).await;
    let begun = stream.next().await.unwrap().unwrap();
    assert_eq!((begun.request_id.as_str(), begun.settled_through), ("live", 0));
    for round in 0..3 {
        send.send(message(items(30).drain(round * 10..round * 10 + 10).collect())).await.unwrap();
        let mut settled = 0;
        while settled < (round as i64 + 1) * 10 {
            settled = stream.next().await.unwrap().unwrap().settled_through;
        }
    }
    drop(send);
    let told = read(stream, 30).await.unwrap();
    assert_eq!((told.summary().received, told.summary().added), (30, 30));
    assert_eq!(messaged(&app).await, 30);
}

#[tokio::test]
async fn ten_thousand_items_come_back_in_order_each_once() {
    let app = App::start().await;
    let told = ingest(&app, request_id("many"), items(10_000)).await.unwrap();
    let indexes: Vec<i64> = told.results.iter().map(|result| result.index).collect();
    assert_eq!(indexes, (0..10_000).collect::<Vec<_>>());
    assert!(told.dispositions().iter().all(|disposition| *disposition == Disposition::Added));
    assert_eq!(
        told.last,
        pb::IngestAudienceResponse {
            request_id: "many".into(),
            settled_through: 10_000,
            summary: Some(pb::AudienceSummary { received: 10_000, added: 10_000, ..Default::default() }),
            ..Default::default()
        }
    );
    assert_eq!((messaged(&app).await, app.upstream_calls("add").await.len()), (10_000, 100));
}

#[tokio::test]
async fn a_repeat_a_prefix_and_a_superset_send_only_what_is_new() {
    let app = App::start().await;
    ingest(&app, request_id("again"), items(250)).await.unwrap();
    let again = ingest(&app, request_id("again"), items(250)).await.unwrap();
    assert_eq!((again.replayed(), again.summary().replayed, again.summary().added), (250, 250, 250));
    let prefix = ingest(&app, request_id("again"), items(90)).await.unwrap();
    assert_eq!((prefix.replayed(), prefix.results.len()), (90, 90));
    let superset = ingest(&app, request_id("again"), items(400)).await.unwrap();
    assert_eq!((superset.replayed(), superset.summary().added), (250, 400));
    assert_eq!(messaged(&app).await, 400);
    // AddAudience is another door to the same house.
    let added = app.add(request_id("again"), items(400)).await.unwrap();
    assert_eq!(added.summary.unwrap().replayed, 400);
    assert_eq!(messaged(&app).await, 400);
}

#[tokio::test]
async fn a_caller_that_knows_what_is_settled_resumes_there() {
    let app = App::start().await;
    ingest(&app, request_id("resumed"), items(300).drain(..120).collect()).await.unwrap();
    let options = pb::AudienceOptions { first_index: 100, ..request_id("resumed") };
    let told = ingest(&app, options, items(300).drain(100..).collect()).await.unwrap();
    assert_eq!((told.results[0].index, told.replayed(), told.results.len()), (100, 20, 200));
    assert_eq!(told.summary().received, 200);
    assert_eq!(messaged(&app).await, 300);
}

#[tokio::test]
async fn a_stream_that_breaks_off_leaves_what_was_settled_to_the_repeat() {
    let app = App::start().await;
    let (send, mut stream) = open(&app, request_id("broken")).await;
    send.send(message(items(150))).await.unwrap();
    while stream.next().await.unwrap().unwrap().settled_through < 150 {}
    drop(stream);
    drop(send);
    let told = ingest(&app, request_id("broken"), items(500)).await.unwrap();
    assert_eq!((told.replayed(), told.summary().added), (150, 500));
    assert_eq!(messaged(&app).await, 500);
}

#[tokio::test]
async fn a_list_with_bad_numbers_costs_at_most_one_window_of_doubt() {
    let app = App::start().await;
    // The mark is a hundred thousand: BAD_LIST=100000.
    let size = std::env::var("BAD_LIST").map_or(3_000, |size| size.parse().unwrap());
    let mut list = items(size);
    let is_bad = |n: usize| n % 100 == 37;
    (0..list.len()).filter(|n| is_bad(*n)).for_each(|n| list[n] = item("abc"));
    let told = ingest(&app, request_id("bad"), list).await.unwrap();
    let in_doubt = told.dispositions().iter().filter(|d| **d == Disposition::InDoubt).count();
    assert!(in_doubt <= 4 * 100, "{in_doubt}");
    let last_doubt = told.dispositions().iter().rposition(|d| *d == Disposition::InDoubt).unwrap();
    for (n, disposition) in told.dispositions().into_iter().enumerate().skip(last_doubt + 1) {
        let expected = if is_bad(n) { Disposition::Rejected } else { Disposition::Added };
        assert_eq!(disposition, expected, "{n}");
    }
    assert_eq!(told.last.termination, None);
    messaged(&app).await;
    println!("{size} items, {in_doubt} in doubt: {:?}", told.summary());
}

#[tokio::test]
async fn with_atomic_batches_halving_finds_each_bad_item_and_leaves_no_doubt() {
    let options = Options { batches: Batches::Atomic, ..Options::default() };
    let app = App::with(options, &["--upstream-batches=atomic"]).await;
    let mut list = items(500);
    [3, 204, 205, 499].iter().for_each(|n| list[*n] = item("abc"));
    let told = ingest(&app, request_id("atomic"), list).await.unwrap();
    assert_eq!((told.summary().added, told.summary().rejected, told.summary().in_doubt), (496, 4, 0));
    assert_eq!(messaged(&app).await, 496);
}

#[tokio::test]
async fn an_item_that_came_back_changed_ends_the_stream_before_it_is_sent() {
    let app = App::start().await;
    ingest(&app, request_id("reused"), items(100)).await.unwrap();
    let mut list = items(300);
    list[80] = item("5511955555555");
    let told = ingest(&app, request_id("reused"), list).await.unwrap();
    let termination = told.last.termination.clone().unwrap();
    assert_eq!(termination.reason(), ErrorReason::RequestIdReused);
    assert_eq!(termination.metadata["index"], "80");
    assert!(told.summary().replayed >= 70 && told.summary().received < 300);
    assert_eq!(messaged(&app).await, 100);
}

#[tokio::test]
async fn a_cause_that_ends_the_call_is_a_status_where_nobody_can_have_been_messaged() {
    let app = App::start().await;
    let body = json!({"statusCode": 401, "message": "Missing or invalid API key"});
    app.rest.fault(json!({"operation": "add", "after": 1, "status": 401, "body": body})).await;
    // The first batch was taken, so the end is told beside its results.
    let told = ingest(&app, request_id("ended"), items(300)).await.unwrap();
    assert_eq!(told.last.termination.clone().unwrap().reason(), ErrorReason::ApiKeyInvalid);
    assert_eq!(told.dispositions()[..100], [Disposition::Added; 100]);
    assert!(told.dispositions()[100..].iter().all(|disposition| *disposition == Disposition::NotAttempted));
    let status = ingest(&app, request_id("not begun"[..3].into()), items(300)).await.err().unwrap();
    assert_eq!(reason(&status), (Code::Unauthenticated, "API_KEY_INVALID".into()));
    assert_eq!(messaged(&app).await, 100);
}

#[tokio::test]
async fn bad_input_is_refused_by_name() {
    let app = App::start().await;
    let send = async |messages: Vec<pb::IngestAudienceRequest>| {
        let stream = app.client.clone().ingest_audience(keyed(tokio_stream::iter(messages))).await?;
        read(stream.into_inner(), 0).await
    };
    let status = send(vec![]).await.err().unwrap();
    assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_INVALID".into()));
    let status = send(vec![first(request_id("empty"))]).await.err().unwrap();
    assert!(status.message().contains("items"), "{status:?}");
    let nameless = pb::IngestAudienceRequest { campaign_id: String::new(), ..first(request_id("a b")) };
    let status = send(vec![nameless]).await.err().unwrap();
    assert!(status.message().contains("campaign_id") && status.message().contains("1 more"), "{status:?}");

    // Found on the way: what was sent by then stands.
    let other = pb::IngestAudienceRequest { campaign_id: "other".into(), ..message(items(1)) };
    let (feed, stream) = open(&app, request_id("late")).await;
    feed.send(message(items(5))).await.unwrap();
    let mut stream = stream;
    while stream.next().await.unwrap().unwrap().settled_through < 5 {}
    feed.send(other).await.unwrap();
    let told = read(stream, 5).await.unwrap();
    let termination = told.last.termination.clone().unwrap();
    assert_eq!(termination.reason(), ErrorReason::FieldInvalid);
    assert_eq!((told.summary().received, told.summary().added), (5, 5));
    assert_eq!(messaged(&app).await, 5);
}

#[tokio::test]
async fn validation_alone_sends_nothing_and_names_each_fault() {
    let app = App::start().await;
    let mut list = items(200);
    list[50] = item("");
    list[60] = list[59].clone();
    let options = pb::AudienceOptions {
        validate_only: true,
        reject_duplicate_recipients: true,
        ..request_id("validated")
    };
    let told = ingest(&app, options, list).await.unwrap();
    assert_eq!((told.summary().valid, told.summary().invalid), (198, 2));
    let why = |n: usize| told.results[n].failure.clone().unwrap().reason();
    assert_eq!((why(50), why(60)), (ErrorReason::IdentifierInvalid, ErrorReason::DuplicateRecipient));
    assert_eq!(app.upstream_calls("add").await.len(), 0);
}

#[tokio::test]
async fn a_caller_that_does_not_read_is_not_read_either() {
    let app = App::start().await;
    let (send, stream) = open(&app, request_id("slow")).await;
    // Large failures, so that a few thousand of them fill every window between here and there.
    let bad = pb::AudienceItem {
        item_id: "i".repeat(128),
        tags: vec!["x".repeat(129); 100],
        ..item("5511999999999")
    };
    let mut sent = 0;
    while let Ok(done) =
        tokio::time::timeout(Duration::from_secs(2), send.send(message(vec![bad.clone(); 100]))).await
    {
        done.unwrap();
        sent += 100;
        assert!(sent < 200_000, "the server reads on and on");
    }
    drop(send);
    let told = read(stream, 0).await.unwrap();
    assert_eq!(told.summary().invalid, sent);
    assert!(told.largest < 2 << 20, "{} bytes in one message", told.largest);
}

#[tokio::test]
async fn a_caller_with_small_messages_may_be_far_ahead_of_its_items() {
    let app = App::start().await;
    // For so long nothing moves on, and every window between here and there fills up.
    app.rest.fault(json!({"operation": "add", "count": 1, "latency_ms": 1_000})).await;
    let messages = std::iter::once(first(request_id("small")))
        .chain(items(30_000).into_iter().map(|item| message(vec![item])));
    // Each message in a frame of its own: what is ready at once, tonic would send in one.
    let one_by_one = tokio_stream::iter(messages.collect::<Vec<_>>()).then(async |message| {
        tokio::task::yield_now().await;
        message
    });
    let stream = app.client.clone().ingest_audience(keyed(one_by_one)).await.unwrap().into_inner();
    let told = read(stream, 0).await.unwrap();
    assert_eq!(told.summary().added, 30_000);
}

#[tokio::test]
async fn a_view_leaves_results_out_and_still_counts_them() {
    let app = App::start().await;
    let mut list = items(120);
    list[7] = item("");
    let options =
        pb::AudienceOptions { result_view: pb::ResultView::Failures.into(), ..request_id("viewed") };
    let told = ingest(&app, options, list).await.unwrap();
    let indexes: Vec<i64> = told.results.iter().map(|result| result.index).collect();
    assert_eq!((indexes, told.last.settled_through, told.summary().added), (vec![7], 120, 119));
}
