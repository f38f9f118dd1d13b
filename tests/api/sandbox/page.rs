//! The vendor's page: its examples and its error table.

use std::collections::HashSet;

use blubash_grpc::sandbox::{PlanText, UtcOffset};

use super::*;

const PAGE: &str = include_str!("../../fixtures/campaigns-api.txt");
const ADD_RESPONSE: &str = include_str!("../../fixtures/add_response.json");
const CANCEL_RESPONSE: &str = include_str!("../../fixtures/cancel_response.json");
const CURL_ADD_REQUEST: &str = include_str!("../../fixtures/curl_add_request.json");
const ERRORS: &str = include_str!("../../fixtures/errors.json");

/// Leaves the blanks between tokens out, and only those.
fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    json.chars()
        .filter(|&c| {
            if inside {
                inside = escaped || c != '"';
                escaped = !escaped && c == '\\';
                return true;
            }
            inside = c == '"';
            !c.is_whitespace()
        })
        .collect()
}

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
