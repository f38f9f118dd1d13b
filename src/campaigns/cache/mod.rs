//! What was read of messages lately, and how old it may be for whom. A terminal message never changes again
//! and is kept long; one that may move serves for a moment. Errors are not kept, a 404 hardly.
//!
//! A read is stamped before its first request goes out. `fence` keeps one that was stamped before a
//! cancellation from bringing back what that ended; pages, counts and 404s carry the number of their
//! campaign's last write in their names, and are not found under another. `flights` lets equal reads share one
//! request; `key` says what is kept under which name.

mod epochs;
mod fence;
mod flights;
mod key;
#[cfg(test)]
mod tests;

/// The primitives of `fence`, which a test replaces to try every order of its steps.
mod sync {
    pub(super) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

pub use self::key::ReadStart;
use self::{
    epochs::Epochs,
    fence::Fences,
    flights::{Boarded, Fetch, Flights, Landed},
    key::{Entry, Key, Scope, Sheet, Value},
};
use crate::{
    context::Context,
    error::{Error, Reason},
    model::{CampaignId, Counts, Message, MessageId, Observed, Page, Slice, WorkspaceId},
    telemetry::{CacheResult, metrics},
    upstream::RawPage,
};

/// How old what is kept may be, where the caller says nothing, and how much of it there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a message that may still change, for a page and for counts.
    pub moving_for: Duration,
    /// For a terminal message. Nothing at all is kept for longer than the longer of the two.
    pub terminal_for: Duration,
    /// For the upstream's word that it has no such message; callers cannot ask for more.
    pub missing_for: Duration,
    /// About how many bytes are kept.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            moving_for: Duration::from_secs(2),
            terminal_for: Duration::from_secs(3_600),
            missing_for: Duration::from_secs(1),
            max_bytes: 64 << 20,
        }
    }
}

/// The cache. Clones share everything.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

struct Shared {
    limits: Limits,
    fences: Fences,
    epochs: Epochs,
    store: moka::sync::Cache<Key, Entry>,
    flights: Flights,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        let store = moka::sync::Cache::builder()
            .max_capacity(limits.max_bytes)
            .weigher(|_: &Key, entry: &Entry| entry.weight())
            .time_to_live(limits.moving_for.max(limits.terminal_for));
        Self(Arc::new(Shared {
            limits,
            fences: Fences::new(),
            epochs: Epochs::new(),
            store: store.build(),
            flights: Flights::default(),
        }))
    }

    /// A message: as it is kept, if that is not older than `max_staleness` (unset: the default for its
    /// status), else as `fetch` brings it, once for all who ask meanwhile.
    ///
    /// # Errors
    /// `fetch`'s; `DeadlineExceeded`.
    pub async fn message<F>(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        id: &MessageId,
        max_staleness: Option<Duration>,
        fetch: impl Fn() -> F,
    ) -> Result<Observed<Arc<Message>>, Error>
    where
        F: Future<Output = Result<Observed<Message>, Error>> + Send + 'static,
    {
        let workspace = ctx.workspace.id;
        let key = Key::message(self.scope(workspace, campaign), id);
        let fetch = || {
            let (cache, campaign, read) = (self.clone(), campaign.clone(), fetch());
            boxed(async move {
                let lists = cache.lists(workspace, &campaign);
                match read.await {
                    Ok(seen) => Ok(Value::Message(seen.map(Arc::new))),
                    Err(error) if error.reason() == Reason::MessageNotFound => {
                        Ok(Value::Missing { error, lists })
                    }
                    Err(error) => Err(error),
                }
            })
        };
        let mut value = self.ask(ctx, &key, max_staleness, fetch).await?;
        // Something was added since that read began, perhaps before the caller came. The next one will not
        // have begun before that.
        if matches!(value, Value::Missing { lists, .. } if lists != self.lists(workspace, campaign)) {
            value = self.ask(ctx, &key, max_staleness, fetch).await?;
        }
        match value {
            Value::Message(message) => Ok(message),
            Value::Missing { error, .. } => Err(error),
            Value::Page(_) | Value::Counts(_) => Err(confused()),
        }
    }

    /// A page of a campaign's messages, as [`Cache::message`].
    ///
    /// # Errors
    /// `fetch`'s; `DeadlineExceeded`.
    pub async fn page<F>(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        slice: Slice,
        max_staleness: Option<Duration>,
        fetch: impl FnOnce() -> F,
    ) -> Result<Observed<Page>, Error>
    where
        F: Future<Output = Result<Observed<(Page, RawPage)>, Error>> + Send + 'static,
    {
        let lists = self.lists(ctx.workspace.id, campaign);
        let key = Key::Page { scope: self.scope(ctx.workspace.id, campaign), lists, slice };
        let fetch = || {
            let read = fetch();
            boxed(async move { Ok(Value::Page(read.await?.map(Sheet::new))) })
        };
        match self.ask(ctx, &key, max_staleness, fetch).await? {
            Value::Page(Observed { value, began }) => Ok(Observed { value: value.read()?, began }),
            Value::Message(_) | Value::Missing { .. } | Value::Counts(_) => Err(confused()),
        }
    }

    /// A campaign's messages by status, as [`Cache::message`].
    ///
    /// # Errors
    /// `fetch`'s; `DeadlineExceeded`.
    pub async fn counts<F>(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        max_staleness: Option<Duration>,
        fetch: impl FnOnce() -> F,
    ) -> Result<Observed<Counts>, Error>
    where
        F: Future<Output = Result<Observed<Counts>, Error>> + Send + 'static,
    {
        let lists = self.lists(ctx.workspace.id, campaign);
        let key = Key::Counts { scope: self.scope(ctx.workspace.id, campaign), lists };
        let fetch = || {
            let read = fetch();
            boxed(async move { Ok(Value::Counts(read.await?)) })
        };
        match self.ask(ctx, &key, max_staleness, fetch).await? {
            Value::Counts(counts) => Ok(counts),
            Value::Message(_) | Value::Missing { .. } | Value::Page(_) => Err(confused()),
        }
    }

    /// Says that a read begins whose messages [`Cache::saw`] will be told. To be asked for before the read is
    /// sent.
    pub fn start(&self) -> ReadStart {
        ReadStart { stamp: self.0.fences.stamp(), at: Instant::now() }
    }

    /// Keeps what a read brought that was not asked for here.
    pub fn saw(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
        start: ReadStart,
        observed: DateTime<Utc>,
        messages: impl IntoIterator<Item = Arc<Message>>,
    ) {
        let scope = self.scope(workspace, campaign);
        for message in messages {
            let key = Key::message(scope.clone(), &message.id);
            let value = Value::Message(Observed { value: message, began: observed });
            self.put(&key, Entry { value, start });
        }
    }

    /// Takes it that this server's cancellation of a message may have been applied: nothing that was read of
    /// it before is served any more, nor any page or count of its campaign.
    pub fn cancelled(&self, workspace: WorkspaceId, campaign: &CampaignId, id: &MessageId) {
        let key = Key::message(self.scope(workspace, campaign), id);
        self.0.fences.wrote(&key, || self.0.store.invalidate(&key));
        self.added(workspace, campaign);
    }

    /// Takes it that this server may have added messages: what pages, counts and 404s say is outdated.
    pub fn added(&self, workspace: WorkspaceId, campaign: &CampaignId) {
        self.0.epochs.advance(&(workspace, campaign));
    }

    /// How many answers are kept, and about how many bytes they take.
    pub fn size(&self) -> (u64, u64) {
        // What was kept a moment ago is counted by now.
        self.0.store.run_pending_tasks();
        (self.0.store.entry_count(), self.0.store.weighted_size())
    }

    /// Takes note of a failure: with a key that the upstream refuses, whoever holds it, nothing of its workspace
    /// may be read.
    pub fn failed(&self, workspace: WorkspaceId, error: &Error) {
        if matches!(error.reason(), Reason::ApiKeyInvalid | Reason::UpstreamKeyRefused) {
            self.0.epochs.advance(&workspace);
        }
    }

    async fn ask(
        &self,
        ctx: &Context,
        key: &Key,
        max_staleness: Option<Duration>,
        fetch: impl FnOnce() -> Fetch,
    ) -> Result<Value, Error> {
        let known = || self.known(key, max_staleness);
        if let Some(value) = known() {
            metrics().cache(CacheResult::Hit);
            return Ok(value);
        }
        let allowed = max_staleness.unwrap_or(self.0.limits.moving_for);
        if allowed.is_zero() {
            metrics().cache(CacheResult::Miss);
            return until(ctx.deadline, self.read_alone(key, fetch())).await.map(|entry| entry.value);
        }
        let now = Instant::now();
        let fresh = |start: &ReadStart| {
            now.saturating_duration_since(start.at) <= allowed && self.0.fences.shows_all(key, start.stamp)
        };
        let landed = match self.0.flights.board(key, known, fresh, fetch, self) {
            Boarded::Landed(value) => {
                metrics().cache(CacheResult::Hit);
                return Ok(value);
            }
            Boarded::Flies(flight) => {
                metrics().cache(CacheResult::Miss);
                until(ctx.deadline, flight).await
            }
            Boarded::Waits(mut gate) => {
                metrics().cache(CacheResult::Shared);
                let landed = async {
                    let landed = gate.wait_for(Option::is_some).await;
                    landed.ok().and_then(|landed| landed.clone()).unwrap_or_else(|| Err(broke_off()))
                };
                until(ctx.deadline, landed).await
            }
        };
        landed.map(|entry| entry.value)
    }

    /// Asks the upstream for one caller, who wants no age at all: another's read began before this one's call.
    async fn read_alone(&self, key: &Key, fetch: Fetch) -> Landed {
        let start = self.start();
        let landed = fetch.await.map(|value| Entry { value, start });
        self.landed(key, &landed);
        landed
    }

    /// What is kept, if it is not too old.
    fn known(&self, key: &Key, max_staleness: Option<Duration>) -> Option<Value> {
        let Limits { moving_for, terminal_for, missing_for, .. } = self.0.limits;
        if max_staleness.is_some_and(|allowed| allowed.is_zero()) {
            return None;
        }
        let Entry { value, start } = self.0.store.get(key)?;
        let allowed = match &value {
            Value::Message(message) if message.value.status.is_terminal() => {
                max_staleness.unwrap_or(terminal_for)
            }
            Value::Message(_) | Value::Page(_) | Value::Counts(_) => max_staleness.unwrap_or(moving_for),
            Value::Missing { lists, .. } => {
                let Scope { workspace, campaign, .. } = key.scope();
                if *lists != self.lists(*workspace, campaign) {
                    return None;
                }
                max_staleness.unwrap_or(missing_for).min(missing_for)
            }
        };
        (!allowed.is_zero() && start.at.elapsed() <= allowed).then_some(value)
    }

    /// Keeps it, unless something newer is kept, or a cancellation came in between.
    fn put(&self, key: &Key, entry: Entry) {
        self.0.fences.fill(key, entry.start.stamp, || {
            let newer = |kept: Entry| kept.start.stamp > entry.start.stamp;
            if !self.0.store.get(key).is_some_and(newer) {
                self.0.store.insert(key.clone(), entry);
            }
        });
    }

    /// Takes what a read came to.
    fn landed(&self, key: &Key, landed: &Landed) {
        match landed {
            Ok(entry) => self.put(key, entry.clone()),
            Err(error) => self.failed(key.scope().workspace, error),
        }
    }

    fn scope(&self, workspace: WorkspaceId, campaign: &CampaignId) -> Scope {
        let purges = self.0.epochs.of(&workspace);
        Scope { workspace, purges, campaign: campaign.clone() }
    }

    fn lists(&self, workspace: WorkspaceId, campaign: &CampaignId) -> u64 {
        self.0.epochs.of(&(workspace, campaign))
    }
}

/// A read that has not begun: boxed at once, since it is large and would be moved at each step on its way.
fn boxed(read: impl Future<Output = Result<Value, Error>> + Send + 'static) -> Fetch {
    Box::pin(read)
}

/// Waits for a read to land, until the caller's deadline.
async fn until(deadline: Option<Instant>, landing: impl Future<Output = Landed>) -> Landed {
    match deadline {
        None => landing.await,
        Some(at) => timeout_at(at, landing).await.unwrap_or_else(|_| Err(unanswered())),
    }
}

fn unanswered() -> Error {
    Error::new(Reason::DeadlineExceeded, "the deadline passed before the upstream answered")
}

fn broke_off() -> Error {
    Error::new(Reason::Internal, "the read broke off by a fault of this server: repeat it")
}

fn confused() -> Error {
    Error::new(Reason::Internal, "something else was kept under this name than was put there")
}
