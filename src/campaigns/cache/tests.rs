//! What the cache promises, each by itself; the order of its steps; and random schedules.

#![allow(clippy::unwrap_used)]

mod interleavings;
mod reading;
mod schedules;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::time::sleep;

use super::*;
use crate::{
    clock::Clock,
    model::{ApiKey, Status, Workspace},
};

pub(super) fn context(workspace: u8) -> Context {
    let id = WorkspaceId([workspace; 16]);
    Context { workspace: Workspace { id, key: ApiKey::new("k").into() }, deadline: None }
}

pub(super) fn campaign() -> CampaignId {
    CampaignId::parse("c").unwrap()
}

pub(super) fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap()
}

/// An upstream of one message, `m`, and what was asked of it.
#[derive(Clone)]
pub(super) struct Upstream(Arc<State>);

struct State {
    clock: Clock,
    message: Mutex<Result<Status, Error>>,
    latency: Mutex<Duration>,
    calls: AtomicUsize,
}

impl Upstream {
    pub(super) fn new(status: Status) -> Self {
        Self(Arc::new(State {
            clock: Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap()),
            message: Mutex::new(Ok(status)),
            latency: Mutex::new(Duration::from_millis(10)),
            calls: AtomicUsize::new(0),
        }))
    }

    pub(super) fn set(&self, status: Status) {
        *self.0.message.lock().unwrap() = Ok(status);
    }

    pub(super) fn fail(&self, reason: Reason) {
        *self.0.message.lock().unwrap() = Err(Error::new(reason, "no"));
    }

    pub(super) fn latency(&self, latency: Duration) {
        *self.0.latency.lock().unwrap() = latency;
    }

    pub(super) fn calls(&self) -> usize {
        self.0.calls.load(SeqCst)
    }

    /// Reads the message. What it says is true at half of its latency.
    pub(super) fn get(&self) -> impl Future<Output = Result<Observed<Message>, Error>> + Send + 'static {
        let state = Arc::clone(&self.0);
        async move {
            let began = state.clock.now();
            state.calls.fetch_add(1, SeqCst);
            let half = *state.latency.lock().unwrap() / 2;
            sleep(half).await;
            let seen = state.message.lock().unwrap().clone();
            sleep(half).await;
            seen.map(|status| Observed { value: Message::bare(id("m"), status), began })
        }
    }

    pub(super) fn page(
        &self,
    ) -> impl Future<Output = Result<Observed<(Page, RawPage)>, Error>> + Send + 'static {
        let read = self.get();
        async move {
            let raw = |message: Message| {
                let text = format!(r#"[{{"id":"{}","status":"{}"}}]"#, message.id, message.upstream_status);
                let raw = RawPage::from(bytes::Bytes::from(text));
                (raw.read().unwrap(), raw)
            };
            Ok(read.await?.map(raw))
        }
    }

    pub(super) fn counts(&self) -> impl Future<Output = Result<Observed<Counts>, Error>> + Send + 'static {
        let read = self.get();
        async move { Ok(read.await?.map(|message| [message.status].into_iter().collect())) }
    }
}

pub(super) fn cache() -> Cache {
    Cache::new(Limits::default())
}

/// Reads `m` in the first workspace.
pub(super) async fn read(
    cache: &Cache,
    upstream: &Upstream,
    max_staleness: Option<Duration>,
) -> Result<Status, Error> {
    Ok(observe(cache, upstream, max_staleness).await?.0)
}

/// The same, with the moment from which the answer speaks.
pub(super) async fn observe(
    cache: &Cache,
    upstream: &Upstream,
    max_staleness: Option<Duration>,
) -> Result<(Status, DateTime<Utc>), Error> {
    let (ctx, campaign, id) = (context(1), campaign(), id("m"));
    let seen = cache.message(&ctx, &campaign, &id, max_staleness, || upstream.get()).await?;
    Ok((seen.value.status, seen.began))
}

pub(super) const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}
