//! Messages: their life, cancelling, who may see them.

use super::*;

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
