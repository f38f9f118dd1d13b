//! What the attempts of the last ten seconds came to.

use std::time::Duration;

use tokio::time::Instant;

/// Attempts are counted over ten slots of this length.
const SLOT: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;
/// Fewer attempts than this prove nothing.
pub(super) const FEWEST: u32 = 20;

/// How many attempts there were, and how many failed.
#[derive(Debug)]
pub(super) struct Window {
    start: Instant,
    /// The number of the slot that is being written, counted from the start.
    current: u64,
    /// Attempts, and how many of them failed.
    slots: [(u32, u32); SLOTS],
}

impl Window {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, current: 0, slots: [(0, 0); SLOTS] }
    }

    fn slot(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / SLOT.as_secs()
    }

    /// Counts one attempt.
    pub(super) fn count(&mut self, now: Instant, failed: bool) {
        let slot = self.slot(now);
        // Each slot that time has passed over is as good as empty; more than all of them there are not.
        for passed in (self.current + 1..=slot).rev().take(SLOTS) {
            self.slots[index(passed)] = (0, 0);
        }
        self.current = self.current.max(slot);
        let (all, failures) = &mut self.slots[index(slot)];
        *all += 1;
        *failures += u32::from(failed);
    }

    pub(super) fn is_bad(&self) -> bool {
        let (all, failures) = self.slots.iter().fold((0, 0), |sum, slot| (sum.0 + slot.0, sum.1 + slot.1));
        all >= FEWEST && failures * 2 >= all
    }

    pub(super) fn has_failures(&self, now: Instant) -> bool {
        self.slot(now) < self.current + SLOTS as u64 && self.slots.iter().any(|(_, failures)| *failures > 0)
    }
}

fn index(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}
