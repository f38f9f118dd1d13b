#![allow(clippy::unwrap_used)]

use std::{future::pending, sync::Mutex};

use tower::service_fn;

use tokio::time::Instant;

use super::{testing::*, *};
use crate::error::{Applied, Reason};

/// A client whose upstream never answers.
fn silent(config: &Config) -> Client {
    let transport = service_fn(|_: Call| pending::<Result<Evidence, Infallible>>());
    Client::with_transport(transport, config, Clock::anchored(now()))
}

#[tokio::test(start_paused = true)]
async fn a_page_is_told_with_the_moment_at_which_it_was_asked_for() {
    let (client, attempts) =
        scripted(vec![answer(500, ""), answer(200, r#"{"data":[{"id":"a"},{}],"total":9}"#)]);
    let slice = Slice { offset: 0, limit: 50 };
    let page = client.list_messages(&ctx(), &campaign(), slice).await.unwrap();
    assert_eq!(page.began, now());
    assert_eq!((page.value.entries.len(), page.value.total), (2, Some(9)));
    assert!(page.value.entries[1].is_none());
    assert_eq!(attempts.calls()[0].request.uri().query(), Some("limit=50&offset=0"));
}

#[tokio::test]
async fn an_answer_about_another_message_is_not_believed() {
    let (client, _) = scripted(vec![answer(200, r#"{"id":"m2","status":"SENT"}"#)]);
    let error = client.get_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamResponseInvalid);
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_an_invalid_answer_and_not_an_empty_list() {
    let (client, attempts) = scripted(vec![answer(200, r#"{"success":true}"#)]);
    let slice = Slice { offset: 0, limit: 50 };
    let error = client.list_messages(&ctx(), &campaign(), slice).await.unwrap_err();
    assert_eq!((error.reason(), attempts.count()), (Reason::UpstreamResponseInvalid, 1));
    assert!(error.message().contains("success"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_at_the_callers_deadline() {
    let client = silent(&config());
    let mut ctx = ctx();
    let before = Instant::now();
    ctx.deadline = Some(before + Duration::from_secs(2));
    let error = client.get_message(&ctx, &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!((error.reason(), before.elapsed().as_secs()), (Reason::DeadlineExceeded, 2));
    let (client, attempts) = scripted(vec![answer(200, "")]);
    let error = client.get_message(&ctx, &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!((error.reason(), attempts.count()), (Reason::DeadlineExceeded, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_read_is_tried_again_until_the_operation_timeout() {
    let before = Instant::now();
    let error = silent(&config()).get_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::UpstreamUnavailable, Applied::No));
    assert!(error.retry_delay().is_some());
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_batch_on_its_way_outlives_the_callers_deadline_and_is_cut_by_its_attempt_timeout_alone() {
    let client = silent(&config());
    let mut ctx = ctx();
    let before = Instant::now();
    ctx.deadline = Some(before + Duration::from_secs(1));
    let outcome = add(&client, &ctx, &batch(&["a", "b"])).await;
    assert!(matches!(outcome, Outcome::InDoubt { by_refusal: false, .. }), "{outcome:?}");
    assert_eq!(before.elapsed().as_secs(), 30);
    ctx.deadline = Some(Instant::now() + Duration::from_secs(1));
    let error = client.cancel_message(&ctx, &campaign(), &message_id("m1")).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::OutcomeUnknown, Applied::Maybe));
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn a_key_that_cannot_be_sent_ends_a_batch_before_it_begins() {
    let (client, attempts) = scripted(vec![answer(200, "")]);
    let mut ctx = ctx();
    ctx.workspace.key = crate::model::ApiKey::new("a\r\nb").into();
    let outcome = add(&client, &ctx, &batch(&["a"])).await;
    let Outcome::Refused(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.reason(), attempts.count()), (Reason::ApiKeyInvalid, 0));
}

#[tokio::test]
async fn a_cancelled_message_is_proven() {
    let (client, attempts) = scripted(vec![answer(200, r#"{"id":"m1","status":"CANCELLED"}"#)]);
    let answer = client.cancel_message(&ctx(), &campaign(), &message_id("m1")).await.unwrap();
    assert!(matches!(answer, CancelAnswer::Proven(message) if message.id.as_str() == "m1"));
    assert_eq!(attempts.count(), 1);
}

/// Everything that is logged, at any level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_key_nor_a_body_nor_the_upstreams_own_words_reach_a_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let canary = r#"{"message":"canary","items":[{"name":"canary"}]}"#;
    for status in [200, 302, 400, 403, 500] {
        let (client, _) = scripted(vec![answer(status, canary)]);
        let slice = Slice { offset: 0, limit: 1 };
        let _ = add(&client, &ctx(), &batch(&["canary", "b"])).await;
        let _ = client.cancel_message(&ctx(), &campaign(), &message_id("m1")).await;
        let _ = client.list_messages(&ctx(), &campaign(), slice).await;
        let _ = client.get_message(&ctx(), &campaign(), &message_id("m1")).await;
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("AddAudience") && log.contains("redirects writes"), "{log}");
    assert!(!log.contains("canary") && !log.contains("secret-key"), "{log}");
}

#[test]
fn the_client_can_be_shared_between_tasks() {
    fn check<T: Clone + Send + Sync + 'static>() {}
    check::<Client>();
    check::<Outcome>();
}
