//! How fast a campaign is polled: at full speed while something moves, slower and slower while nothing
//! does, and never so fast that it costs more calls than it may. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::WatchConfig;

/// So long after something moved, and so long before and after a message is due, more is expected.
pub(super) const LIVELY: Duration = Duration::from_secs(300);

/// So much of the calls that were not made may be made up for at once: so a full round now and then does not
/// silence a campaign whose other rounds cost little.
const SAVINGS: Duration = Duration::from_secs(60);

/// By this much the pace slows down with each round in which nothing moves.
const SLOWDOWN: f64 = 1.5;

/// The pace of one campaign.
#[derive(Debug)]
pub(super) struct Pace {
    fastest: Duration,
    slowest: Duration,
    /// Calls a second, on average.
    rate: u32,
    jitter: f64,
    interval: Duration,
    moved: Instant,
    /// Until then all time is paid for by calls made.
    spent: Instant,
    /// How long a call of the last round took, all in all.
    per_call: Duration,
}

/// How long to wait for the next round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// It must not begin before this.
    pub(super) not_before: Instant,
    /// Nor before this, unless somebody asks for it.
    pub(super) unasked: Instant,
    /// How far apart two such rounds are at the present pace.
    pub(super) interval: Duration,
}

impl Pace {
    /// Polling begins.
    pub(super) fn new(config: &WatchConfig, now: Instant) -> Self {
        Self {
            fastest: config.poll_interval,
            slowest: config.poll_interval_idle.max(config.poll_interval),
            rate: config.poll_rate.max(1),
            jitter: config.poll_jitter,
            interval: config.poll_interval,
            moved: now,
            spent: now,
            per_call: Duration::ZERO,
        }
    }

    /// Something moved then.
    pub(super) fn moved(&mut self, at: Instant) {
        self.moved = self.moved.max(at);
    }

    /// How far the next round will be from one that starts now and makes so many calls.
    pub(super) fn interval(&self, started: Instant, calls: usize) -> Duration {
        let paid = self.spending(started, calls).saturating_duration_since(started + SAVINGS);
        let took = self.per_call.mul_f64(calls as f64) + self.fastest / 2;
        self.interval.max(paid).max(took)
    }

    /// The rest after a round of so many calls. `lively_in`: how long it is until a message becomes so
    /// nearly due that it may move at any moment; zero: one is.
    pub(super) fn rest(
        &mut self,
        started: Instant,
        now: Instant,
        calls: usize,
        lively_in: Option<Duration>,
    ) -> Rest {
        let lively = now < self.moved + LIVELY || lively_in == Some(Duration::ZERO);
        self.interval = if lively { self.fastest } else { self.interval.mul_f64(SLOWDOWN).min(self.slowest) };
        self.spent = self.spending(started, calls);
        let paid = self.spent.checked_sub(SAVINGS).unwrap_or(started);
        let not_before = (started + self.fastest).max(now + self.fastest / 2).max(paid);
        let idle = started + self.interval;
        let idle = lively_in.map_or(idle, |lively_in| idle.min(now + lively_in));
        let factor = 1.0 + self.jitter * (2.0 * fastrand::f64() - 1.0);
        let jittered = |at: Instant| now + (at - now).mul_f64(factor);
        let interval = self.interval.max(not_before - started);
        self.per_call = (now - started).div_f64(calls.max(1) as f64);
        Rest { not_before: jittered(not_before), unasked: jittered(not_before.max(idle)), interval }
    }

    fn spending(&self, started: Instant, calls: usize) -> Instant {
        self.spent.max(started) + Duration::from_secs_f64(calls as f64 / f64::from(self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(start: Instant) -> Pace {
        Pace::new(&WatchConfig { poll_jitter: 0.0, ..WatchConfig::default() }, start)
    }

    /// The seconds between this round, which takes no time, and the next one that nobody asks for.
    fn apart(pace: &mut Pace, at: Instant, lively_in: Option<Duration>) -> f64 {
        (pace.rest(at, at, 1, lively_in).unasked - at).as_secs_f64()
    }

    #[test]
    fn polling_slows_down_once_nothing_has_moved_for_five_minutes_and_is_fast_again_with_the_next_move() {
        let start = Instant::now();
        let mut pace = pace(start);
        assert_eq!(apart(&mut pace, start + 299 * SECOND, None), 2.0);
        let quiet = start + 300 * SECOND;
        let slower: Vec<_> = (0..10).map(|_| apart(&mut pace, quiet, None)).collect();
        assert_eq!(slower[..3], [3.0, 4.5, 6.75]);
        assert_eq!(slower[9], 60.0);
        let rest = pace.rest(quiet, quiet, 1, None);
        assert_eq!(rest.not_before, quiet + 2 * SECOND, "who asks waits no longer than at full speed");
        pace.moved(quiet);
        assert_eq!(apart(&mut pace, quiet + SECOND, None), 2.0);
    }

    #[test]
    fn a_message_that_is_nearly_due_keeps_polling_fast_and_none_becomes_so_unwatched() {
        let start = Instant::now();
        let mut pace = pace(start);
        let later = start + 3_600 * SECOND;
        assert_eq!(apart(&mut pace, later, Some(Duration::ZERO)), 2.0);
        let slow: Vec<_> = (0..20).map(|_| apart(&mut pace, later, None)).collect();
        assert_eq!(slow[19], 60.0);
        assert_eq!(apart(&mut pace, later, Some(40 * SECOND)), 40.0);
        assert_eq!(apart(&mut pace, later, Some(SECOND)), 2.0, "but never faster than full speed");
    }

    #[test]
    fn calls_are_paid_for_before_the_next_round_but_for_a_minutes_savings_and_half_an_interval_is_rested() {
        let start = Instant::now();
        let mut pace = pace(start);
        // 60 s at 40 calls a second are there from the start, and cover this.
        let rest = pace.rest(start, start + SECOND, 2_400, None);
        assert_eq!((rest.not_before, rest.interval), (start + 2 * SECOND, 2 * SECOND));
        // Two seconds' worth have come back.
        let second = start + 2 * SECOND;
        assert_eq!(pace.interval(second, 480), 10 * SECOND);
        let rest = pace.rest(second, second + SECOND, 480, None);
        assert_eq!((rest.not_before, rest.interval), (second + 10 * SECOND, 10 * SECOND));
        assert_eq!(rest.unasked, rest.not_before);
        let rest = pace.rest(second, second + 200 * SECOND, 480, None);
        let (then, apart) = (second + 201 * SECOND, 201 * SECOND);
        assert_eq!(
            (rest.not_before, rest.interval),
            (then, apart),
            "a round that took long is followed by rest"
        );
        assert!(pace.interval(then, 480) > 200 * SECOND, "and the next is expected to take as long");
    }

    #[test]
    fn jitter_spreads_the_rests_by_a_tenth() {
        let start = Instant::now();
        let mut pace = Pace { jitter: 0.1, ..pace(start) };
        let rests: Vec<_> = (0..1_000).map(|_| apart(&mut pace, start, None)).collect();
        assert!(rests.iter().all(|rest| (1.8..=2.2).contains(rest)));
        assert!(rests.iter().any(|rest| *rest < 1.85) && rests.iter().any(|rest| *rest > 2.15));
    }
}
