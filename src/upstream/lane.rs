//! The road of one workspace to the upstream: its circuit breaker, its rate, and how much may be on its way
//! at once. Workspaces share none of it, so that none waits for another's tokens, permits or probes.
//!
//! An attempt passes the circuit breaker first (an open circuit spends no token), then waits for a permit,
//! then for its token. Imports wait in a queue of their own, and polls in another one, and only the first of
//! each stands among the lookups: behind however long an import, a lookup waits for one write at most, and
//! behind however many watched campaigns, for one poll.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    circuit_breaker::{CircuitBreaker, Pass},
    config::Config,
    evidence::Evidence,
    patience::Patience,
    rate_limit::{Turn, Turnstile},
};
use crate::{
    error::{Error, Reason},
    model::WorkspaceId,
};

/// What a call is to the workspace's other calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Somebody waits for it: a message, a page, a cancellation.
    Lookup,
    /// A part of an import.
    Bulk,
    /// It is made for the sake of watchers, again and again.
    Poll,
}

/// An import waits for an open circuit, but not for longer than this.
const CIRCUIT_PATIENCE: Duration = Duration::from_secs(30);

/// So many workspaces are remembered without a look at which of them could be forgotten.
const FEWEST_LANES: usize = 1024;

/// What a workspace may use.
#[derive(Clone, Copy, Debug)]
struct Limits {
    rate: Option<NonZeroU32>,
    bulk_share: u8,
    poll_share: u8,
    concurrency: usize,
    bulk_concurrency: usize,
    poll_concurrency: usize,
}

/// The lanes of all workspaces. Those that nobody would miss are forgotten.
#[derive(Debug)]
pub(super) struct Lanes {
    limits: Limits,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    lanes: HashMap<WorkspaceId, Arc<Lane>>,
    /// At this number it is time to forget some.
    look_at: usize,
}

impl Lanes {
    pub(super) fn new(config: &Config) -> Self {
        let concurrency = config.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        // However it is set, a lookup finds a permit that no import holds, nor, if there are three, a poll.
        let bulk_concurrency = config.bulk_concurrency.clamp(1, (concurrency - 1).max(1));
        let others = (concurrency - bulk_concurrency).saturating_sub(1).max(1);
        let limits = Limits {
            rate: config.rate,
            bulk_share: config.bulk_share,
            poll_share: config.poll_share,
            concurrency,
            bulk_concurrency,
            poll_concurrency: (concurrency / 4).clamp(1, others),
        };
        let known = Known { lanes: HashMap::new(), look_at: FEWEST_LANES };
        Self { limits, known: Mutex::new(known) }
    }

    /// A look at each.
    pub(super) fn view(&self) -> Vec<LaneView> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |lane: &Arc<Lane>| LaneView {
            workspace: lane.workspace(),
            circuit: lane.breaker.phase(),
            calls: self.limits.concurrency.saturating_sub(lane.calls.available_permits()),
            batches: self.limits.bulk_concurrency.saturating_sub(lane.bulk.calls.available_permits()),
            polls: self.limits.poll_concurrency.saturating_sub(lane.poll.calls.available_permits()),
        };
        known.lanes.values().map(view).collect()
    }

    /// The lane of this workspace.
    pub(super) fn of(&self, workspace: WorkspaceId) -> Arc<Lane> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = known.lanes.get(&workspace) {
            return Arc::clone(lane);
        }
        if known.lanes.len() >= known.look_at {
            let now = Instant::now();
            known.lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_blank(now));
            // Twice what is in use: so a look costs each newcomer little, however many there are.
            known.look_at = (known.lanes.len() * 2).max(FEWEST_LANES);
        }
        let lane = Arc::new(Lane::new(workspace, self.limits));
        known.lanes.insert(workspace, Arc::clone(&lane));
        lane
    }
}

/// A look at one workspace's lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneView {
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its circuit breaker's phase: `closed`, `open` or `half-open`.
    pub circuit: &'static str,
    /// Calls on their way.
    pub calls: usize,
    /// Batches of imports among them.
    pub batches: usize,
    /// Polls among them.
    pub polls: usize,
}

/// The lane of one workspace. Whoever holds it keeps it from being forgotten.
#[derive(Debug)]
pub(super) struct Lane {
    breaker: Arc<CircuitBreaker>,
    /// Calls of all classes on their way at once.
    calls: Arc<Semaphore>,
    all: Turnstile,
    bulk: SideLane,
    poll: SideLane,
}

/// What stands in front of a lane, for one class of calls alone.
#[derive(Debug)]
struct SideLane {
    /// Those on their way at once; each has one of the lane's `calls` too.
    calls: Arc<Semaphore>,
    queue: Turnstile,
}

/// Leave for one attempt.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) pass: Pass,
    /// Given back when the attempt is over.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl From<Pass> for Leave {
    fn from(pass: Pass) -> Self {
        Self { pass, permit: None }
    }
}

/// Leave to send one batch, or poll, at once, got before a batch is claimed: whoever holds one waits for
/// nothing more. If it is dropped, everything but its token is given back.
#[derive(Debug)]
#[must_use]
pub struct Admission {
    pub(super) lane: Arc<Lane>,
    pub(super) pass: Pass,
    pub(super) permits: Permits,
}

/// What a batch, or a poll, holds through all its attempts.
#[derive(Debug)]
pub(super) struct Permits {
    _call: OwnedSemaphorePermit,
    _side: OwnedSemaphorePermit,
}

impl Lane {
    fn new(workspace: WorkspaceId, limits: Limits) -> Self {
        Self {
            breaker: CircuitBreaker::new(workspace),
            calls: Arc::new(Semaphore::new(limits.concurrency)),
            all: Turnstile::new(limits.rate, 100, Reason::UpstreamRateLimited),
            bulk: SideLane::new(limits.rate, limits.bulk_share, limits.bulk_concurrency),
            poll: SideLane::new(limits.rate, limits.poll_share, limits.poll_concurrency),
        }
    }

    /// Whose it is.
    pub(super) fn workspace(&self) -> WorkspaceId {
        self.breaker.workspace()
    }

    /// Leave for one attempt. An open circuit is told at once. A bulk write and a poll have their permits
    /// since they were admitted.
    pub(super) async fn attempt(&self, class: Class, patience: Patience) -> Result<Leave, Error> {
        let mut permit = None;
        if class == Class::Lookup {
            let pass = self.breaker.pass()?;
            permit = Arc::clone(&self.calls).try_acquire_owned().ok();
            // Usually there is nothing to wait for.
            if permit.is_some() && self.all.try_pass() {
                return Ok(Leave { pass, permit });
            }
            // Who has to wait must not keep the probe's place meanwhile.
            drop(pass);
        }
        // What waits is large, and should not make every call so.
        Box::pin(self.line_up(class, permit, patience)).await
    }

    async fn line_up(
        &self,
        class: Class,
        mut permit: Option<OwnedSemaphorePermit>,
        patience: Patience,
    ) -> Result<Leave, Error> {
        self.check_circuit()?;
        if let Some(side) = self.side(class) {
            let place = side.queue.join(patience)?;
            let turn = place.turn(patience).await?;
            self.check_circuit()?;
            self.take_side_token(&turn, patience).await?;
        } else {
            let place = self.all.join(patience)?;
            if permit.is_none() {
                permit = Some(acquire(&self.calls, patience).await?);
            }
            let turn = place.turn(patience).await?;
            // It may have opened meanwhile, and must cost no token.
            self.check_circuit()?;
            turn.take_token(patience).await?;
        }
        Ok(Leave { pass: self.breaker.pass()?, permit })
    }

    /// Leave for one bulk write, first come, first served. It waits for an open circuit, too.
    pub(super) async fn admit_bulk(self: &Arc<Self>, patience: Patience) -> Result<Admission, Error> {
        self.admit(&self.bulk, patience, || circuit_patience(patience)).await
    }

    /// Leave for one poll. An open circuit is told at once: watchers hear of it.
    pub(super) async fn admit_poll(self: &Arc<Self>, patience: Patience) -> Result<Admission, Error> {
        self.admit(&self.poll, patience, Instant::now).await
    }

    /// Leave for one call of a side lane, which waits for an open circuit until `last`.
    async fn admit(
        self: &Arc<Self>,
        side: &SideLane,
        patience: Patience,
        last: impl Fn() -> Instant,
    ) -> Result<Admission, Error> {
        if patience.is_over() {
            return Err(patience.exhausted());
        }
        // Whoever cannot wait long enough does not begin to.
        self.breaker.check(last())?;
        self.all.check(patience)?;
        let place = side.queue.join(patience)?;
        let own = acquire(&side.calls, patience).await?;
        let turn = place.turn(patience).await?;
        // Only the head asks for it: those who merely wait must not use up what lookups need.
        let call = acquire(&self.calls, patience).await?;
        let last = last();
        loop {
            self.breaker.ready(last).await?;
            self.take_side_token(&turn, patience).await?;
            // Should a lookup have been faster, the next probe's place is waited for.
            if let Ok(pass) = self.breaker.pass() {
                let permits = Permits { _call: call, _side: own };
                return Ok(Admission { lane: Arc::clone(self), pass, permits });
            }
        }
    }

    /// At the head of its own queue a call takes its token, and then stands among the lookups: no more than
    /// one of each class at a time.
    async fn take_side_token(&self, turn: &Turn<'_>, patience: Patience) -> Result<(), Error> {
        turn.take_token(patience).await?;
        let place = self.all.join(patience)?;
        place.turn(patience).await?.take_token(patience).await
    }

    fn side(&self, class: Class) -> Option<&SideLane> {
        match class {
            Class::Lookup => None,
            Class::Bulk => Some(&self.bulk),
            Class::Poll => Some(&self.poll),
        }
    }

    fn check_circuit(&self) -> Result<(), Error> {
        self.breaker.cut().map_or(Ok(()), |cut| Err(cut.into()))
    }

    /// What the upstream told one call to wait is meant for its like, too: they need not collect refusals
    /// of their own. A 429 is meant for all of the workspace; a 503 may be about the import's weight.
    pub(super) fn heed(&self, evidence: &Evidence, asked: impl FnOnce() -> Option<Duration>) {
        let pauses = match evidence.status().map(|status| status.as_u16()) {
            Some(429) => &self.all,
            Some(503) => &self.bulk.queue,
            _ => return,
        };
        if let Some(wait) = asked() {
            pauses.pause(wait);
        }
    }

    /// Whether a new lane would do as well.
    fn is_blank(&self, now: Instant) -> bool {
        let queues = [&self.all, &self.bulk.queue, &self.poll.queue];
        self.breaker.is_blank(now) && queues.iter().all(|queue| queue.is_blank(now))
    }
}

impl SideLane {
    fn new(rate: Option<NonZeroU32>, share: u8, concurrency: usize) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(concurrency)),
            queue: Turnstile::new(rate, share, Reason::UpstreamUnavailable),
        }
    }
}

fn circuit_patience(patience: Patience) -> Instant {
    patience.until.min(Instant::now() + CIRCUIT_PATIENCE)
}

async fn acquire(permits: &Arc<Semaphore>, patience: Patience) -> Result<OwnedSemaphorePermit, Error> {
    let permit = patience.wait(Arc::clone(permits).acquire_owned()).await?;
    permit.map_err(|_: AcquireError| Error::new(Reason::Internal, "the lane of a workspace was closed"))
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
