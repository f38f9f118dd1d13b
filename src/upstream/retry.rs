//! When to try again. A budget, not a count, is what keeps an upstream in trouble from being buried:
//! however many calls fail, the attempts beyond the first are a tenth of them, plus one a second.

use std::{sync::Arc, time::Duration};

use tokio::time::Sleep;
use tower::retry::Policy;

use super::{classify::curable, config::Batches, evidence::Evidence, request::Call, retry_budget::Budget};
use crate::{clock::Clock, error::Applied, telemetry::metrics};

/// The most attempts of one call, the first included.
const ATTEMPTS: u32 = 4;
/// The longest wait before the second attempt; it doubles with each further one ...
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// ... up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Tries a read again where that may help, and a write only where nothing was done.
#[derive(Clone)]
pub(super) struct Retry {
    budget: Arc<Budget>,
    batches: Batches,
    clock: Clock,
}

impl Retry {
    pub(super) fn new(batches: Batches, clock: Clock) -> Self {
        Self { budget: Arc::new(Budget::new()), batches, clock }
    }

    /// How long to wait before the next attempt; `None`: there is none.
    fn wait(&self, call: &Call, evidence: &Evidence) -> Option<Duration> {
        let error = curable(&call.operation, evidence, self.batches, self.clock.now())?;
        debug_assert_eq!(error.applied(), Applied::No);
        if call.attempt >= ATTEMPTS {
            return None;
        }
        let wait = match evidence.retry_after(self.clock.now()) {
            // Sooner would be refused; all at once would be a stampede.
            Some(asked) => asked + jitter(FIRST_BACKOFF),
            None => backoff(call.attempt),
        };
        // The budget is asked last: what is not spent is left for others.
        (call.patience.lasts(wait) && self.budget.spend()).then_some(wait)
    }
}

impl<E> Policy<Call, Evidence, E> for Retry {
    type Future = Sleep;

    fn retry(&mut self, call: &mut Call, result: &mut Result<Evidence, E>) -> Option<Sleep> {
        // What was refused here, by the circuit breaker or for want of a token, never went out: it earns
        // nothing, and ends the call.
        let evidence = result.as_ref().ok()?;
        if call.attempt == 1 {
            self.budget.earn();
        }
        let wait = self.wait(call, evidence)?;
        call.attempt += 1;
        metrics().retry();
        Some(tokio::time::sleep(wait))
    }

    fn clone_request(&mut self, call: &Call) -> Option<Call> {
        Some(call.clone())
    }
}

/// Full jitter: anything from nothing to the longest wait, so that callers who failed together do not
/// come back together.
fn backoff(attempt: u32) -> Duration {
    let longest = FIRST_BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    jitter(longest.min(LONGEST_BACKOFF))
}

fn jitter(longest: Duration) -> Duration {
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
