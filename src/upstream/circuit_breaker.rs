//! Stops asking an upstream that only fails, and finds out, one probe at a time, when it is back.
//!
//! Each workspace has a breaker of its own: one whose campaign always answers 500 must not cut off the
//! others. An outage of the whole upstream opens them one by one, each after a few attempts.
//!
//! *Closed*: attempts pass, and are counted over the last ten seconds. *Open*: none passes. *Half-open*: one
//! probe at a time passes; three clean ones in a row close the circuit, one failure opens it for longer.

mod window;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use self::window::Window;
use super::evidence::Evidence;
use crate::{
    error::{Error, Reason},
    model::WorkspaceId,
};

/// How long the circuit is open at first; it doubles each time that a probe fails ...
const FIRST_OPEN: Duration = Duration::from_secs(5);
/// ... up to this.
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// So many clean probes in a row close the circuit.
const CLEAN_PROBES: u32 = 3;
/// What a caller is told to wait while a probe is on its way: nobody knows when its answer comes.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// The breaker of one workspace.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    workspace: WorkspaceId,
    state: Mutex<State>,
    /// Told to those who wait for the circuit whenever another look is worth it.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Counts the phases: what an attempt tells of an earlier one is no longer of interest.
    term: u64,
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open {
        until: Instant,
        /// How often it opened since it was last closed.
        times: u32,
    },
    HalfOpen {
        probing: bool,
        clean: u32,
        times: u32,
        since: Instant,
    },
}

/// Why nobody may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The circuit is open until then.
    Until(Instant),
    /// It is half-open, and its one probe is on its way.
    Probing,
}

impl From<Cut> for Error {
    fn from(cut: Cut) -> Self {
        let left = match cut {
            Cut::Until(until) => until.saturating_duration_since(Instant::now()),
            Cut::Probing => PROBE_WAIT,
        };
        Self::new(
            Reason::UpstreamCircuitOpen,
            "the upstream kept failing for this workspace: it is left alone for a while",
        )
        .retry_after(left)
    }
}

/// Leave to make one attempt. Dropped without a word it says nothing of the upstream, and gives a probe's
/// place back.
#[derive(Debug)]
#[must_use]
pub(super) struct Pass {
    breaker: Arc<CircuitBreaker>,
    term: u64,
    is_probe: bool,
    settled: bool,
}

impl CircuitBreaker {
    pub(super) fn new(workspace: WorkspaceId) -> Arc<Self> {
        let phase = Phase::Closed(Window::new(Instant::now()));
        Arc::new(Self { workspace, state: Mutex::new(State { phase, term: 0 }), changed: Notify::new() })
    }

    /// Whose it is.
    pub(super) fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Leave for one attempt, or how things stand. Never waits.
    pub(super) fn pass(self: &Arc<Self>) -> Result<Pass, Cut> {
        let mut state = self.lock();
        if let Some(cut) = state.cut() {
            return Err(cut);
        }
        let is_probe = match &mut state.phase {
            Phase::Closed(_) => false,
            Phase::HalfOpen { probing, .. } => {
                *probing = true;
                true
            }
            Phase::Open { times, .. } => {
                let times = *times;
                state.enter(Phase::HalfOpen { probing: true, clean: 0, times, since: Instant::now() });
                true
            }
        };
        Ok(Pass { breaker: Arc::clone(self), term: state.term, is_probe, settled: false })
    }

    /// Why nobody may pass now, if so.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.lock().cut()
    }

    /// Whether there is any hope that somebody may pass until `last`.
    pub(super) fn check(&self, last: Instant) -> Result<(), Cut> {
        match self.cut() {
            Some(cut @ Cut::Until(until)) if until > last => Err(cut),
            Some(Cut::Until(_) | Cut::Probing) | None => Ok(()),
        }
    }

    /// Waits until somebody may pass, until `last` at most. A circuit that stays open for longer is told
    /// at once.
    pub(super) async fn ready(&self, last: Instant) -> Result<(), Cut> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let Some(cut) = self.cut() else { return Ok(()) };
            let next = match cut {
                Cut::Until(until) => until,
                Cut::Probing => last,
            };
            if next > last || last <= Instant::now() {
                return Err(cut);
            }
            // Whether the time came or something changed, another look tells.
            let _ = timeout_at(next, changed).await;
        }
    }

    /// Whether a new breaker would do as well: nothing is known that this one would be missed for.
    pub(super) fn is_blank(&self, now: Instant) -> bool {
        match &self.lock().phase {
            Phase::Closed(window) => !window.has_failures(now),
            Phase::Open { until, .. } => now >= *until + LONGEST_OPEN,
            Phase::HalfOpen { probing, since, .. } => !probing && now >= *since + LONGEST_OPEN,
        }
    }

    /// Its phase, in a word.
    pub(super) fn phase(&self) -> &'static str {
        match self.lock().phase {
            Phase::Closed(_) => "closed",
            Phase::Open { .. } => "open",
            Phase::HalfOpen { .. } => "half-open",
        }
    }

    fn settle(&self, term: u64, failed: bool) {
        let mut state = self.lock();
        if state.term != term {
            return;
        }
        let now = Instant::now();
        match &mut state.phase {
            Phase::Closed(window) => {
                window.count(now, failed);
                if failed && window.is_bad() {
                    self.open(&mut state, now, 1);
                }
            }
            Phase::HalfOpen { probing, clean, times, since } => {
                (*probing, *since) = (false, now);
                *clean += 1;
                let times = *times;
                if failed {
                    self.open(&mut state, now, times.saturating_add(1));
                } else if *clean >= CLEAN_PROBES {
                    state.enter(Phase::Closed(Window::new(now)));
                    tracing::info!(workspace = ?self.workspace, "the circuit is closed: the upstream answers again");
                }
                self.changed.notify_waiters();
            }
            // A phase that is open gives no passes.
            Phase::Open { .. } => {}
        }
    }

    fn open(&self, state: &mut State, now: Instant, times: u32) {
        let length = open_for(times);
        state.enter(Phase::Open { until: now + length, times });
        tracing::warn!(workspace = ?self.workspace, ?length, "the circuit is open: the upstream keeps failing");
    }

    fn give_back(&self, term: u64) {
        let mut state = self.lock();
        if state.term == term
            && let Phase::HalfOpen { probing, since, .. } = &mut state.phase
        {
            (*probing, *since) = (false, Instant::now());
            self.changed.notify_waiters();
        }
    }

    /// A panic under the lock cannot leave a phase half written.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut(&self) -> Option<Cut> {
        match &self.phase {
            Phase::Open { until, .. } => Some(Cut::Until(*until)).filter(|_| Instant::now() < *until),
            Phase::HalfOpen { probing: true, .. } => Some(Cut::Probing),
            Phase::HalfOpen { .. } | Phase::Closed(_) => None,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.term += 1;
    }
}

/// Up to a tenth sooner, so that workspaces which were cut off together do not come back together.
fn open_for(times: u32) -> Duration {
    let longest = FIRST_OPEN.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST_OPEN);
    longest.mul_f64(1.0 - 0.1 * fastrand::f64())
}

impl Pass {
    /// Says what came of the attempt. That nothing was sent, that the trail broke off and any 5xx are
    /// failures; every other answer shows an upstream that works, a 4xx and a 429 too.
    pub(super) fn settle(mut self, evidence: &Evidence) {
        self.settled = true;
        let failed = evidence.status().is_none_or(|status| status.is_server_error());
        self.breaker.settle(self.term, failed);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_probe && !self.settled {
            self.breaker.give_back(self.term);
        }
    }
}

#[cfg(test)]
#[path = "circuit_breaker_tests.rs"]
mod tests;
