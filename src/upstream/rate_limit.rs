//! How fast a workspace may ask: a queue in the order of arrival, at whose head one call waits for its token.
//!
//! A workspace has one such turnstile for all its calls, and one more in front of it for its imports alone,
//! which turns slower: what it holds back is left for lookups. governor keeps the rate; it is asked by the
//! runtime's clock, never to wait, as it waits on the system's.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, sleep},
};

use super::patience::{Patience, overloaded};
use crate::error::{Error, Reason};

/// No pause that the upstream asks of one call is taken to hold for all calls for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Lets calls through in the order in which they came, at most at its rate, and none during a pause.
#[derive(Debug)]
pub(super) struct Turnstile {
    start: Instant,
    /// `None`: as fast as they come.
    rate: Option<Rate>,
    /// Its holder is the head of the queue. tokio's mutex is fair.
    queue: Mutex<()>,
    /// How many stand in the queue, the head included.
    waiting: AtomicU32,
    /// Nanoseconds after `start`.
    paused_until: AtomicU64,
    /// What those are told whom a pause turns away.
    pause_reason: Reason,
}

#[derive(Debug)]
struct Rate {
    governor: RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<Duration>>,
    clock: RuntimeClock,
    /// The time that one token takes.
    period: Duration,
    /// The time in which all tokens come back.
    refill: Duration,
    /// When all tokens are back at the latest, and when the last one that was missed comes: nanoseconds
    /// after the turnstile's start.
    full_at: AtomicU64,
    next_at: AtomicU64,
}

/// The runtime's clock as governor reads it.
#[derive(Clone, Copy, Debug)]
struct RuntimeClock {
    start: Instant,
}

impl Clock for RuntimeClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// What may be spent at once: a second's worth, but one token at least.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    /// `per_100s` calls in a hundred seconds.
    fn new(per_100s: u64, start: Instant) -> Option<Self> {
        let period = Duration::from_nanos(100_000_000_000_u64.checked_div(per_100s)?.max(1));
        let burst = u32::try_from(BURST.as_nanos() / period.as_nanos()).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let clock = RuntimeClock { start };
        let quota = Quota::with_period(period)?.allow_burst(burst);
        Some(Self {
            governor: RateLimiter::direct_with_clock(quota, clock),
            clock,
            period,
            refill: period.saturating_mul(burst.get()),
            full_at: AtomicU64::new(0),
            next_at: AtomicU64::new(0),
        })
    }

    /// Takes a token, or says how long it is until there is one.
    fn take(&self) -> Result<(), Duration> {
        let now = self.clock.now();
        match self.governor.check() {
            Ok(()) => {
                self.full_at.fetch_max(nanos(now + self.refill), Ordering::Relaxed);
                Ok(())
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(now);
                self.next_at.store(nanos(now + wait), Ordering::Relaxed);
                Err(wait)
            }
        }
    }

    /// How long it is until there is a token for whoever comes after so many others, as far as is known.
    fn outlook(&self, ahead: u32) -> Duration {
        // Only where somebody was refused a token is it known that none is in stock.
        let next_at = Duration::from_nanos(self.next_at.load(Ordering::Relaxed));
        next_at
            .checked_sub(self.clock.now())
            .map_or(Duration::ZERO, |next| next.saturating_add(self.period.saturating_mul(ahead)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A place in the queue, from when a call comes until it is through.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Turnstile);

/// The head of the queue. While it is held, nobody else gets through.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turnstile: &'a Turnstile,
    _head: MutexGuard<'a, ()>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Place<'a> {
    /// Waits to become the head of the queue.
    pub(super) async fn turn(&self, patience: Patience) -> Result<Turn<'a>, Error> {
        let head = patience.wait(self.0.queue.lock()).await?;
        Ok(Turn { turnstile: self.0, _head: head })
    }
}

impl Turn<'_> {
    /// Waits for a pause to end and takes a token, or says so as soon as it is plain that the wait is too
    /// long.
    pub(super) async fn take_token(&self, patience: Patience) -> Result<(), Error> {
        loop {
            let wait = if let Some(left) = self.turnstile.pause_left() {
                self.turnstile.check_pause(left, patience)?;
                left
            } else if let Some(Err(wait)) = self.turnstile.rate.as_ref().map(Rate::take) {
                check_quota(wait, patience)?;
                wait
            } else {
                return Ok(());
            };
            sleep(wait).await;
        }
    }
}

impl Turnstile {
    /// `rate` in calls a second, of which `percent` may be used; `None`: as many as come. `pause_reason` is
    /// why it is paused when it is.
    pub(super) fn new(rate: Option<NonZeroU32>, percent: u8, pause_reason: Reason) -> Self {
        let start = Instant::now();
        let percent = u64::from(percent.clamp(1, 100));
        Self {
            start,
            rate: rate.and_then(|rate| Rate::new(u64::from(rate.get()) * percent, start)),
            queue: Mutex::new(()),
            waiting: AtomicU32::new(0),
            paused_until: AtomicU64::new(0),
            pause_reason,
        }
    }

    /// Passes if that can be done at once and before nobody else.
    pub(super) fn try_pass(&self) -> bool {
        if self.pause_left().is_some() {
            return false;
        }
        match &self.rate {
            None => true,
            Some(rate) => self.queue.try_lock().is_ok_and(|_head| rate.take().is_ok()),
        }
    }

    /// Takes a place in the queue, unless it is plain that the wait is too long.
    pub(super) fn join(&self, patience: Patience) -> Result<Place<'_>, Error> {
        self.check(patience)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Ok(Place(self))
    }

    /// Whether there is any hope of passing in time.
    pub(super) fn check(&self, patience: Patience) -> Result<(), Error> {
        if let Some(left) = self.pause_left() {
            self.check_pause(left, patience)?;
        }
        match &self.rate {
            Some(rate) => check_quota(rate.outlook(self.waiting.load(Ordering::Relaxed)), patience),
            None => Ok(()),
        }
    }

    /// Lets nobody through for this long. A pause that already lasts longer stands.
    pub(super) fn pause(&self, length: Duration) {
        let until = self.start.elapsed() + length.min(LONGEST_PAUSE);
        self.paused_until.fetch_max(nanos(until), Ordering::Relaxed);
    }

    /// Whether a new turnstile would do as well: all tokens are there, and nothing is paused.
    pub(super) fn is_blank(&self, now: Instant) -> bool {
        let now = nanos(now.saturating_duration_since(self.start));
        let full_at = self.rate.as_ref().map_or(0, |rate| rate.full_at.load(Ordering::Relaxed));
        now >= full_at.max(self.paused_until.load(Ordering::Relaxed))
    }

    fn pause_left(&self) -> Option<Duration> {
        let until = self.paused_until.load(Ordering::Relaxed);
        if until == 0 {
            // The usual case does not even look at the clock.
            return None;
        }
        Duration::from_nanos(until).checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
    }

    fn check_pause(&self, left: Duration, patience: Patience) -> Result<(), Error> {
        if patience.lasts(left) {
            return Ok(());
        }
        let why = "the upstream asked to be left alone for a while: this call could not wait so long";
        Err(Error::new(self.pause_reason, why).retry_after(left))
    }
}

fn check_quota(wait: Duration, patience: Patience) -> Result<(), Error> {
    if patience.lasts(wait) { Ok(()) } else { Err(overloaded().retry_after(wait)) }
}

#[cfg(test)]
#[path = "rate_limit_tests.rs"]
mod tests;
