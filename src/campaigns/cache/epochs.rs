//! Numbers that go up when all that was kept under them is to be found no more. Names share them by their
//! hash: now and then something is forgotten for another's sake, and is read again.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// So many numbers: half a MiB.
const STRIPES: usize = 1 << 16;

pub(super) struct Epochs {
    hasher: RandomState,
    numbers: Box<[AtomicU64]>,
}

impl Epochs {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), numbers: (0..STRIPES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The number of this name now.
    pub(super) fn of(&self, name: &impl Hash) -> u64 {
        self.number(name).load(Ordering::SeqCst)
    }

    /// Takes it that what was kept under this name is outdated.
    pub(super) fn advance(&self, name: &impl Hash) {
        self.number(name).fetch_add(1, Ordering::SeqCst);
    }

    fn number(&self, name: &impl Hash) -> &AtomicU64 {
        &self.numbers[self.hasher.hash_one(name) as usize % STRIPES]
    }
}
