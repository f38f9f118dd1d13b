//! Faults on demand: what the client sees, and what was applied all the same.

use super::*;

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
