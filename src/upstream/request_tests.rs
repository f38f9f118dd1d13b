#![allow(clippy::unwrap_used)]

use super::*;
use crate::upstream::testing::{batch, call, campaign, message_id};

fn routes() -> Routes {
    Routes::new(&Config::new("https://api.blubash.io/api/v1/campaigns/").unwrap())
}

fn key() -> ApiKey {
    ApiKey::new("your_api_key")
}

fn header<'a>(request: &'a Request<Bytes>, name: &HeaderName) -> &'a str {
    request.headers()[name].to_str().unwrap()
}

#[test]
fn each_operation_has_the_vendors_method_and_path() {
    let (routes, key, campaign, id) = (routes(), key(), campaign(), message_id("m1"));
    let base = "https://api.blubash.io/api/v1/campaigns";
    for (request, method, path) in [
        (routes.get_message(&key, &campaign, &id), Method::GET, "/c1/messages/m1"),
        (
            routes.list_messages(&key, &campaign, Slice { offset: 100, limit: 50 }),
            Method::GET,
            "/c1/messages?limit=50&offset=100",
        ),
        (routes.add_audience(&key, &campaign, &batch(&["a"])), Method::POST, "/c1/audience"),
        (routes.cancel_message(&key, &campaign, &id), Method::POST, "/c1/messages/m1/cancel"),
    ] {
        let request = request.unwrap();
        assert_eq!((request.method(), request.uri().to_string()), (&method, format!("{base}{path}")));
        assert_eq!(header(&request, &API_KEY), "your_api_key");
        assert_eq!(header(&request, &ACCEPT), "application/json");
        assert_eq!(request.headers().contains_key(CONTENT_TYPE), method == Method::POST);
    }
}

#[test]
fn adding_sends_the_batchs_own_bytes_and_idempotency_key() {
    let batch = batch(&["a", "b"]);
    let request = routes().add_audience(&key(), &campaign(), &batch).unwrap();
    assert_eq!(request.body(), batch.body());
    assert_eq!(header(&request, &IDEMPOTENCY_KEY), batch.idempotency_key());
    assert_eq!(header(&request, &CONTENT_TYPE), "application/json");
}

#[test]
fn each_cancellation_has_an_idempotency_key_of_its_own() {
    let cancel = || routes().cancel_message(&key(), &campaign(), &message_id("m1")).unwrap();
    assert_ne!(header(&cancel(), &IDEMPOTENCY_KEY), header(&cancel(), &IDEMPOTENCY_KEY));
}

#[test]
fn an_odd_id_is_one_segment_of_the_path() {
    for (id, segment) in [
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("%2e%2e", "%252e%252e"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("\u{fc}", "%C3%BC"),
        ("~a-b_c.d", "~a-b_c.d"),
    ] {
        let campaign = CampaignId::parse(id).unwrap();
        let request = routes().get_message(&key(), &campaign, &message_id(id)).unwrap();
        assert_eq!(request.uri().path(), format!("/api/v1/campaigns/{segment}/messages/{segment}"));
    }
}

#[test]
fn an_id_of_the_upstreams_own_that_is_no_segment_is_refused_before_anything_is_sent() {
    for id in [".", "..", &"x".repeat(3000)] {
        let error = routes().cancel_message(&key(), &campaign(), &message_id(id)).unwrap_err();
        assert_eq!(error.reason(), Reason::FieldInvalid);
    }
}

#[test]
fn a_key_that_no_header_can_carry_is_an_invalid_key_and_is_not_repeated() {
    let error = routes().get_message(&ApiKey::new("se\ncret"), &campaign(), &message_id("m1")).unwrap_err();
    assert_eq!(error.reason(), Reason::ApiKeyInvalid);
    assert!(!error.message().contains("cret"));
}

#[test]
fn the_key_is_never_shown() {
    let request = routes().add_audience(&key(), &campaign(), &batch(&["contact-7"])).unwrap();
    assert!(request.headers()[API_KEY].is_sensitive());
    let call = call(request, Operation::AddAudience(batch(&["contact-7"]).asked));
    assert_eq!(format!("{call:?}"), "AddAudience (attempt 1)");
}
