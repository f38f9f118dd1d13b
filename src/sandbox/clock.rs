//! The sandbox's own time: it runs with the system's or stands still, and can be moved.

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};

/// An instant: milliseconds since 1970, as fine as the vendor's timestamps.
pub(super) type Millis = i64;

/// 9999-12-31T23:59:59.999Z: beyond it a timestamp no longer has the vendor's form.
const LAST: Millis = 253_402_300_799_999;

#[derive(Clone, Copy)]
enum Hands {
    Running { ahead: Millis },
    Frozen { at: Millis },
}

pub(super) struct Clock(Mutex<Hands>);

impl Clock {
    pub(super) fn new(start: Option<DateTime<Utc>>, frozen: bool) -> Self {
        let start = start.map_or_else(system, |start| start.timestamp_millis()).clamp(0, LAST);
        Self(Mutex::new(if frozen {
            Hands::Frozen { at: start }
        } else {
            Hands::Running { ahead: start - system() }
        }))
    }

    /// The time, and whether it stands still.
    pub(super) fn read(&self) -> (Millis, bool) {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Hands::Running { ahead } => ((system() + ahead).clamp(0, LAST), false),
            Hands::Frozen { at } => (at, true),
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.read().0
    }

    pub(super) fn freeze(&self, frozen: bool) {
        let now = self.now();
        self.place(now, frozen);
    }

    /// Moves the clock on; false if that would leave its range.
    pub(super) fn advance(&self, by: u64) -> bool {
        let (now, _) = self.read();
        i64::try_from(by).ok().and_then(|by| now.checked_add(by)).is_some_and(|to| self.set(to))
    }

    /// Puts the clock anywhere, the past included; false outside 1970 to 9999.
    pub(super) fn set(&self, to: Millis) -> bool {
        let within = (0..=LAST).contains(&to);
        if within {
            let (_, frozen) = self.read();
            self.place(to, frozen);
        }
        within
    }

    fn place(&self, at: Millis, frozen: bool) {
        let hands = if frozen { Hands::Frozen { at } } else { Hands::Running { ahead: at - system() } };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hands;
    }
}

fn system() -> Millis {
    Utc::now().timestamp_millis()
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, the form of the page's timestamps.
pub(super) fn iso(at: Millis) -> String {
    DateTime::from_timestamp_millis(at)
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frozen_at(text: &str) -> Clock {
        Clock::new(Some(text.parse().unwrap()), true)
    }

    #[test]
    fn a_frozen_clock_moves_only_when_it_is_told_to() {
        let clock = frozen_at("2026-03-01T00:00:00Z");
        let before = clock.now();
        assert!(clock.advance(1500));
        assert_eq!(clock.now() - before, 1500);
        assert_eq!(iso(clock.now()), "2026-03-01T00:00:01.500Z");
    }

    #[test]
    fn freezing_and_thawing_keep_the_time() {
        let clock = frozen_at("2026-03-01T00:00:00Z");
        clock.freeze(false);
        assert!(clock.now() - frozen_at("2026-03-01T00:00:00Z").now() < 60_000);
        clock.freeze(true);
        assert!(clock.read().1);
    }

    #[test]
    fn the_clock_refuses_what_has_no_timestamp() {
        let clock = frozen_at("2026-03-01T00:00:00Z");
        let before = clock.now();
        assert!(!clock.advance(u64::MAX) && !clock.set(-1) && !clock.set(i64::MAX));
        assert_eq!(clock.now(), before);
    }
}
