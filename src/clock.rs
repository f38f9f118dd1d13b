//! Wall time behind one seam: the system's clock in production, the runtime's virtual one in tests.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// Where "now" comes from.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A wall time that moves with the runtime's own clock, which tests pause and advance.
    Anchored {
        /// What the wall clock showed at `at`.
        wall: DateTime<Utc>,
        /// The runtime's instant to which `wall` belongs.
        at: Instant,
    },
}

impl Clock {
    /// A clock that shows `wall` now, and moves with the runtime.
    pub fn anchored(wall: DateTime<Utc>) -> Self {
        Self::Anchored { wall, at: Instant::now() }
    }

    /// What the wall clock shows.
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Anchored { wall, at } => *wall + at.elapsed(),
        }
    }
}
