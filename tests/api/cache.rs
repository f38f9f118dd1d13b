//! What was read is not asked for again, and what was written through this server shows at once.

use std::time::Duration;

use blubash_grpc::{
    pb::{self, MessageStatus},
    sandbox::{Options, SEEDED, SEEDED_MESSAGES},
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tonic::{Code, Status};

use crate::harness::{App, EVERGREEN, items, keyed, reason, request_id};

fn staleness(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn get(app: &App, campaign: &str, id: &str, max_staleness: i64) -> Result<MessageStatus, Status> {
    let (campaign_id, message_id) = (campaign.to_owned(), id.to_owned());
    let request = pb::GetMessageRequest { campaign_id, message_id, max_staleness: staleness(max_staleness) };
    let answer = app.client.clone().get_message(keyed(request)).await?.into_inner();
    assert!(answer.observe_time.is_some());
    Ok(answer.message.unwrap().status())
}

async fn count(
    app: &App,
    campaign: &str,
    max_staleness: Option<prost_types::Duration>,
) -> Result<pb::CountMessagesResponse, Status> {
    let request = pb::CountMessagesRequest { campaign_id: campaign.into(), max_staleness };
    app.client.clone().count_messages(keyed(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn two_hundred_equal_reads_at_once_ask_the_upstream_once() {
    let app = App::start().await;
    let slow = json!({"operation": "get", "count": 1, "latency_ms": 200});
    app.rest.fault(slow).await;
    let reads = (0..200).map(|_| app.get(SEEDED, SEEDED_MESSAGES[0]));
    assert!(join_all(reads).await.into_iter().all(|read| read.is_ok()));
    assert_eq!(app.upstream_calls("get").await.len(), 1);
}

#[tokio::test]
async fn what_was_cancelled_here_is_read_as_cancelled_however_old_an_answer_may_be() {
    let app = App::start().await;
    let added = app.add(request_id("r"), items(1)).await.unwrap();
    let id = added.results[0].added.clone().unwrap().message_id;
    app.rest.advance(2).await;
    let page = pb::ListMessagesRequest {
        campaign_id: EVERGREEN.into(),
        max_staleness: staleness(3_600),
        ..Default::default()
    };
    assert_eq!(get(&app, EVERGREEN, &id, 3_600).await.unwrap(), MessageStatus::Queued);
    assert_eq!(app.list(page.clone()).await.unwrap().messages[0].status(), MessageStatus::Queued);
    app.cancel(EVERGREEN, &id).await.unwrap();
    assert_eq!(get(&app, EVERGREEN, &id, 3_600).await.unwrap(), MessageStatus::Cancelled);
    assert_eq!(app.list(page).await.unwrap().messages[0].status(), MessageStatus::Cancelled);
    let counts = count(&app, EVERGREEN, staleness(3_600)).await.unwrap().counts;
    assert_eq!(counts[0].status(), MessageStatus::Cancelled);
}

#[tokio::test]
async fn what_was_added_here_shows_in_the_next_page_and_count() {
    let app = App::start().await;
    let page = || pb::ListMessagesRequest {
        campaign_id: EVERGREEN.into(),
        max_staleness: staleness(3_600),
        ..Default::default()
    };
    assert!(app.list(page()).await.unwrap().messages.is_empty());
    assert_eq!(count(&app, EVERGREEN, staleness(3_600)).await.unwrap().total, 0);
    app.add(request_id("r"), items(3)).await.unwrap();
    assert_eq!(app.list(page()).await.unwrap().messages.len(), 3);
    assert_eq!(count(&app, EVERGREEN, staleness(3_600)).await.unwrap().total, 3);
}

#[tokio::test]
async fn a_terminal_message_is_asked_for_once_and_a_caller_may_insist() {
    let app = App::start().await;
    for _ in 0..3 {
        app.get(SEEDED, "msg-seeded-sent").await.unwrap();
    }
    assert_eq!(app.upstream_calls("get").await.len(), 1);
    get(&app, SEEDED, "msg-seeded-sent", 0).await.unwrap();
    assert_eq!(app.upstream_calls("get").await.len(), 2);
}

#[tokio::test]
async fn with_the_cache_switched_off_each_read_asks() {
    let app = App::with(Options::default(), &["--cache-moving-for=0s", "--cache-terminal-for=0s"]).await;
    for _ in 0..3 {
        app.get(SEEDED, "msg-seeded-sent").await.unwrap();
    }
    assert_eq!(app.upstream_calls("get").await.len(), 3);
}

#[tokio::test]
async fn what_is_known_is_answered_while_the_upstream_is_down_and_says_how_old_it_is() {
    let app = App::start().await;
    get(&app, SEEDED, "msg-seeded-queued", 0).await.unwrap();
    app.rest.fault(json!({"operation": "get", "count": 100, "status": 503})).await;
    assert_eq!(get(&app, SEEDED, "msg-seeded-queued", 60).await.unwrap(), MessageStatus::Queued);
    let down = get(&app, SEEDED, "msg-seeded-queued", 0).await.unwrap_err();
    assert_eq!(reason(&down), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".into()));
}

#[tokio::test]
async fn messages_are_counted_by_status_in_one_sweep_for_all_who_ask() {
    let app = App::start().await;
    for (status, count) in [("SENT", 250), ("FAILED", 40), ("QUEUED", 7)] {
        let seed = json!({"campaign": EVERGREEN, "count": count, "status": status});
        app.rest.control(Method::POST, "seed", seed).await;
    }
    let counts = join_all((0..20).map(|_| count(&app, EVERGREEN, None))).await;
    for counts in counts {
        let counts = counts.unwrap();
        let by_status: Vec<_> = counts.counts.iter().map(|c| (c.status(), c.count)).collect();
        use MessageStatus::{Failed, Queued, Sent};
        assert_eq!(by_status, [(Queued, 7), (Sent, 250), (Failed, 40)]);
        assert_eq!(counts.total, 297);
        assert!(counts.observe_time.is_some());
    }
    assert!(app.upstream_calls("list").await.len() <= 5, "one sweep of four pages");
}

#[tokio::test]
async fn a_watched_campaign_is_counted_without_a_call() {
    let app = App::with(Options::default(), &["--poll-interval=10m"]).await;
    let seed = json!({"campaign": EVERGREEN, "count": 3, "status": "SENT"});
    app.rest.control(Method::POST, "seed", seed).await;
    let watch = pb::WatchMessagesRequest { campaign_id: EVERGREEN.into(), ..Default::default() };
    let mut watch = app.watch(watch).await.unwrap();
    while let Some(told) = watch.message().await.unwrap() {
        if let Some(pb::watch_messages_response::Event::SnapshotComplete(_)) = told.event {
            break;
        }
    }
    let before = app.upstream_calls("list").await.len();
    assert_eq!(count(&app, EVERGREEN, None).await.unwrap().total, 3);
    assert_eq!(app.upstream_calls("list").await.len(), before);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(count(&app, EVERGREEN, staleness(0)).await.unwrap().total, 3);
    assert!(app.upstream_calls("list").await.len() > before, "0 s asks the upstream");
}

#[tokio::test]
async fn a_campaign_that_does_not_exist_has_no_count() {
    let app = App::start().await;
    let status = count(&app, "camp-nowhere", None).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "CAMPAIGN_NOT_FOUND".into()));
    let nameless = count(&app, "", None).await.unwrap_err();
    assert_eq!(reason(&nameless), (Code::InvalidArgument, "FIELD_INVALID".into()));
    assert!(nameless.message().contains("campaign_id"), "{}", nameless.message());
}
