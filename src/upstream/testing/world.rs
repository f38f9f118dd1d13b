//! An upstream on virtual time, for what a lane promises: it takes its time, counts what is on its way, and
//! answers as its tests say.

use std::{
    convert::Infallible,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};
use tower::service_fn;

use super::{answer, batch, campaign, config, ctx, message_id, now};
use crate::{
    clock::Clock,
    context::Context,
    error::{Error, Reason},
    model::WorkspaceId,
    upstream::{Call, Client, Config, Evidence, Outcome, lane::Class},
};

const FOUND: &str = r#"{"id":"m1","status":"SENT"}"#;
const ADDED: &str = r#"{"items":[{"messageId":"m"}]}"#;
pub(in crate::upstream) const MILLISECOND: Duration = Duration::from_millis(1);

/// The upstream, and a client of it.
#[derive(Clone)]
pub(in crate::upstream) struct World {
    pub(in crate::upstream) client: Client,
    state: Arc<State>,
}

struct State {
    takes: Duration,
    answer: Mutex<Option<Evidence>>,
    seen: Mutex<Vec<(Instant, Class)>>,
    /// On their way, and the most there ever were: all, of imports, of polls.
    flying: [AtomicUsize; 3],
    most: [AtomicUsize; 3],
}

impl State {
    async fn meet(self: Arc<Self>, call: Call) -> Result<Evidence, Infallible> {
        let class = call.class;
        self.seen.lock().unwrap().push((Instant::now(), class));
        let counts: &[usize] = match class {
            Class::Lookup => &[0],
            Class::Bulk => &[0, 1],
            Class::Poll => &[0, 2],
        };
        for i in counts {
            let flying = self.flying[*i].fetch_add(1, Ordering::Relaxed) + 1;
            self.most[*i].fetch_max(flying, Ordering::Relaxed);
        }
        sleep(self.takes).await;
        for i in counts {
            self.flying[*i].fetch_sub(1, Ordering::Relaxed);
        }
        let usual = if class == Class::Bulk { ADDED } else { FOUND };
        Ok(self.answer.lock().unwrap().clone().unwrap_or_else(|| Evidence::answered(StatusCode::OK, usual)))
    }
}

impl World {
    pub(in crate::upstream) fn new(takes: u64, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let state = Arc::new(State {
            takes: Duration::from_millis(takes),
            answer: Mutex::new(None),
            seen: Mutex::default(),
            flying: Default::default(),
            most: Default::default(),
        });
        let meets = Arc::clone(&state);
        let transport = service_fn(move |call: Call| Arc::clone(&meets).meet(call));
        Self { client: Client::with_transport(transport, &config, Clock::anchored(now())), state }
    }

    pub(in crate::upstream) fn rated(rate: u32, takes: u64) -> Self {
        Self::new(takes, |config| config.rate = NonZeroU32::new(rate))
    }

    pub(in crate::upstream) fn answers(&self, evidence: impl Into<Option<Evidence>>) {
        *self.state.answer.lock().unwrap() = evidence.into();
    }

    pub(in crate::upstream) fn seen(&self, class: Class) -> Vec<Instant> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|(_, seen)| *seen == class).map(|(at, _)| *at).collect()
    }

    pub(in crate::upstream) fn most(&self) -> [usize; 3] {
        self.state.most.each_ref().map(|most| most.load(Ordering::Relaxed))
    }

    /// So many batches of this workspace, all at once.
    pub(in crate::upstream) fn import(
        &self,
        ctx: &Context,
        batches: usize,
    ) -> Vec<JoinHandle<Result<Outcome, Error>>> {
        let one = || {
            let (client, ctx) = (self.client.clone(), ctx.clone());
            tokio::spawn(async move {
                let admission = client.admit(&ctx).await?;
                Ok(client.add_audience(&ctx, &campaign(), &batch(&["a"]), admission).await)
            })
        };
        (0..batches).map(|_| one()).collect()
    }

    /// So many polls of this workspace, all at once.
    pub(in crate::upstream) fn polls(&self, ctx: &Context, count: usize) -> Vec<JoinHandle<()>> {
        let one = || {
            let (client, ctx) = (self.client.polling(), ctx.clone());
            tokio::spawn(async move {
                client.get_message(&ctx, &campaign(), &message_id("m1")).await.unwrap();
            })
        };
        (0..count).map(|_| one()).collect()
    }

    /// How long a lookup takes.
    pub(in crate::upstream) async fn lookup(&self, ctx: &Context) -> Result<Duration, Error> {
        let began = Instant::now();
        self.client.get_message(ctx, &campaign(), &message_id("m1")).await.map(|_| began.elapsed())
    }

    /// Makes this workspace's circuit open.
    pub(in crate::upstream) async fn break_circuit(&self, ctx: &Context) -> Duration {
        self.answers(answer(500, ""));
        loop {
            if let Err(error) = self.lookup(ctx).await
                && error.reason() == Reason::UpstreamCircuitOpen
            {
                self.answers(None);
                return error.retry_delay().unwrap();
            }
        }
    }
}

pub(in crate::upstream) fn workspace(n: u8) -> Context {
    let mut ctx = ctx();
    ctx.workspace.id = WorkspaceId([n; 16]);
    ctx
}

pub(in crate::upstream) fn within(ctx: Context, seconds: u64) -> Context {
    Context { deadline: Some(Instant::now() + Duration::from_secs(seconds)), ..ctx }
}

pub(in crate::upstream) async fn settle() {
    for _ in 0..2_000 {
        yield_now().await;
    }
}
