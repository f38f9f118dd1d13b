//! Reading page by page while the upstream's list shifts: nothing that stays in it is lost.

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{Query, State},
    routing::get,
};
use blubash_grpc::{
    pb,
    sandbox::{ListOrder, Options},
};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::Code;

use crate::{
    harness::{App, EVERGREEN, reason},
    sandbox::Bench,
};

/// An upstream whose list the test holds in its hands.
#[derive(Clone, Default)]
struct Shifting {
    list: Arc<Mutex<Vec<String>>>,
    ignores_offset: bool,
    asked: Arc<Mutex<usize>>,
}

#[derive(Deserialize)]
struct Window {
    limit: usize,
    offset: usize,
}

async fn answer(State(upstream): State<Shifting>, Query(window): Query<Window>) -> Json<Value> {
    *upstream.asked.lock().unwrap() += 1;
    let list = upstream.list.lock().unwrap();
    let offset = if upstream.ignores_offset { 0 } else { window.offset };
    let window = list.iter().skip(offset).take(window.limit);
    Json(json!({"items": window.map(|id| json!({"id": id, "status": "SENT"})).collect::<Vec<_>>()}))
}

impl Shifting {
    fn of(count: usize) -> Self {
        let list: Vec<_> = (0..count).map(|n| format!("m{n}")).collect();
        Self { list: Arc::new(Mutex::new(list)), ..Self::default() }
    }

    async fn serve(&self) -> App {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/campaigns", listener.local_addr().unwrap());
        let path = "/api/v1/campaigns/{campaign}/messages";
        let router = Router::new().route(path, get(answer)).with_state(self.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        App::in_front_of(Bench::default().await, &url, &[]).await
    }

    fn calls(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

async fn page(app: &App, page_token: &str) -> (Vec<String>, String) {
    let request = pb::ListMessagesRequest {
        campaign_id: EVERGREEN.into(),
        page_size: 20,
        page_token: page_token.into(),
        ..Default::default()
    };
    let page = app.list(request).await.unwrap();
    (page.messages.into_iter().map(|message| message.message_id).collect(), page.next_page_token)
}

#[tokio::test]
async fn what_is_deleted_in_front_between_two_pages_costs_the_reader_nothing() {
    for deleted in [1, 5, 20, 40] {
        let upstream = Shifting::of(100);
        let app = upstream.serve().await;
        let (mut told, token) = page(&app, "").await;
        let (more, mut token) = page(&app, &token).await;
        told.extend(more);
        upstream.list.lock().unwrap().drain(..deleted);
        while !token.is_empty() {
            let (more, next) = page(&app, &token).await;
            told.extend(more);
            token = next;
        }
        let left = upstream.list.lock().unwrap().clone();
        let lost: Vec<_> = left.iter().filter(|id| !told.contains(id)).collect();
        assert!(lost.is_empty(), "{deleted} deleted: {lost:?} lost");
        // Of 40 that went, all that was told went with them: there is nothing left to know the place by.
        assert_eq!(told.len(), 100, "{deleted} deleted: none twice");
    }
}

#[tokio::test]
async fn what_comes_in_front_between_two_pages_repeats_nothing() {
    let app = App::with(Options { list_order: ListOrder::NewestFirst, ..Options::default() }, &[]).await;
    let seed = |count: usize| json!({"campaign": EVERGREEN, "count": count, "status": "SENT"});
    app.rest.control(Method::POST, "seed", seed(100)).await;
    let mut wanted: Vec<_> = app.rest.truth().await;
    wanted.reverse();
    let (mut told, mut token) = page(&app, "").await;
    for inserted in [3, 300, 1] {
        app.rest.control(Method::POST, "seed", seed(inserted)).await;
        let (more, next) = page(&app, &token).await;
        told.extend(more);
        token = next;
    }
    while !token.is_empty() {
        let (more, next) = page(&app, &token).await;
        told.extend(more);
        token = next;
    }
    let wanted: Vec<_> = wanted.iter().map(|message| message["messageId"].as_str().unwrap()).collect();
    assert_eq!(told, wanted, "each once, in order");
}

#[tokio::test]
async fn an_upstream_that_ignores_the_offset_ends_in_an_error_after_a_few_calls() {
    let upstream = Shifting { ignores_offset: true, ..Shifting::of(1_000) };
    let app = upstream.serve().await;
    let mut request =
        pb::ListMessagesRequest { campaign_id: EVERGREEN.into(), page_size: 20, ..Default::default() };
    let error = loop {
        match app.list(request.clone()).await {
            Ok(page) => request.page_token = page.next_page_token,
            Err(error) => break error,
        }
        assert!(!request.page_token.is_empty(), "there is more");
    };
    assert_eq!(reason(&error), (Code::Internal, "UPSTREAM_RESPONSE_INVALID".into()));
    assert!(error.message().contains("another offset"), "{}", error.message());
    assert!(upstream.calls() < 40, "{}", upstream.calls());
}
