//! Whether anyone reads what a feed's watchers have for them. Two numbers for all of them: a feed with
//! 100,000 watchers is judged at a glance.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::time::Instant;

/// The watchers of one feed, by whether they are being read. One whose reader asks for more is hungry; one
/// that has handed something out is not, until its reader comes back: the transport asks for no more than
/// the reader accepts.
pub(super) struct Presence {
    since: Instant,
    hungry: AtomicUsize,
    /// When the last of them handed something out or joined, in milliseconds after `since`.
    handed_out: AtomicU64,
}

impl Presence {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), hungry: AtomicUsize::new(0), handed_out: AtomicU64::new(0) }
    }

    /// A watcher has joined, or has handed something out.
    pub(super) fn fed(&self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.handed_out.fetch_max(millis, SeqCst);
    }

    /// Whether none of them has been read for longer than this. Each of them will find so itself when its
    /// reader comes back: a reader that asks counts first and looks at the time after that, and here it is
    /// the other way round.
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        let now = self.since.elapsed();
        // What was handed out is counted in whole milliseconds.
        let last = Duration::from_millis(self.handed_out.load(SeqCst).saturating_add(1));
        self.hungry.load(SeqCst) == 0 && now.saturating_sub(last) > patience
    }

    pub(super) fn hungry(&self) {
        self.hungry.fetch_add(1, SeqCst);
    }

    pub(super) fn not_hungry(&self) {
        self.hungry.fetch_sub(1, SeqCst);
    }
}
