//! Lists: pages, orders, envelopes, and 10,000 messages.

use std::collections::HashSet;

use blubash_grpc::sandbox::{Envelope, ListOrder};

use super::*;

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
