//! GetIngestion: the same answers later, for a caller that lost them.

use blubash_grpc::{
    pb::{self, Disposition, ErrorReason, IngestionState},
    sandbox,
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::harness::{App, EVERGREEN, item, items, keyed, reason, request_id, with_key};

fn asked(id: &str) -> pb::GetIngestionRequest {
    pb::GetIngestionRequest { campaign_id: EVERGREEN.into(), request_id: id.into(), ..Default::default() }
}

async fn get(app: &App, request: pb::GetIngestionRequest) -> Result<pb::GetIngestionResponse, Status> {
    app.client.clone().get_ingestion(keyed(request)).await.map(Response::into_inner)
}

/// Every page, joined; the first page's summary and state.
async fn get_all(app: &App, first: pb::GetIngestionRequest) -> pb::GetIngestionResponse {
    let mut joined = get(app, first.clone()).await.unwrap();
    while !joined.next_page_token.is_empty() {
        let page_token = std::mem::take(&mut joined.next_page_token);
        let page = get(app, pb::GetIngestionRequest { page_token, ..first.clone() }).await.unwrap();
        assert_eq!((page.state, page.summary), (joined.state, joined.summary));
        joined.results.extend(page.results);
        joined.next_page_token = page.next_page_token;
    }
    joined
}

#[tokio::test]
async fn every_result_of_an_ended_ingestion_comes_back_as_it_was_told() {
    let app = App::start().await;
    let mut list = items(230);
    list[40] = item("");
    for (n, item) in list.iter_mut().enumerate() {
        item.item_id = format!("row-{n}");
    }
    let told = app.add(request_id("told"), list).await.unwrap();
    for page_size in [0, 1_000, 64] {
        let got = get_all(&app, pb::GetIngestionRequest { page_size, ..asked("told") }).await;
        assert_eq!(got.state(), IngestionState::Ended);
        assert_eq!(got.summary, told.summary);
        assert_eq!(got.results, told.results);
        assert!(got.expire_time.is_some());
    }
}

#[tokio::test]
async fn a_view_and_a_page_bound_what_comes_back() {
    let app = App::start().await;
    let mut list = items(130);
    list[5] = item("");
    list[99] = item("");
    app.add(request_id("viewed"), list).await.unwrap();
    let view = |view: pb::ResultView| pb::GetIngestionRequest {
        result_view: view.into(),
        page_size: 1,
        ..asked("viewed")
    };
    let failures = get_all(&app, view(pb::ResultView::Failures)).await;
    let indexes: Vec<i64> = failures.results.iter().map(|result| result.index).collect();
    assert_eq!((indexes, failures.summary.unwrap().added), (vec![5, 99], 128));
    let summary = get(&app, view(pb::ResultView::Summary)).await.unwrap();
    assert_eq!((summary.results.len(), summary.next_page_token.as_str()), (0, ""));
    assert_eq!(summary.summary.unwrap().received, 130);
}

#[tokio::test]
async fn what_was_not_attempted_is_told_with_its_cause() {
    let app = App::start().await;
    let body = json!({"statusCode": 401, "message": "Missing or invalid API key"});
    app.rest.fault(json!({"operation": "add", "after": 1, "count": 1, "status": 401, "body": body})).await;
    let told = app.add(request_id("ended"), items(150)).await.unwrap();
    let got = get_all(&app, asked("ended")).await;
    assert_eq!((got.state(), got.summary), (IngestionState::Ended, told.summary));
    let last = got.results.last().unwrap();
    assert_eq!((last.index, last.disposition()), (149, Disposition::NotAttempted));
    assert_eq!(last.failure.clone().unwrap().reason(), ErrorReason::ApiKeyInvalid);
}

#[tokio::test]
async fn a_running_ingestion_says_so_and_its_items_on_their_way_are_pending() {
    let app = App::start().await;
    app.rest.fault(json!({"operation": "add", "hang_ms": 600_000})).await;
    let mut request = keyed(tokio_stream::iter([pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("running")),
        items: items(150),
    }]));
    request.set_timeout(std::time::Duration::from_millis(500));
    let told = app.client.clone().add_audience(request).await.unwrap().into_inner();
    assert_eq!(told.summary.unwrap().pending, 100);
    let got = get_all(&app, asked("running")).await;
    assert_eq!(got.state(), IngestionState::Running);
    assert_eq!(got.results[..100].iter().filter(|r| r.disposition() == Disposition::Pending).count(), 100);
    app.rest.control(reqwest::Method::DELETE, "faults", Value::Null).await;
}

#[tokio::test]
async fn an_ingestion_is_found_only_where_it_belongs() {
    let app = App::start().await;
    app.add(request_id("mine"), items(3)).await.unwrap();
    let missing = async |request: pb::GetIngestionRequest| reason(&get(&app, request).await.unwrap_err());
    let not_found = (Code::NotFound, "INGESTION_NOT_FOUND".to_owned());
    assert_eq!(missing(asked("another")).await, not_found);
    let elsewhere = pb::GetIngestionRequest { campaign_id: "elsewhere".into(), ..asked("mine") };
    assert_eq!(missing(elsewhere).await, not_found);
    let status = app.client.clone().get_ingestion(with_key(asked("mine"), sandbox::GLOBEX_API_KEY)).await;
    assert_eq!(reason(&status.unwrap_err()), not_found);
    // A validation remembers nothing.
    let options = pb::AudienceOptions { validate_only: true, ..request_id("validated") };
    app.add(options, items(1)).await.unwrap();
    assert_eq!(missing(asked("validated")).await, not_found);
}

#[tokio::test]
async fn a_page_token_serves_its_own_ingestion_and_view_alone() {
    let app = App::start().await;
    for id in ["one", "two"] {
        app.add(request_id(id), items(3)).await.unwrap();
    }
    let page = pb::GetIngestionRequest { page_size: 1, ..asked("one") };
    let token = get(&app, page.clone()).await.unwrap().next_page_token;
    assert!(!token.is_empty());
    let failures = pb::ResultView::Failures.into();
    for request in [
        pb::GetIngestionRequest { page_token: token.clone(), ..asked("two") },
        pb::GetIngestionRequest { page_token: token.clone(), result_view: failures, ..page.clone() },
        pb::GetIngestionRequest { page_token: "x".into(), ..page.clone() },
    ] {
        let status = get(&app, request).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()));
    }
}

#[tokio::test]
async fn a_malformed_question_names_its_fields() {
    let app = App::start().await;
    let request = pb::GetIngestionRequest { page_size: -1, ..asked("a b") };
    let status = get(&app, request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_INVALID".into()));
    assert!(status.message().contains("request_id") && status.message().contains("1 more"), "{status:?}");
}

#[tokio::test]
async fn an_answer_stays_well_below_what_clients_take_however_much_each_failure_says() {
    let app = App::start().await;
    let bad = pb::AudienceItem { tags: vec!["x".repeat(129); 100], ..item("5511999999999") };
    let told = app.add(request_id("long"), vec![bad; 1_000]).await.unwrap();
    assert_eq!((told.summary.unwrap().invalid, told.results.len()), (1_000, 1_000));
    assert!(prost::Message::encoded_len(&told) < 2 << 20);
    let page = get(&app, pb::GetIngestionRequest { page_size: 1_000, ..asked("long") }).await.unwrap();
    assert!(prost::Message::encoded_len(&page) < 2 << 20 && page.results.len() < 1_000);
    assert_eq!(get_all(&app, asked("long")).await.results.len(), 1_000);
}
