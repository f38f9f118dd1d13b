//! What the page does not say: each option does what it is called.

use blubash_grpc::sandbox::{Batches, Idempotency};

use super::*;

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
