//! The sandbox from outside, over HTTP: held to the vendor's page and to its own documentation.

mod control;
mod faults;
mod lists;
mod messages;
mod page;
mod unknowns;

use blubash_grpc::sandbox::{self, Options, Sandbox};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const ADD_REQUEST: &str = include_str!("../../fixtures/add_request.json");

/// A sandbox with a frozen clock, and a client with acme's key.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    client: Client,
}

impl Bench {
    pub(crate) async fn new(options: Options) -> Self {
        // Only the first call installs; a test binary has one process for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let start = options.start.or_else(|| Some("2026-03-01T00:00:00Z".parse().unwrap()));
        let sandbox = Sandbox::serve(listener, Options { frozen: true, start, ..options }).await.unwrap();
        let client = Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap();
        Self { sandbox, client }
    }

    pub(crate) async fn default() -> Self {
        Self::new(Options::default()).await
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}/{path}", self.sandbox.campaigns_url()))
            .header("X-API-Key", sandbox::ACME_API_KEY)
    }

    pub(crate) async fn add_text(&self, campaign: &str, body: impl Into<String>) -> (u16, String) {
        let request = self.request(Method::POST, &format!("{campaign}/audience"));
        read(request.header("Content-Type", "application/json").body(body.into()).send().await.unwrap()).await
    }

    pub(crate) async fn add(&self, campaign: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.add_text(campaign, body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        json_of(self.request(Method::POST, path).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        json_of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.sandbox.control_url());
        let (status, answer) =
            json_of(self.client.request(method, url).body(body.to_string()).send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.control(Method::POST, "clock", json!({"advance_ms": seconds * 1000})).await;
    }

    pub(crate) async fn fault(&self, rule: Value) {
        self.control(Method::POST, "faults", rule).await;
    }

    /// What was really created in `camp-evergreen`.
    pub(crate) async fn truth(&self) -> Vec<Value> {
        let answer = self.control(Method::GET, "messages?campaign=camp-evergreen", Value::Null).await;
        answer["messages"].as_array().unwrap().clone()
    }

    pub(crate) async fn log(&self) -> Vec<Value> {
        self.control(Method::GET, "requests", Value::Null).await["requests"].as_array().unwrap().clone()
    }
}

async fn read(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn json_of(response: Response) -> (u16, Value) {
    let (status, text) = read(response).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")))
}

fn number(n: usize) -> Value {
    json!({"identifier": format!("55119{n:08}"), "schedule": {"type": "immediate"}})
}

fn numbers(n: std::ops::Range<usize>) -> Value {
    json!({"items": n.map(number).collect::<Vec<_>>()})
}
