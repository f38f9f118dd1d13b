//! The control routes, and the sandbox's own life.

use super::*;

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
async fn a_workspaces_keys_can_be_renewed() {
    let bench = Bench::default().await;
    for (keys, expected) in [(vec!["new", sandbox::ACME_API_KEY], 200), (vec!["new"], 401)] {
        bench.control(Method::POST, "keys", json!({"workspace": "acme", "api_keys": keys})).await;
        assert_eq!(bench.get("camp-seeded/messages").await.0, expected);
        let renewed = bench
            .request(Method::GET, "camp-seeded/messages")
            .headers([("x-api-key".parse().unwrap(), "new".parse().unwrap())].into_iter().collect());
        assert_eq!(renewed.send().await.unwrap().status(), 200);
    }
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
        ("keys", json!({"workspace": "acme", "api_keys": [sandbox::GLOBEX_API_KEY]})),
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
