//! Reading: one message, and page by page, whatever the upstream's list looks like.

use std::{collections::HashSet, time::Duration};

use blubash_grpc::{
    pb,
    sandbox::{self, Envelope, ListOrder, Options, SEEDED, SEEDED_MESSAGES},
};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, keyed, reason, with_key};

const ENVELOPES: [Envelope; 5] =
    [Envelope::Items, Envelope::Messages, Envelope::Data, Envelope::Nested, Envelope::Bare];
const ORDERS: [ListOrder; 3] =
    [ListOrder::OldestFirst, ListOrder::NewestFirst, ListOrder::RecentlyUpdatedFirst];

fn page(campaign: &str, page_size: i32, page_token: &str) -> pb::ListMessagesRequest {
    pb::ListMessagesRequest {
        campaign_id: campaign.into(),
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    }
}

async fn filled(options: Options, count: usize) -> App {
    let app = App::with(options, &[]).await;
    let seed = json!({"campaign": EVERGREEN, "count": count, "status": "SENT"});
    app.rest.control(Method::POST, "seed", seed).await;
    app
}

/// Reads 10,000 messages in pages of at most so many, and holds them against what is really there.
async fn read_all(envelope: Envelope, list_order: ListOrder, total: bool, page_size: i32) {
    let case = format!("{envelope:?}, {list_order:?}, total {total}, pages of {page_size}");
    let app = filled(Options { envelope, list_order, total, ..Options::default() }, 10_000).await;
    let mut ids: Vec<String> = Vec::new();
    let mut token = String::new();
    loop {
        let page = app.list(page(EVERGREEN, page_size, &token)).await.unwrap();
        assert!(page.messages.len() <= 100.min(page_size as usize), "{case}");
        assert!(page.observe_time.is_some(), "{case}");
        let told = (total && envelope != Envelope::Bare).then_some(10_000);
        assert_eq!(page.total_size, told, "{case}");
        assert!(page.messages.iter().all(|m| m.campaign_id == EVERGREEN), "{case}");
        ids.extend(page.messages.into_iter().map(|message| message.message_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        assert!(ids.len() <= 10_000, "{case}: a last page has no token");
    }
    let truth = app.rest.truth().await;
    let mut truth: Vec<_> = truth.iter().map(|m| m["messageId"].as_str().unwrap()).collect();
    if list_order != ListOrder::OldestFirst {
        truth.reverse();
    }
    assert!(ids == truth, "{case}: in the upstream's order, each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_are_read_each_once_in_every_order_and_envelope() {
    for list_order in ORDERS {
        for envelope in ENVELOPES {
            read_all(envelope, list_order, true, 1_000).await;
        }
        read_all(Envelope::Items, list_order, false, 1_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_are_read_each_once_in_pages_that_do_not_divide_them() {
    for total in [true, false] {
        read_all(Envelope::Items, ListOrder::NewestFirst, total, 37).await;
    }
    for envelope in ENVELOPES {
        read_all(envelope, ListOrder::OldestFirst, false, 100).await;
    }
}

#[tokio::test]
async fn a_filter_keeps_its_statuses_on_every_page() {
    let app = App::start().await;
    let sent = pb::MessageStatus::Sent;
    let queued = pb::MessageStatus::Queued;
    let request =
        pb::ListMessagesRequest { statuses: vec![sent.into(), queued.into()], ..page(SEEDED, 2, "") };
    let found = app.list_all(request).await;
    assert!(found.iter().all(|m| [sent, queued].contains(&m.status())));
    let ids: HashSet<_> = found.iter().map(|m| m.message_id.as_str()).collect();
    let wanted = |id: &&str| id.starts_with("msg-seeded-sent") || id.starts_with("msg-seeded-queued");
    assert_eq!(ids, SEEDED_MESSAGES.into_iter().filter(wanted).collect());
    assert_eq!(found.len(), ids.len(), "none twice");
    // The total ignores the filter.
    let all = pb::ListMessagesRequest { statuses: vec![sent.into()], ..page(SEEDED, 100, "") };
    assert_eq!(app.list(all).await.unwrap().total_size, Some(12));
}

#[tokio::test]
async fn a_campaign_without_messages_is_one_empty_page() {
    for total in [true, false] {
        let app = App::with(Options { total, ..Options::default() }, &[]).await;
        let answer = app.list(page(sandbox::EMPTY, 10, "")).await.unwrap();
        assert!(answer.messages.is_empty() && answer.next_page_token.is_empty());
    }
}

fn is_a_bad_token(answer: Result<impl Sized, Status>, case: &str) {
    let Err(status) = answer else { panic!("{case}: was taken") };
    assert_eq!(reason(&status), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()), "{case}");
    let wrong = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(wrong.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["page_token"], "{case}");
}

#[tokio::test]
async fn a_token_that_was_not_given_for_this_call_is_refused_before_anything_is_asked() {
    let app = App::start().await;
    let token = app.list(page(SEEDED, 2, "")).await.unwrap().next_page_token;
    assert!(app.list(page(SEEDED, 5, &token)).await.is_ok(), "the page size may change");
    let asked = app.upstream_calls("list").await.len();

    is_a_bad_token(app.list(page(EVERGREEN, 2, &token)).await, "another campaign");
    let elsewhere = with_key(page(SEEDED, 2, &token), sandbox::GLOBEX_API_KEY);
    is_a_bad_token(app.client.clone().list_messages(elsewhere).await, "another workspace");
    let filtered = pb::ListMessagesRequest { statuses: vec![4], ..page(SEEDED, 2, &token) };
    is_a_bad_token(app.list(filtered).await, "another filter");
    let long = "A".repeat(100_000);
    for garbage in ["x", "AAAA", " ", "\0", "ünï", "2", &long, &format!("{token}=")] {
        is_a_bad_token(app.list(page(SEEDED, 2, garbage)).await, garbage);
    }
    for at in 0..token.len() {
        let mut flipped = token.clone().into_bytes();
        flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).unwrap();
        is_a_bad_token(app.list(page(SEEDED, 2, &flipped)).await, &flipped);
    }
    is_a_bad_token(app.list(page(SEEDED, 2, &token[..token.len() - 1])).await, "cut short");
    assert_eq!(app.upstream_calls("list").await.len(), asked);
}

#[tokio::test]
async fn a_message_is_read_in_every_envelope() {
    for envelope in ENVELOPES {
        let app = App::with(Options { envelope, ..Options::default() }, &[]).await;
        for id in SEEDED_MESSAGES {
            let request = pb::GetMessageRequest {
                campaign_id: SEEDED.into(),
                message_id: id.into(),
                max_staleness: None,
            };
            let answer = app.client.clone().get_message(keyed(request)).await.unwrap().into_inner();
            assert!(answer.observe_time.is_some());
            let message = answer.message.unwrap();
            assert_eq!((message.message_id.as_str(), message.campaign_id.as_str()), (id, SEEDED));
            let word = id.split('-').nth(2).unwrap().to_uppercase();
            assert_eq!(message.upstream_status, word);
            assert_eq!(message.status().as_str_name(), format!("MESSAGE_STATUS_{word}"));
            assert_eq!(
                message.schedule.is_some(),
                id.ends_with("-instant") || id.ends_with("-zone") || id.ends_with("-queued")
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let app = App::start().await;
    let resource = |status: &Status| {
        let info = status.get_details_resource_info().unwrap();
        (info.resource_type, info.resource_name)
    };
    let fact = |status: &Status, key: &str| status.get_details_error_info().unwrap().metadata[key].clone();

    for status in [
        app.get(SEEDED, "no-such-message").await.unwrap_err(),
        app.cancel(SEEDED, "no-such-message").await.unwrap_err(),
    ] {
        assert_eq!(reason(&status), (Code::NotFound, "MESSAGE_NOT_FOUND".into()));
        assert_eq!(resource(&status), ("message".into(), "no-such-message".into()));
        assert_eq!(fact(&status, "campaign_id"), SEEDED);
        assert_eq!(fact(&status, "message_id"), "no-such-message");
    }
    for status in [
        app.get("no-such-campaign", "m").await.unwrap_err(),
        app.cancel("no-such-campaign", "m").await.unwrap_err(),
        app.list(page("no-such-campaign", 10, "")).await.unwrap_err(),
        app.add_to("no-such-campaign", Default::default(), crate::harness::items(1)).await.unwrap_err(),
    ] {
        assert_eq!(reason(&status), (Code::NotFound, "CAMPAIGN_NOT_FOUND".into()));
        assert_eq!(resource(&status), ("campaign".into(), "no-such-campaign".into()));
        assert_eq!(fact(&status, "campaign_id"), "no-such-campaign");
    }
    // Another workspace's campaign is not there either.
    let status = app.list(page(sandbox::GLOBEX, 10, "")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "CAMPAIGN_NOT_FOUND".into()));
}

#[tokio::test]
async fn reads_try_again_after_a_503_a_reset_and_a_cut_answer() {
    for fault in [json!({"status": 503}), json!({"reset_before": true}), json!({"truncate": true})] {
        let app = App::start().await;
        for operation in ["get", "list"] {
            let mut rule = fault.clone();
            rule["operation"] = operation.into();
            rule["count"] = 2.into();
            app.rest.fault(rule).await;
        }
        app.get(SEEDED, SEEDED_MESSAGES[0]).await.unwrap();
        assert_eq!(app.list(page(SEEDED, 100, "")).await.unwrap().messages.len(), 12);
        for operation in ["get", "list"] {
            assert_eq!(app.upstream_calls(operation).await.len(), 3, "{fault} {operation}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_left_alone_after_twenty_attempts() {
    let app = App::start().await;
    app.rest.fault(json!({"operation": "get", "status": 503})).await;
    let began = Instant::now();
    let mut reasons = Vec::new();
    for _ in 0..60 {
        let status = app.get(SEEDED, SEEDED_MESSAGES[0]).await.unwrap_err();
        let (code, reason) = reason(&status);
        assert_eq!(code, Code::Unavailable);
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
        reasons.push(reason);
    }
    assert_eq!(reasons[0], "UPSTREAM_UNAVAILABLE");
    assert_eq!(reasons[59], "UPSTREAM_CIRCUIT_OPEN");
    // A probe at each end of a circuit that was open.
    let probes = began.elapsed().as_secs() / 4;
    let calls = app.upstream_calls("get").await.len() as u64;
    assert!((20..=20 + probes).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_read_that_runs_out_of_time_says_so_itself_before_the_callers_deadline() {
    let app = App::start().await;
    app.rest.fault(json!({"hang_ms": 60_000})).await;
    for milliseconds in [200, 1_000] {
        let timeout = Duration::from_millis(milliseconds);
        let get = || {
            let mut request = keyed(pb::GetMessageRequest {
                campaign_id: SEEDED.into(),
                message_id: SEEDED_MESSAGES[0].into(),
                max_staleness: None,
            });
            request.set_timeout(timeout);
            request
        };
        let mut list = keyed(page(SEEDED, 10, ""));
        list.set_timeout(timeout);
        let (mut one, mut many) = (app.client.clone(), app.client.clone());
        let began = Instant::now();
        let (one, many) = tokio::join!(one.get_message(get()), many.list_messages(list));
        assert!(began.elapsed() < timeout, "{:?} of {timeout:?}", began.elapsed());
        for answer in [one.map(Response::into_inner).err(), many.map(Response::into_inner).err()] {
            // With ErrorInfo: it is the server's word, not the client's own.
            assert_eq!(reason(&answer.unwrap()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
        }
    }
}
