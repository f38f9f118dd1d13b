#![allow(clippy::unwrap_used)]

use std::{collections::VecDeque, convert::Infallible};

use http::{Method, StatusCode};
use tower::service_fn;

use super::*;
use crate::{
    campaigns::{
        cache::Limits,
        watch::{Hub, WatchConfig},
    },
    clock::Clock,
    model::{ApiKey, Workspace, WorkspaceId},
    upstream::{Broken, Call, Client, Config, Evidence, Unsent},
};

const RESET: Evidence = Evidence::Broken { why: Broken::Connection };
const UNREACHED: Evidence = Evidence::NotSent { why: Unsent::Connect };

/// An upstream that answers cancellations and looks from a list each, the last one for ever.
struct Rig {
    cancel: Cancel,
    calls: Arc<Mutex<Vec<Method>>>,
}

impl Rig {
    fn new(posts: Vec<Evidence>, gets: Vec<Evidence>) -> Self {
        Self::slow(posts, gets, Duration::ZERO, Duration::ZERO)
    }

    /// The same, where each takes so long.
    fn slow(posts: Vec<Evidence>, gets: Vec<Evidence>, post: Duration, get: Duration) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let scripts = Arc::new(Mutex::new((VecDeque::from(posts), VecDeque::from(gets))));
        let seen = Arc::clone(&calls);
        let transport = service_fn(move |call: Call| {
            let method = call.request.method().clone();
            seen.lock().unwrap().push(method.clone());
            let mut scripts = scripts.lock().unwrap();
            let (script, takes) =
                if method == Method::POST { (&mut scripts.0, post) } else { (&mut scripts.1, get) };
            let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
            let next = next.expect("not expected here");
            async move {
                tokio::time::sleep(takes).await;
                Ok::<_, Infallible>(next)
            }
        });
        let clock = Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap());
        let client = Client::with_transport(transport, &Config::new("http://127.0.0.1:1/c").unwrap(), clock);
        let tracker = TaskTracker::new();
        let cache = Cache::new(Limits::default());
        let hub = Hub::new(
            client.clone(),
            cache.clone(),
            WatchConfig::default(),
            clock,
            tracker.clone(),
            CancellationToken::new(),
        );
        Self {
            cancel: Cancel::new(
                client,
                cache.clone(),
                Writes::new(cache, hub),
                tracker,
                CancellationToken::new(),
            ),
            calls,
        }
    }

    async fn run(&self, deadline: Option<Duration>) -> Result<Cancelled, Error> {
        let workspace = Workspace { id: WorkspaceId([1; 16]), key: ApiKey::new("key").into() };
        let ctx = Context { workspace, deadline: deadline.map(|after| Instant::now() + after) };
        let campaign = CampaignId::parse("c1").unwrap();
        self.cancel.cancel(ctx, campaign, MessageId::parse("m1").unwrap()).await
    }

    /// Cancellations and looks so far, once nothing is under way any more.
    async fn made(&self) -> (usize, usize) {
        self.cancel.tracker.close();
        self.cancel.tracker.wait().await;
        let calls = self.calls.lock().unwrap();
        let posts = calls.iter().filter(|method| **method == Method::POST).count();
        (posts, calls.len() - posts)
    }
}

fn answer(status: u16, body: impl Into<bytes::Bytes>) -> Evidence {
    Evidence::answered(StatusCode::from_u16(status).unwrap(), body)
}

fn message(status: &str) -> Evidence {
    answer(200, format!(r#"{{"id":"m1","contactId":"c","status":"{status}"}}"#))
}

fn refused() -> Evidence {
    answer(400, r#"{"statusCode":400,"message":"Only messages with status QUEUED can be cancelled"}"#)
}

fn status_of(error: &Error) -> Option<&str> {
    error.metadata().iter().find(|(key, _)| *key == "message_status").map(|(_, value)| value.as_str())
}

#[tokio::test(start_paused = true)]
async fn a_proven_cancellation_needs_no_look() {
    let rig = Rig::new(vec![message("CANCELLED")], vec![]);
    let cancelled = rig.run(None).await.unwrap();
    assert_eq!((cancelled.message.status, cancelled.already), (Status::Cancelled, false));
    assert_eq!(rig.made().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn anything_but_proof_is_decided_by_a_look() {
    for post in [RESET, answer(200, "{}"), answer(500, ""), answer(409, ""), answer(302, "")] {
        let rig = Rig::new(vec![post.clone()], vec![message("CANCELLED")]);
        let cancelled = rig.run(None).await.unwrap();
        assert!(!cancelled.already, "{post:?}: this very call may have done it");
        assert_eq!(rig.made().await, (1, 1), "{post:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_cancelled_before_is_a_success_that_says_so() {
    let rig = Rig::new(vec![refused()], vec![message("CANCELLED")]);
    assert!(rig.run(None).await.unwrap().already);
}

#[tokio::test(start_paused = true)]
async fn another_status_is_not_cancellable_and_only_a_pending_one_is_worth_a_wait() {
    for (word, waits) in [("PENDING", true), ("SENDING", false), ("SENT", false), ("FAILED", false)] {
        let rig = Rig::new(vec![refused()], vec![message(word)]);
        let error = rig.run(None).await.unwrap_err();
        assert_eq!((error.reason(), status_of(&error)), (Reason::MessageNotCancellable, Some(word)));
        assert_eq!(error.retry_delay().is_some(), waits, "{word}");
        assert_eq!(rig.made().await, (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stays_queued_is_asked_for_three_times_and_then_unknown() {
    let rig = Rig::new(vec![RESET], vec![message("QUEUED")]);
    assert_eq!(rig.run(None).await.unwrap_err().reason(), Reason::OutcomeUnknown);
    assert_eq!(rig.made().await, (3, 3));
    let rig = Rig::new(vec![RESET, message("CANCELLED")], vec![message("QUEUED")]);
    assert_eq!(rig.run(None).await.unwrap().message.status, Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_no_look_can_end_is_unknown() {
    let rig = Rig::new(vec![RESET], vec![answer(404, ""), answer(503, "")]);
    let unknown = Rig::new(vec![RESET], vec![answer(503, "")]);
    assert_eq!(unknown.run(None).await.unwrap_err().reason(), Reason::OutcomeUnknown);
    // What does not exist cannot have been cancelled.
    assert_eq!(rig.run(None).await.unwrap_err().reason(), Reason::MessageNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_was_never_sent_is_unavailable_and_nothing_was_changed() {
    let rig = Rig::new(vec![UNREACHED], vec![]);
    let error = rig.run(None).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::UpstreamUnavailable, Applied::No));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_while_the_cancellation_is_on_its_way_is_unknown_and_does_not_cut_it() {
    let second = Duration::from_secs(1);
    let rig = Rig::slow(vec![message("CANCELLED")], vec![], 5 * second, second);
    let began = Instant::now();
    assert_eq!(rig.run(Some(second)).await.unwrap_err().reason(), Reason::OutcomeUnknown);
    assert_eq!(began.elapsed().as_secs(), 1);
    assert_eq!(rig.made().await, (1, 0));
    assert!(began.elapsed() >= 5 * second);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing_then_or_later() {
    let rig = Rig::new(vec![message("CANCELLED")], vec![]);
    assert_eq!(rig.run(Some(Duration::ZERO)).await.unwrap_err().reason(), Reason::DeadlineExceeded);
    assert_eq!(rig.made().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_that_nothing_was_cancelled_can_rely_on_it() {
    // Refused, and QUEUED by the look: the next attempt is due 200 ms later, and the deadline comes first.
    let rig = Rig::new(vec![refused(), message("CANCELLED")], vec![message("QUEUED")]);
    let error = rig.run(Some(Duration::from_millis(100))).await.unwrap_err();
    assert_eq!((error.reason(), error.applied()), (Reason::DeadlineExceeded, Applied::No));
    assert_eq!(rig.made().await, (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_cuts_nothing_and_starts_nothing_further() {
    let second = Duration::from_secs(1);
    let rig = Rig::slow(vec![RESET], vec![message("QUEUED")], second, second);
    assert!(tokio::time::timeout(second / 2, rig.run(None)).await.is_err());
    assert_eq!(rig.made().await, (1, 1));
}
