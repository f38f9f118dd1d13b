//! The sandbox from outside, over HTTP: held to the vendor's page and to its own documentation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;

use blubash_grpc::sandbox::{
    self, Batches, Envelope, Idempotency, ListOrder, Options, PlanText, Sandbox, UtcOffset,
};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PAGE: &str = include_str!("fixtures/campaigns-api.txt");
const ADD_REQUEST: &str = include_str!("fixtures/add_request.json");
const ADD_RESPONSE: &str = include_str!("fixtures/add_response.json");
const CANCEL_RESPONSE: &str = include_str!("fixtures/cancel_response.json");
const CURL_ADD_REQUEST: &str = include_str!("fixtures/curl_add_request.json");
const ERRORS: &str = include_str!("fixtures/errors.json");

/// A sandbox with a frozen clock, and a client with acme's key.
struct Bench {
    sandbox: Sandbox,
    client: Client,
}

impl Bench {
    async fn new(options: Options) -> Self {
        // Only the first call installs; a test binary has one process for all.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let start = options.start.or_else(|| Some("2026-03-01T00:00:00Z".parse().unwrap()));
        let sandbox = Sandbox::serve(listener, Options { frozen: true, start, ..options }).await.unwrap();
        let client = Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap();
        Self { sandbox, client }
    }

    async fn default() -> Self {
        Self::new(Options::default()).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}/{path}", self.sandbox.campaigns_url()))
            .header("X-API-Key", sandbox::ACME_API_KEY)
    }

    async fn add_text(&self, campaign: &str, body: impl Into<String>) -> (u16, String) {
        let request = self.request(Method::POST, &format!("{campaign}/audience"));
        read(request.header("Content-Type", "application/json").body(body.into()).send().await.unwrap()).await
    }

    async fn add(&self, campaign: &str, body: Value) -> (u16, Value) {
        let (status, text) = self.add_text(campaign, body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn post(&self, path: &str) -> (u16, Value) {
        json_of(self.request(Method::POST, path).send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        json_of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.sandbox.control_url());
        let (status, answer) =
            json_of(self.client.request(method, url).body(body.to_string()).send().await.unwrap()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn advance(&self, seconds: u64) {
        self.control(Method::POST, "clock", json!({"advance_ms": seconds * 1000})).await;
    }

    async fn fault(&self, rule: Value) {
        self.control(Method::POST, "faults", rule).await;
    }

    /// What was really created in `camp-evergreen`.
    async fn truth(&self) -> Vec<Value> {
        let answer = self.control(Method::GET, "messages?campaign=camp-evergreen", Value::Null).await;
        answer["messages"].as_array().unwrap().clone()
    }

    async fn log(&self) -> Vec<Value> {
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

/// Leaves the blanks between tokens out, and only those.
fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: char| {
        if inside {
            inside = escaped || c != '"';
            escaped = !escaped && c == '\\';
            return true;
        }
        inside = c == '"';
        !c.is_whitespace()
    };
    json.chars()
        .filter({
            let mut keep = keep;
            move |c| keep(*c)
        })
        .collect()
}

// The vendor's page.

#[test]
fn the_fixtures_are_the_pages_bytes() {
    for fixture in [ADD_REQUEST, ADD_RESPONSE, CANCEL_RESPONSE, CURL_ADD_REQUEST] {
        assert!(PAGE.contains(fixture), "{fixture}");
        serde_json::from_str::<Value>(fixture).unwrap();
    }
    let table = PAGE.split_once("StatusMessageCause\n").unwrap().1;
    let rows: Vec<Value> = serde_json::from_str(ERRORS).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            format!("{}{}{}", row["status"], row["message"].as_str().unwrap(), row["cause"].as_str().unwrap())
        })
        .collect();
    assert_eq!(rows.join("\n"), table);
}

#[tokio::test]
async fn the_pages_example_is_answered_byte_for_byte_but_for_the_ids() {
    let bench = Bench::new(Options { utc_offset: UtcOffset::VendorExample, ..Options::default() }).await;
    let (status, mut text) = bench.add_text(sandbox::EVERGREEN, ADD_REQUEST).await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let ids: HashSet<_> =
        answer["items"].as_array().unwrap().iter().map(|item| item["messageId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    for id in ids {
        assert_eq!(id.len(), 25);
        text = text.replace(id, "<MESSAGE_ID>");
    }
    text = text.replace(answer["items"][1]["contactId"].as_str().unwrap(), "<CONTACT_ID_2>");
    assert_eq!(text, compact(ADD_RESPONSE));
}

#[tokio::test]
async fn by_default_the_example_differs_in_nothing_but_the_right_hour() {
    let bench = Bench::default().await;
    let (_, mut answer) = bench.add(sandbox::EVERGREEN, serde_json::from_str(ADD_REQUEST).unwrap()).await;
    assert_eq!(answer["items"][2]["scheduled_at"], "2026-03-11T09:00:00.000-04:00");
    assert_eq!(answer["items"][2]["scheduled_at_utc"], "2026-03-11T13:00:00.000Z");
    let mut example: Value = serde_json::from_str(ADD_RESPONSE).unwrap();
    for items in [&mut answer, &mut example] {
        for (n, item) in items["items"].as_array_mut().unwrap().iter_mut().enumerate() {
            let item = item.as_object_mut().unwrap();
            item.remove("messageId").unwrap();
            item.remove("contactId").unwrap();
            if n == 2 {
                item.retain(|name, _| name == "timezone");
            }
        }
    }
    assert_eq!(answer, example);
}

#[tokio::test]
async fn the_curl_example_works_and_its_message_can_be_cancelled_as_the_page_shows() {
    let bench = Bench::default().await;
    let (status, text) = bench.add_text(sandbox::EVERGREEN, CURL_ADD_REQUEST).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&text).unwrap();
    let id = answer["items"][0]["messageId"].as_str().unwrap();
    bench.advance(2).await;
    let response =
        bench.request(Method::POST, &format!("camp-evergreen/messages/{id}/cancel")).send().await.unwrap();
    let (status, text) = read(response).await;
    assert_eq!((status, text.replace(id, "<MESSAGE_ID>")), (200, compact(CANCEL_RESPONSE)));
}

#[tokio::test]
async fn every_row_of_the_error_table_is_produced_by_a_request() {
    let bench = Bench::default().await;
    let now = json!({"type": "immediate"});
    let one = |item: Value| json!({"items": [item]});
    let requests = [
        ("camp-evergreen", "sandbox-key-acme", one(json!({"name": "Jane", "schedule": now}))),
        ("camp-evergreen", "sandbox-key-acme", one(json!({"identifier": "", "schedule": now}))),
        (
            "camp-evergreen",
            "sandbox-key-acme",
            one(
                json!({"identifier": "5511999999999", "schedule": {"type": "absolute", "datetime": "2026-03-11T09:00:00"}}),
            ),
        ),
        ("camp-not-evergreen", "sandbox-key-acme", numbers(0..1)),
        ("camp-cancelled", "sandbox-key-acme", numbers(0..1)),
        ("camp-failed", "sandbox-key-acme", numbers(0..1)),
        ("camp-paused", "sandbox-key-acme", numbers(0..1)),
        (
            "camp-evergreen",
            "sandbox-key-acme",
            one(json!({"identifier": "5511900000001", "email": "Maria@Example.com", "schedule": now})),
        ),
        (
            "camp-evergreen",
            "sandbox-key-acme",
            one(json!({"contact_id": sandbox::UNREACHABLE_CONTACT_ID, "schedule": now})),
        ),
        ("camp-evergreen", "no-such-key", numbers(0..1)),
        ("camp-free-plan", "sandbox-key-free-plan", numbers(0..1)),
        ("camp-globex", "sandbox-key-acme", numbers(0..1)),
    ];
    let mut produced = Vec::new();
    for (campaign, key, body) in requests {
        let url = format!("{}/{campaign}/audience", bench.sandbox.campaigns_url());
        let response = bench.client.post(url).header("X-API-Key", key).json(&body).send().await.unwrap();
        let (status, body) = json_of(response).await;
        let error = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            _ => "Not Found",
        };
        assert_eq!(body["error"], error);
        produced.push((json!(status), body["message"].clone()));
    }
    produced.dedup();
    let table: Vec<Value> = serde_json::from_str(ERRORS).unwrap();
    let table: Vec<_> = table.iter().map(|row| (row["status"].clone(), row["message"].clone())).collect();
    assert_eq!(produced, table);
    assert_eq!(bench.truth().await.len(), 0);
}

#[tokio::test]
async fn refusals_come_in_order_key_plan_campaign_state_items() {
    let bench = Bench::default().await;
    let send = async |campaign: &str, key: &str, body: &str| {
        let url = format!("{}/{campaign}/audience", bench.sandbox.campaigns_url());
        let request =
            bench.client.post(url).header("X-API-Key", key).header("Content-Type", "application/json");
        read(request.body(body.to_owned()).send().await.unwrap()).await.0
    };
    assert_eq!(send("nowhere", "nobody", "{").await, 401);
    assert_eq!(send("nowhere", "sandbox-key-free-plan", "{").await, 403);
    assert_eq!(send("nowhere", "sandbox-key-acme", "{").await, 404);
    let (_, paused) = bench.add_text("camp-paused", "{").await;
    assert!(paused.contains("paused"), "{paused}");
}

#[tokio::test]
async fn a_plan_without_campaigns_may_read_and_may_not_write() {
    let bench = Bench::new(Options { plan_text: PlanText::OlderPage, ..Options::default() }).await;
    let url = format!("{}/camp-free-plan/messages", bench.sandbox.campaigns_url());
    let key = sandbox::FREE_PLAN_API_KEY;
    assert_eq!(bench.client.get(&url).header("X-API-Key", key).send().await.unwrap().status(), 200);
    let cancel = bench.client.post(format!("{url}/m/cancel")).header("X-API-Key", key).send().await.unwrap();
    let (status, body) = json_of(cancel).await;
    assert_eq!(status, 403);
    assert_eq!(
        body["message"],
        "Campaigns feature is not available in your current plan. Please upgrade your plan."
    );
}

// Messages.

#[tokio::test]
async fn a_message_moves_with_the_clock_and_can_be_cancelled_only_while_queued() {
    let bench = Bench::default().await;
    let (_, answer) = bench.add(sandbox::EVERGREEN, numbers(0..2)).await;
    let path =
        |n: usize| format!("camp-evergreen/messages/{}", answer["items"][n]["messageId"].as_str().unwrap());
    assert_eq!(bench.get(&path(0)).await.1["status"], "PENDING");
    assert_eq!(bench.post(&format!("{}/cancel", path(0))).await.0, 400);
    bench.advance(1).await;
    assert_eq!(bench.post(&format!("{}/cancel", path(0))).await.0, 200);
    bench.advance(9).await;
    assert_eq!(bench.get(&path(0)).await.1["status"], "CANCELLED");
    let sent = bench.get(&path(1)).await.1;
    assert_eq!((&sent["status"], &sent["sentAt"]), (&json!("SENT"), &json!("2026-03-01T00:00:10.000Z")));
    let (status, refusal) = bench.post(&format!("{}/cancel", path(0))).await;
    assert_eq!((status, &refusal["error"]), (400, &json!("Bad Request")));
}

#[tokio::test]
async fn messages_fail_when_their_contact_says_so() {
    let bench = Bench::default().await;
    let now = json!({"type": "immediate"});
    let items = json!({"items": [
        {"contact_id": sandbox::UNDELIVERABLE_CONTACT_ID, "schedule": now},
        {"identifier": format!("{}5551234", sandbox::UNDELIVERABLE_PREFIX), "schedule": now},
        number(1),
    ]});
    bench.add(sandbox::EVERGREEN, items).await;
    bench.advance(10).await;
    let statuses: Vec<_> = bench.truth().await.iter().map(|truth| truth["status"].clone()).collect();
    assert_eq!(statuses, ["FAILED", "FAILED", "SENT"]);
}

#[tokio::test]
async fn a_message_is_unknown_outside_its_campaign_and_its_workspace() {
    let bench = Bench::default().await;
    let path = "camp-seeded/messages/msg-seeded-queued";
    assert_eq!(bench.get(path).await.1["status"], "QUEUED");
    let elsewhere = bench.get("camp-empty/messages/msg-seeded-queued").await;
    assert_eq!((elsewhere.0, &elsewhere.1["message"]), (404, &json!("Message not found")));
    let url = format!("{}/{path}", bench.sandbox.campaigns_url());
    let foreign = bench.client.get(url).header("X-API-Key", sandbox::GLOBEX_API_KEY).send().await.unwrap();
    assert_eq!(json_of(foreign).await.1["message"], "Campaign not found");
}

#[tokio::test]
async fn a_share_of_messages_fails_and_a_cancel_is_refused_as_the_options_say() {
    let bench = Bench::new(Options { fail_percent: 20, cancel_refusal: 409, ..Options::default() }).await;
    bench.add(sandbox::EVERGREEN, numbers(0..100)).await;
    bench.advance(10).await;
    let failed = bench.truth().await.iter().filter(|truth| truth["status"] == "FAILED").count();
    assert!((5..40).contains(&failed), "{failed}");
    let (status, refusal) = bench.post("camp-seeded/messages/msg-seeded-sent/cancel").await;
    assert_eq!((status, &refusal["error"]), (409, &json!("Conflict")));
}

// Lists.

#[tokio::test]
async fn a_list_is_newest_first_pages_and_caps_its_limit_in_silence() {
    let bench = Bench::new(Options { max_limit: 5, ..Options::default() }).await;
    let (_, page) = bench.get("camp-seeded/messages?limit=1000&offset=0").await;
    let ids = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(page["total"], 12);
    let mut seen = ids(&page);
    assert_eq!(seen.len(), 5);
    for offset in [5, 10, 15] {
        seen.extend(ids(&bench.get(&format!("camp-seeded/messages?offset={offset}")).await.1));
    }
    seen.reverse();
    assert_eq!(seen, sandbox::SEEDED_MESSAGES);
}

#[tokio::test]
async fn the_order_of_a_list_is_an_option() {
    let bench = Bench::new(Options { list_order: ListOrder::OldestFirst, ..Options::default() }).await;
    assert_eq!(
        bench.get("camp-seeded/messages?limit=1").await.1["items"][0]["id"],
        sandbox::SEEDED_MESSAGES[0]
    );
    let bench =
        Bench::new(Options { list_order: ListOrder::RecentlyUpdatedFirst, ..Options::default() }).await;
    bench.post("camp-seeded/messages/msg-seeded-queued/cancel").await;
    assert_eq!(bench.get("camp-seeded/messages?limit=1").await.1["items"][0]["id"], "msg-seeded-queued");
}

#[tokio::test]
async fn every_envelope_is_what_its_option_says() {
    for (envelope, list, total, one) in [
        (Envelope::Items, "/items", "/total", ""),
        (Envelope::Messages, "/messages", "/total", "/message"),
        (Envelope::Data, "/data", "/meta/total", "/data"),
        (Envelope::Nested, "/data/items", "/data/total", "/data"),
        (Envelope::Bare, "", "/none", ""),
    ] {
        for with_total in [true, false] {
            let bench = Bench::new(Options { envelope, total: with_total, ..Options::default() }).await;
            let (_, page) = bench.get("camp-seeded/messages").await;
            assert_eq!(page.pointer(list).unwrap().as_array().unwrap().len(), 12, "{page}");
            let shown = with_total && envelope != Envelope::Bare;
            assert_eq!(page.pointer(total), shown.then_some(&json!(12)), "{page}");
            let (_, message) = bench.get("camp-seeded/messages/msg-seeded-sent").await;
            assert_eq!(message.pointer(one).unwrap()["id"], "msg-seeded-sent");
        }
    }
}

#[tokio::test]
async fn odd_pages_are_refused_or_empty() {
    let bench = Bench::default().await;
    for query in [
        "limit=x",
        "limit=-1",
        "limit=0",
        "limit=",
        "offset=-1",
        "offset=1.5",
        "limit=99999999999999999999",
        "offset=%FF",
    ] {
        assert_eq!(bench.get(&format!("camp-seeded/messages?{query}")).await.0, 400, "{query}");
    }
    assert_eq!(bench.get("camp-seeded/messages?offset=18446744073709551615").await.1["items"], json!([]));
    assert_eq!(bench.get("camp-empty/messages").await.1, json!({"items": [], "total": 0}));
}

#[tokio::test]
async fn ten_thousand_messages_are_listed_without_a_gap_or_a_repeat() {
    let bench = Bench::new(Options { max_limit: 1000, ..Options::default() }).await;
    let filled =
        bench.control(Method::POST, "seed", json!({"campaign": "camp-evergreen", "count": 10_000})).await;
    assert_eq!(filled["created"], 10_000);
    let mut seen = HashSet::new();
    for page in 0..10 {
        let (_, page) =
            bench.get(&format!("camp-evergreen/messages?limit=1000&offset={}", page * 1000)).await;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(seen.len(), 10_000);
    assert!(
        seen.contains(filled["first"].as_str().unwrap()) && seen.contains(filled["last"].as_str().unwrap())
    );
}

// What the page does not say.

#[tokio::test]
async fn what_a_bad_item_does_to_the_others_is_an_option() {
    for (batches, kept) in [
        (Batches::Partial, vec!["0", "1"]),
        (Batches::Independent, vec!["0", "1", "3"]),
        (Batches::Atomic, vec![]),
    ] {
        let bench = Bench::new(Options { batches, ..Options::default() }).await;
        let mut body = numbers(0..4);
        body["items"][2]["identifier"] = json!("letters");
        let (status, refusal) = bench.add(sandbox::EVERGREEN, body).await;
        assert_eq!((status, &refusal["message"]), (400, &json!("Identifier is invalid")));
        let numbers: Vec<_> =
            bench.truth().await.iter().map(|t| t["identifier"].as_str().unwrap().to_owned()).collect();
        let kept: Vec<_> = kept.iter().map(|n| format!("55119{n:0>8}")).collect();
        assert_eq!(numbers, kept, "{batches:?}");
        assert_eq!(bench.log().await[0]["applied"], !kept.is_empty());
    }
}

#[tokio::test]
async fn an_atomic_refusal_leaves_no_contact_behind() {
    let bench = Bench::new(Options { batches: Batches::Atomic, ..Options::default() }).await;
    let linking =
        json!({"identifier": "5511900000001", "email": "sam@example.com", "schedule": {"type": "immediate"}});
    assert_eq!(bench.add(sandbox::EVERGREEN, json!({"items": [linking, {}]})).await.0, 400);
    let other =
        json!({"identifier": "5511900000002", "email": "SAM@example.com", "schedule": {"type": "immediate"}});
    let (status, answer) = bench.add(sandbox::EVERGREEN, json!({"items": [other]})).await;
    assert_eq!((status, &answer["items"][0]["contactId"]), (200, &json!(sandbox::EMAIL_ONLY_CONTACT_ID)));
}

#[tokio::test]
async fn an_idempotency_key_is_ignored_or_honoured() {
    let send = async |bench: &Bench, body: &Value| {
        let request =
            bench.request(Method::POST, "camp-evergreen/audience").header("X-Idempotency-Key", "k1");
        read(request.json(body).send().await.unwrap()).await
    };
    let ignoring = Bench::default().await;
    let body = numbers(0..2);
    assert_ne!(send(&ignoring, &body).await, send(&ignoring, &body).await);
    assert_eq!(ignoring.truth().await.len(), 4);

    let honouring = Bench::new(Options { idempotency: Idempotency::Honoured, ..Options::default() }).await;
    assert_eq!(send(&honouring, &body).await, send(&honouring, &body).await);
    assert_eq!(honouring.truth().await.len(), 2);
    assert_eq!(send(&honouring, &numbers(0..1)).await.0, 409);
    let log = honouring.log().await;
    assert_eq!([&log[0]["applied"], &log[1]["applied"]], [true, false]);
    assert_eq!(log[0]["body_print"], log[1]["body_print"]);
}

#[tokio::test]
async fn too_much_is_a_413_that_the_client_gets_to_read() {
    let bench = Bench::new(Options { max_items: 3, max_body: 2000, ..Options::default() }).await;
    assert_eq!(bench.add(sandbox::EVERGREEN, numbers(0..3)).await.0, 200);
    assert_eq!(bench.add(sandbox::EVERGREEN, numbers(0..4)).await.0, 413);
    assert_eq!(bench.add_text(sandbox::EVERGREEN, "x".repeat(1_000_000)).await.0, 413);
    assert_eq!(bench.truth().await.len(), 3);
}

#[tokio::test]
async fn malformed_requests_are_refused_and_harm_nothing() {
    let bench = Bench::default().await;
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        r#"{"items":[]}"#,
        r#"{"items":{}}"#,
        r#"{"items":[1]}"#,
        r#"{"items":[{"identifier":5}]}"#,
    ] {
        assert_eq!(bench.add_text(sandbox::EVERGREEN, body).await.0, 400, "{body}");
    }
    let deep = format!("{{\"items\":{}", "[".repeat(50_000));
    assert_eq!(bench.add_text(sandbox::EVERGREEN, deep).await.0, 400);
    let request =
        bench.request(Method::POST, "camp-evergreen/audience").header("Content-Type", "application/json");
    assert_eq!(request.body(vec![0xff_u8, 0xfe]).send().await.unwrap().status(), 400);
    let form = bench.request(Method::POST, "camp-evergreen/audience").body(numbers(0..1).to_string());
    assert_eq!(form.send().await.unwrap().status(), 400);
    for path in [
        "%FF/messages",
        "a%2Fb/messages",
        "camp-seeded/messages/%00",
        "",
        "x",
        "camp-seeded/messages/",
        "%2e%2e/messages",
    ] {
        assert_eq!(bench.get(path).await.0, 404, "{path}");
    }
    assert_eq!(bench.request(Method::DELETE, "camp-seeded/messages").send().await.unwrap().status(), 404);
    assert_eq!(bench.truth().await.len(), 0);
}

// Faults.

#[tokio::test]
async fn a_status_on_demand_has_its_headers_and_ends_with_its_count() {
    let bench = Bench::default().await;
    bench
        .fault(json!({"operation": "add", "count": 1, "status": 429, "headers": {"Retry-After": "7"}}))
        .await;
    let request = || bench.request(Method::POST, "camp-evergreen/audience").json(&numbers(0..2)).send();
    let refused = request().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    assert_eq!(bench.truth().await.len(), 0);
    assert_eq!(request().await.unwrap().status(), 200);
    let log = bench.log().await;
    assert_eq!(
        (&log[0]["fault"], &log[0]["items"], &log[0]["applied"]),
        (&json!(1), &json!(2), &json!(false))
    );
    assert_eq!((&log[1]["fault"], &log[1]["workspace"]), (&Value::Null, &json!("acme")));
}

#[tokio::test]
async fn a_bad_gateway_may_hide_that_the_request_was_applied() {
    let bench = Bench::default().await;
    bench.fault(json!([{"status": 502, "body": "<html>Bad Gateway</html>", "apply": true}])).await;
    let (status, text) = bench.add_text(sandbox::EVERGREEN, numbers(0..2).to_string()).await;
    assert_eq!((status, text.as_str()), (502, "<html>Bad Gateway</html>"));
    assert_eq!(bench.truth().await.len(), 2);
}

#[tokio::test]
async fn a_reset_closes_the_connection_before_or_after_the_request_was_applied() {
    for (rule, applied) in [("reset_before", 0), ("reset_after", 2)] {
        let bench = Bench::default().await;
        bench.fault(json!({"operation": "add", rule: true})).await;
        let error = bench
            .request(Method::POST, "camp-evergreen/audience")
            .json(&numbers(0..2))
            .send()
            .await
            .unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!(bench.truth().await.len(), applied, "{rule}");
        let log = bench.log().await;
        assert_eq!((&log[0]["status"], &log[0]["applied"]), (&Value::Null, &json!(applied > 0)));
    }
}

#[tokio::test]
async fn a_truncated_answer_has_a_head_and_half_a_body() {
    let bench = Bench::default().await;
    bench.fault(json!({"operation": "add", "truncate": true})).await;
    let mut response =
        bench.request(Method::POST, "camp-evergreen/audience").json(&numbers(0..2)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let announced = response.content_length().unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert_eq!(first.len() as u64, announced / 2);
    assert!(response.chunk().await.is_err());
    assert_eq!(bench.truth().await.len(), 2);
}

#[tokio::test]
async fn a_hanging_request_is_in_the_log_while_it_hangs() {
    let bench = Bench::default().await;
    bench.fault(json!({"operation": "cancel", "hang_ms": 3_600_000, "apply": true})).await;
    let path = "camp-seeded/messages/msg-seeded-queued";
    let hanging = tokio::spawn(bench.request(Method::POST, &format!("{path}/cancel")).send());
    while bench.log().await.first().is_none_or(|entry| entry["applied"] == false) {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.get(path).await.1["status"], "CANCELLED");
    assert_eq!(bench.log().await[0]["status"], Value::Null);
    hanging.abort();
}

#[tokio::test]
async fn faults_can_be_read_and_taken_away() {
    let bench = Bench::default().await;
    bench.fault(json!([{"operation": "get", "status": 500}, {"latency_ms": 1}])).await;
    assert_eq!(bench.get("camp-seeded/messages/msg-seeded-sent").await.0, 500);
    let rules = bench.control(Method::GET, "faults", Value::Null).await;
    assert_eq!((&rules["rules"][0]["taken"], &rules["rules"][1]["taken"]), (&json!(1), &json!(0)));
    let rules = bench.control(Method::DELETE, "faults", Value::Null).await;
    assert_eq!(rules, json!({"rules": []}));
    assert_eq!(bench.get("camp-seeded/messages/msg-seeded-sent").await.0, 200);
}

// Control.

#[tokio::test]
async fn the_request_log_holds_no_key_and_no_personal_data() {
    let bench = Bench::default().await;
    bench.add_text(sandbox::EVERGREEN, ADD_REQUEST).await;
    bench.get("camp-evergreen/messages?limit=5&phone=5511999999999").await;
    let log = serde_json::to_string(&bench.log().await).unwrap();
    for secret in [sandbox::ACME_API_KEY, "5511999999999", "jane@example.com", "Jane"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    bench.control(Method::DELETE, "requests", Value::Null).await;
    assert!(bench.log().await.is_empty());
}

#[tokio::test]
async fn the_truth_holds_what_was_sent_and_which_request_sent_it() {
    let bench = Bench::default().await;
    bench.add_text(sandbox::EVERGREEN, ADD_REQUEST).await;
    let truth = bench.truth().await;
    assert_eq!(truth.len(), 3);
    assert_eq!(truth[1]["identifier"], "5511999999999");
    assert_eq!(truth[1]["given"]["custom_fields"], json!({"cf_plan": "pro", "cf_source": "api"}));
    assert_eq!(truth[2]["instant"], "2026-03-11T13:00:00.000Z");
    assert_eq!(truth[2]["request"], bench.log().await[0]["n"]);
}

#[tokio::test]
async fn a_campaign_can_be_paused_and_resumed_and_made() {
    let bench = Bench::default().await;
    for (status, expected) in [("PAUSED", 400), ("ACTIVE", 200)] {
        bench.control(Method::POST, "campaigns", json!({"id": "camp-evergreen", "status": status})).await;
        assert_eq!(bench.add(sandbox::EVERGREEN, numbers(0..1)).await.0, expected);
    }
    bench.control(Method::POST, "campaigns", json!({"id": "camp-new", "status": "ACTIVE"})).await;
    assert_eq!(bench.add("camp-new", numbers(0..1)).await.0, 200);
}

#[tokio::test]
async fn the_control_routes_explain_themselves_and_refuse_nonsense() {
    let bench = Bench::default().await;
    let explained = bench.control(Method::GET, "", Value::Null).await;
    assert_eq!(explained["notice"], sandbox::NOTICE);
    for (path, body) in [
        ("clock", json!({"advance": 5})),
        ("clock", json!({"advance_ms": u64::MAX})),
        ("clock", json!({"set": "yesterday"})),
        ("faults", json!({"status": 500, "truncate": true})),
        ("faults", json!("x")),
        ("seed", json!({"campaign": "camp-evergreen", "count": 0})),
        ("campaigns", json!({"id": "camp-evergreen", "status": "SLEEPING"})),
    ] {
        let url = format!("{}/{path}", bench.sandbox.control_url());
        let response = bench.client.post(url).body(body.to_string()).send().await.unwrap();
        assert_eq!(response.status(), 400, "{path} {body}");
    }
}

#[tokio::test]
async fn two_sandboxes_with_one_seed_give_the_same_ids() {
    let (one, two) = (Bench::default().await, Bench::default().await);
    let other = Bench::new(Options { seed: 1, ..Options::default() }).await;
    let first = one.add(sandbox::EVERGREEN, numbers(0..3)).await;
    assert_eq!(first, two.add(sandbox::EVERGREEN, numbers(0..3)).await);
    assert_ne!(first, other.add(sandbox::EVERGREEN, numbers(0..3)).await);
}

#[tokio::test]
async fn a_dropped_or_stopped_sandbox_frees_its_port() {
    let bench = Bench::default().await;
    bench.get("camp-seeded/messages").await;
    let addr = bench.sandbox.addr();
    bench.sandbox.shutdown().await;
    TcpListener::bind(addr).await.unwrap();
}
