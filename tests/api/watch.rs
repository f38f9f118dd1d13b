//! Watching through gRPC: each message once, each change once, and one upstream bill for all watchers.

use std::{collections::HashSet, time::Duration};

use blubash_grpc::{
    pb::{self, watch_messages_response::Event},
    sandbox::{self, SEEDED},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, keyed, reason, with_key};

type Stream = Streaming<pb::WatchMessagesResponse>;

fn of(campaign: &str) -> pb::WatchMessagesRequest {
    let heartbeat = prost_types::Duration { seconds: 0, nanos: 1 };
    pb::WatchMessagesRequest {
        campaign_id: campaign.into(),
        heartbeat_interval: Some(heartbeat),
        ..Default::default()
    }
}

async fn seed(app: &App, count: usize) {
    let seed = json!({"campaign": EVERGREEN, "count": count});
    app.rest.control(Method::POST, "seed", seed).await;
}

async fn next(stream: &mut Stream) -> Event {
    let response = stream.message().await.unwrap().expect("the watch goes on");
    assert!(!response.resume_token.is_empty(), "every response can be gone on from");
    assert!(response.observe_time.is_some());
    response.event.unwrap()
}

/// The changes of the snapshot, and the count that ended it.
async fn snapshot(stream: &mut Stream) -> (Vec<pb::MessageChange>, i64) {
    let mut changes = Vec::new();
    loop {
        match next(stream).await {
            Event::Changes(more) => changes.extend(more.changes),
            Event::SnapshotComplete(complete) => return (changes, complete.message_count),
            Event::Heartbeat(_) => {}
            Event::WatchReset(_) => panic!("a reset"),
        }
    }
}

/// So many changes, in order.
async fn changes(stream: &mut Stream, count: usize) -> Vec<pb::MessageChange> {
    let mut changes = Vec::new();
    while changes.len() < count {
        match next(stream).await {
            Event::Changes(more) => changes.extend(more.changes),
            Event::Heartbeat(_) => {}
            event => panic!("{event:?}"),
        }
    }
    changes
}

fn id(change: &pb::MessageChange) -> &str {
    &change.message.as_ref().unwrap().message_id
}

fn status(change: &pb::MessageChange) -> pb::MessageStatus {
    change.message.as_ref().unwrap().status()
}

async fn end(mut stream: Stream) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended with OK"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_are_told_each_once_and_so_is_each_change() {
    let app = App::start().await;
    seed(&app, 10_000).await;
    let request = pb::WatchMessagesRequest { complete_when_terminal: true, ..of(EVERGREEN) };
    let mut stream = app.watch(request).await.unwrap();
    let (first, count) = snapshot(&mut stream).await;
    assert_eq!((first.len(), count), (10_000, 10_000));
    let all: HashSet<_> = first.iter().map(id).collect();
    assert_eq!(all.len(), 10_000);
    assert!(first.iter().all(|c| c.previous_status() == pb::MessageStatus::Unspecified));

    for (seconds, from, to) in [
        (2, pb::MessageStatus::Pending, pb::MessageStatus::Queued),
        (30, pb::MessageStatus::Queued, pb::MessageStatus::Sent),
    ] {
        app.rest.advance(seconds).await;
        let changes = changes(&mut stream, 10_000).await;
        assert_eq!(changes.len(), 10_000);
        assert_eq!(changes.iter().map(id).collect::<HashSet<_>>(), all);
        assert!(changes.iter().all(|c| (c.previous_status(), status(c), c.removed) == (from, to, false)));
    }
    assert_eq!(stream.message().await.unwrap(), None, "nothing more is told, and all are terminal");
}

/// The offsets that the upstream was asked for while so many watched, and for how long they did.
async fn sweeps(watchers: usize) -> (Vec<String>, Duration) {
    let app = App::start().await;
    seed(&app, 250).await;
    // All join before the first sweep ends.
    app.rest.fault(json!({"operation": "list", "count": 1, "latency_ms": 500})).await;
    let began = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..watchers {
        streams.push(app.watch(of(EVERGREEN)).await.unwrap());
    }
    for stream in &mut streams {
        assert_eq!(snapshot(stream).await.1, 250);
    }
    while !matches!(next(&mut streams[0]).await, Event::Heartbeat(_)) {}
    let (calls, elapsed) = (app.upstream_calls("list").await, began.elapsed());
    assert!(app.upstream_calls("get").await.is_empty());
    (calls.iter().map(|call| call["query"].as_str().unwrap().to_owned()).collect(), elapsed)
}

#[tokio::test]
async fn a_hundred_watchers_cost_the_upstream_what_one_costs() {
    for watchers in [1, 100] {
        let (calls, elapsed) = sweeps(watchers).await;
        // One round after another, three pages each: no page is asked for on anyone's own account.
        for (at, query) in calls.iter().enumerate() {
            assert_eq!(*query, format!("limit=100&offset={}", at % 3 * 92), "{watchers}: call {at}");
        }
        let paced = elapsed.as_millis() as usize / 100 + 1;
        assert!((6..=paced * 3).contains(&calls.len()), "{watchers}: {} calls in {elapsed:?}", calls.len());
    }
}

#[tokio::test]
async fn a_watch_tells_only_the_messages_and_statuses_that_it_names() {
    let app = App::start().await;
    let names = ["msg-seeded-sent", "msg-seeded-queued", "no-such-message"];
    let request = pb::WatchMessagesRequest { message_ids: names.map(Into::into).into(), ..of(SEEDED) };
    let (told, count) = snapshot(&mut app.watch(request).await.unwrap()).await;
    assert_eq!(
        (told.iter().map(id).collect::<HashSet<_>>(), count),
        (names[..2].iter().copied().collect(), 2)
    );

    let cancelled = pb::MessageStatus::Cancelled;
    let request = pb::WatchMessagesRequest { statuses: vec![cancelled.into()], ..of(SEEDED) };
    let mut stream = app.watch(request).await.unwrap();
    let (told, count) = snapshot(&mut stream).await;
    assert_eq!((told.len(), count), (2, 2));
    app.cancel(SEEDED, "msg-seeded-queued").await.unwrap();
    let change = &changes(&mut stream, 1).await[0];
    assert_eq!((id(change), status(change)), ("msg-seeded-queued", cancelled));
}

#[tokio::test]
async fn a_watch_that_skips_the_present_state_tells_only_what_changes() {
    let app = App::start().await;
    let skip = pb::InitialState::Skip.into();
    let mut stream = app.watch(pb::WatchMessagesRequest { initial_state: skip, ..of(SEEDED) }).await.unwrap();
    let (told, count) = snapshot(&mut stream).await;
    assert_eq!((told.len(), count), (0, 0));
    app.cancel(SEEDED, "msg-seeded-queued-zone").await.unwrap();
    let told = changes(&mut stream, 1).await;
    assert_eq!((told.len(), id(&told[0])), (1, "msg-seeded-queued-zone"));
    assert_eq!(told[0].previous_status(), pb::MessageStatus::Queued);
}

#[tokio::test]
async fn heartbeats_come_no_faster_than_one_a_second() {
    let app = App::start().await;
    let mut stream = app.watch(of(SEEDED)).await.unwrap();
    snapshot(&mut stream).await;
    for _ in 0..2 {
        let began = Instant::now();
        let Event::Heartbeat(beat) = next(&mut stream).await else { panic!("nothing has changed") };
        assert!((900..3_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        assert!(beat.last_poll_time.is_some() && beat.upstream_failure.is_none());
        let prost_types::Duration { seconds, nanos } = beat.poll_interval.unwrap();
        // More only where a round took longer than half of it.
        assert!(seconds == 0 && nanos >= 100_000_000, "{nanos}");
    }
}

#[tokio::test]
async fn an_empty_campaign_completes_at_once() {
    let app = App::start().await;
    let request = pb::WatchMessagesRequest { complete_when_terminal: true, ..of(sandbox::EMPTY) };
    let mut stream = app.watch(request).await.unwrap();
    assert_eq!(snapshot(&mut stream).await.1, 0);
    assert_eq!(stream.message().await.unwrap(), None);
}

/// The tokens of everything that is told up to the end of the snapshot, and how many changes that were.
async fn tokens(stream: &mut Stream) -> (Vec<String>, usize) {
    let (mut tokens, mut told) = (Vec::new(), 0);
    loop {
        let response = stream.message().await.unwrap().expect("the watch goes on");
        tokens.push(response.resume_token);
        match response.event.unwrap() {
            Event::Changes(more) => told += more.changes.len(),
            Event::SnapshotComplete(_) => return (tokens, told),
            Event::Heartbeat(_) => {}
            Event::WatchReset(_) => panic!("a reset"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_lost_its_stream_goes_on_from_any_of_its_tokens() {
    let app = App::start().await;
    seed(&app, 3_000).await;
    let mut stream = app.watch(of(EVERGREEN)).await.unwrap();
    let (tokens, told) = tokens(&mut stream).await;
    assert_eq!(told, 3_000);
    assert!(tokens.len() > 5, "{}", tokens.len());
    drop(stream);
    let resume =
        |token: &String| app.watch(pb::WatchMessagesRequest { resume_token: token.clone(), ..of(EVERGREEN) });
    // In the midst of the snapshot: the rest of it, counted with what came before.
    let mut stream = resume(&tokens[1]).await.unwrap();
    let (rest, count) = snapshot(&mut stream).await;
    assert!(!rest.is_empty() && rest.len() < 3_000 && count == 3_000, "{} {count}", rest.len());
    drop(stream);
    // After it: what has changed while nobody watched, against what was told.
    app.rest.advance(2).await;
    let mut stream = resume(tokens.last().unwrap()).await.unwrap();
    let told = changes(&mut stream, 3_000).await;
    assert!(told.iter().all(|c| c.previous_status() == pb::MessageStatus::Pending));
    assert_eq!(told.iter().map(id).collect::<HashSet<_>>().len(), 3_000);
}

#[tokio::test]
async fn a_resume_token_is_good_for_its_own_workspace_campaign_and_filter_only() {
    let app = App::start().await;
    let mut stream = app.watch(of(SEEDED)).await.unwrap();
    let (tokens, _) = tokens(&mut stream).await;
    let token = tokens.last().unwrap();
    let with = |resume_token: &str, request| pb::WatchMessagesRequest {
        resume_token: resume_token.into(),
        ..request
    };
    let sent = vec![pb::MessageStatus::Sent.into()];
    for request in [
        with("token", of(SEEDED)),
        with(&token[1..], of(SEEDED)),
        with(&"A".repeat(2_000), of(SEEDED)),
        with(token, of(EVERGREEN)),
        with(token, pb::WatchMessagesRequest { statuses: sent, ..of(SEEDED) }),
        with(token, pb::WatchMessagesRequest { message_ids: vec!["m".into()], ..of(SEEDED) }),
    ] {
        let status = app.watch(request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "RESUME_TOKEN_INVALID".into()));
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "resume_token");
    }
    let globex = with_key(with(token, of(SEEDED)), sandbox::GLOBEX_API_KEY);
    let status = app.client.clone().watch_messages(globex).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "RESUME_TOKEN_INVALID".into()));
}

#[tokio::test]
async fn a_watch_ends_with_the_server() {
    let mut app = App::start().await;
    let mut stream = app.watch(of(SEEDED)).await.unwrap();
    snapshot(&mut stream).await;
    let (status, ()) = tokio::join!(end(stream), app.drain());
    assert_eq!(reason(&status), (Code::Unavailable, "SERVER_DRAINING".into()));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
}

#[tokio::test]
async fn a_refusal_ends_a_watch_at_its_start_and_later() {
    let app = App::start().await;
    let status = end(app.watch(of("no-such-campaign")).await.unwrap()).await;
    assert_eq!(reason(&status), (Code::NotFound, "CAMPAIGN_NOT_FOUND".into()));
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, "no-such-campaign");
    let bad_key = app.client.clone().watch_messages(with_key(of(SEEDED), "no-such-key")).await.unwrap();
    let status = end(bad_key.into_inner()).await;
    assert_eq!(reason(&status), (Code::Unauthenticated, "API_KEY_INVALID".into()));

    let mut stream = app.watch(of(SEEDED)).await.unwrap();
    snapshot(&mut stream).await;
    app.rest.fault(json!({"operation": "list", "status": 401})).await;
    assert_eq!(reason(&end(stream).await), (Code::Unauthenticated, "API_KEY_INVALID".into()));
}

#[tokio::test]
async fn an_upstream_that_is_down_ends_no_watch() {
    let app = App::start().await;
    let mut stream = app.watch(of(SEEDED)).await.unwrap();
    snapshot(&mut stream).await;
    app.rest.fault(json!({"operation": "list", "status": 500})).await;
    let failure = loop {
        let Event::Heartbeat(beat) = next(&mut stream).await else { panic!("nothing has changed") };
        if let Some(failure) = beat.upstream_failure {
            break failure;
        }
    };
    assert_eq!(failure.reason(), pb::ErrorReason::UpstreamUnavailable);
    assert_eq!(failure.code, i32::from(Code::Unavailable));
    app.rest.control(Method::DELETE, "faults", Value::Null).await;
    app.cancel(SEEDED, "msg-seeded-queued").await.unwrap();
    assert_eq!(id(&changes(&mut stream, 1).await[0]), "msg-seeded-queued");
    loop {
        let Event::Heartbeat(beat) = next(&mut stream).await else { panic!("nothing has changed") };
        if beat.upstream_failure.is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn a_watch_says_itself_that_its_deadline_came() {
    let app = App::start().await;
    let mut request = keyed(of(SEEDED));
    request.set_timeout(Duration::from_secs(1));
    let began = Instant::now();
    let stream = app.client.clone().watch_messages(request).await.unwrap().into_inner();
    assert_eq!(reason(&end(stream).await), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
