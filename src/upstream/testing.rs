//! What the tests of this module share: a transport that follows a script, and whose calls are kept.

#![allow(clippy::unwrap_used)]

pub(super) mod world;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
};

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use tokio::time::Instant;
use tower::service_fn;

use super::*;
use crate::model::{ApiKey, Item, Recipient, Schedule, Workspace, WorkspaceId};

/// The attempts that were made.
#[derive(Clone, Default)]
pub(super) struct Attempts(Arc<Mutex<Vec<(Instant, Call)>>>);

impl Attempts {
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().iter().map(|(_, call)| call.clone()).collect()
    }

    /// When each began.
    pub(super) fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().iter().map(|(at, _)| *at).collect()
    }

    /// The waits between one attempt and the next.
    pub(super) fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

/// A client whose attempts meet these answers in turn, and the last one for ever.
pub(super) fn scripted(script: Vec<Evidence>) -> (Client, Attempts) {
    scripted_with(&config(), script)
}

pub(super) fn scripted_with(config: &Config, script: Vec<Evidence>) -> (Client, Attempts) {
    let attempts = Attempts::default();
    let seen = attempts.clone();
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let transport = service_fn(move |call: Call| {
        seen.0.lock().unwrap().push((Instant::now(), call));
        let mut script = script.lock().unwrap();
        let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        ready(Ok::<_, Infallible>(next.unwrap()))
    });
    (Client::with_transport(transport, config, Clock::anchored(now())), attempts)
}

pub(super) fn now() -> chrono::DateTime<chrono::Utc> {
    "2026-03-11T09:00:00Z".parse().unwrap()
}

pub(super) fn config() -> Config {
    Config::new("https://upstream.test/api/v1/campaigns").unwrap()
}

pub(super) fn ctx() -> Context {
    let key = ApiKey::new("secret-key").into();
    Context { workspace: Workspace { id: WorkspaceId([7; 16]), key }, deadline: None }
}

pub(super) fn campaign() -> CampaignId {
    CampaignId::parse("c1").unwrap()
}

pub(super) fn message_id(text: &str) -> MessageId {
    MessageId::from_upstream(text.to_owned()).unwrap()
}

/// A batch of contacts named by their ids, to be messaged at once.
pub(super) fn batch(contacts: &[&str]) -> Batch {
    let items: Vec<EncodedItem> = contacts.iter().map(|contact| EncodedItem::new(&item(contact))).collect();
    Batch::frame(None, &items.iter().collect::<Vec<_>>())
}

pub(super) fn item(contact: &str) -> Item {
    Item {
        recipient: Recipient::ContactId(contact.to_owned()),
        name: None,
        email: None,
        custom_fields: None,
        tags: Vec::new(),
        schedule: Schedule::Immediate,
    }
}

/// Adds this batch, once it is admitted.
pub(super) async fn add(client: &Client, ctx: &Context, batch: &Batch) -> Outcome {
    let admission = client.admit(ctx).await.unwrap();
    client.add_audience(ctx, &campaign(), batch, admission).await
}

/// A call that meets no stack.
pub(super) fn call(request: Request<Bytes>, operation: Operation) -> Call {
    Call {
        request,
        class: operation.class(),
        operation,
        attempt: 1,
        attempt_timeout: Duration::from_secs(9),
        patience: Patience { until: Instant::now(), is_callers: false },
        lane: Lanes::new(&config()).of(ctx().workspace.id),
        leave: Brought::default(),
    }
}

pub(super) fn answer(status: u16, body: &'static str) -> Evidence {
    Evidence::answered(StatusCode::from_u16(status).unwrap(), body)
}

pub(super) fn with_retry_after(mut evidence: Evidence, value: &'static str) -> Evidence {
    if let Evidence::Answered { headers, .. } = &mut evidence {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
    }
    evidence
}

pub(super) const REFUSED: Evidence = Evidence::NotSent { why: Unsent::Connect };
pub(super) const RESET: Evidence = Evidence::Broken { why: Broken::Connection };
