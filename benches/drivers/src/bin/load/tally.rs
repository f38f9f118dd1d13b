//! How calls ended, and how long they took.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::calls::End;

/// A tally that many calls write to.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

/// What it has counted.
#[derive(Clone, Default)]
pub struct Counts {
    pub ends: BTreeMap<End, u64>,
    /// Of the calls that ended with OK, in microseconds.
    took: Vec<u32>,
}

impl Tally {
    /// A call that began then has ended.
    pub fn ended(&self, end: End, took_micros: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.ends.entry(end).or_default() += 1;
        if end == End::Code(0) {
            counts.took.push(u32::try_from(took_micros).unwrap_or(u32::MAX));
        }
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    /// Takes another's in.
    pub fn add(&mut self, other: Self) {
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self.took.extend(other.took);
    }

    /// Calls that ended with OK.
    pub fn ok(&self) -> u64 {
        self.ends.get(&End::Code(0)).copied().unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.ends.values().sum()
    }

    /// The time within which this share of those that ended with OK did, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
        took.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (end, count)) in self.ends.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            match end {
                End::Code(0) => write!(f, "OK {count}")?,
                End::Code(4) => write!(f, "DEADLINE_EXCEEDED {count}")?,
                End::Code(8) => write!(f, "RESOURCE_EXHAUSTED {count}")?,
                End::Code(14) => write!(f, "UNAVAILABLE {count}")?,
                End::Code(code) => write!(f, "code {code}: {count}")?,
                End::Late => write!(f, "late {count}")?,
                End::NotTaken => write!(f, "not taken {count}")?,
                End::Cut => write!(f, "CUT {count}")?,
            }
        }
        Ok(())
    }
}
