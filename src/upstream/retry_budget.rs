//! What may be spent on attempts beyond the first: a tenth of the calls, and one a second.
//!
//! Not tower's `TpsBudget`: its ring of ten slots moves on by two each second, so that it forgets in five
//! seconds what was spent of ten seconds' worth, and up to two a second get through. Here nothing that was
//! spent is forgotten: from the first call on, attempts <= calls * 1.1 + seconds + 10.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Each call earns one part, ten parts are an attempt.
const PARTS: u32 = 10;
/// So many earned attempts can be put by for a bad moment.
const MOST_EARNED: u32 = 100;
/// So many of those can be put by that come with time, one a second; they are there at the start.
const RESERVE: u32 = 10;

/// The budget of all calls together: what it protects is one upstream.
#[derive(Debug)]
pub(super) struct Budget(Mutex<Balance>);

#[derive(Debug)]
struct Balance {
    parts: u32,
    reserve: u32,
    /// Until when the seconds have been turned into reserve.
    counted: Instant,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Balance { parts: 0, reserve: RESERVE, counted: Instant::now() }))
    }

    /// A call was made.
    pub(super) fn earn(&self) {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        balance.parts = (balance.parts + 1).min(MOST_EARNED * PARTS);
    }

    /// Whether another attempt may be made; then it is paid for.
    pub(super) fn spend(&self) -> bool {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parts) = balance.parts.checked_sub(PARTS) {
            balance.parts = parts;
            return true;
        }
        let seconds = balance.counted.elapsed().as_secs();
        balance.counted += Duration::from_secs(seconds);
        let seconds = u32::try_from(seconds).unwrap_or(RESERVE).min(RESERVE);
        balance.reserve = (balance.reserve + seconds).min(RESERVE);
        match balance.reserve.checked_sub(1) {
            Some(reserve) => {
                balance.reserve = reserve;
                true
            }
            None => false,
        }
    }
}
