//! What keeps a slow read from bringing back what a write has ended: each read is stamped before it asks,
//! each write stamps its message, and a read that was stamped before the write may put nothing there.
//! Messages share stamps by their hash: one too many is kept out now and then, never one too few.

use std::hash::{BuildHasher as _, Hash, RandomState};

use super::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// Messages that share a stamp: about one in so many.
const STRIPES: usize = 1024;

/// Where a read stands in the order of all reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

/// The stamps of the last writes.
pub(super) struct Fences {
    next: AtomicU64,
    hasher: RandomState,
    last_writes: Box<[Mutex<Stamp>]>,
}

impl Fences {
    pub(super) fn new() -> Self {
        Self::with_stripes(STRIPES)
    }

    pub(super) fn with_stripes(stripes: usize) -> Self {
        Self {
            next: AtomicU64::new(1),
            hasher: RandomState::new(),
            last_writes: (0..stripes).map(|_| Mutex::new(Stamp(0))).collect(),
        }
    }

    /// Stamps a read. To be done before it asks the upstream.
    pub(super) fn stamp(&self) -> Stamp {
        Stamp(self.next.fetch_add(1, Ordering::SeqCst))
    }

    /// Lets a read put down what it brought, unless a write came after its stamp.
    pub(super) fn fill(&self, key: &impl Hash, read: Stamp, put: impl FnOnce()) {
        // Held while it is put down: a write that comes now removes it again.
        let last_write = self.last_write(key);
        if read > *last_write {
            put();
        }
    }

    /// Takes it that a write's answer has come, and removes what was read before.
    pub(super) fn wrote(&self, key: &impl Hash, remove: impl FnOnce()) {
        let mut last_write = self.last_write(key);
        *last_write = self.stamp();
        remove();
    }

    /// Whether a read with this stamp shows all writes so far.
    pub(super) fn shows_all(&self, key: &impl Hash, read: Stamp) -> bool {
        read > *self.last_write(key)
    }

    fn last_write(&self, key: &impl Hash) -> MutexGuard<'_, Stamp> {
        let at = self.hasher.hash_one(key) as usize % self.last_writes.len();
        // A stamp is never half written.
        self.last_writes[at].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
