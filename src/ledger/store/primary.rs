//! One flag in the file that no checksum covers, and what is done about it.
//!
//! redb's file begins with two commit slots and a byte whose lowest bit says which of them is the latest. Every
//! commit of ours has two phases: the new slot is written and synced, then the bit is turned and synced. So a slot
//! that is newer than the one that the bit names has one of two causes: the power went between the phases, or the bit
//! was flipped afterwards, by which the last commit, which somebody relies on, would be gone without a trace. Where
//! it is whole, taking the newer slot is right in both cases: a claim that nobody was told of is a doubt, no more.
//! redb does just that, checksums and all, for a file whose commits have one phase, and never for one of two.
//! So while such a file is being opened, redb is told that its last commit had one phase.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, StorageBackend};

/// Where redb's format keeps what is looked at here (its `docs/design.md`, file format 3).
const HEADER: usize = 320;
const FLAGS: usize = 9;
const PRIMARY: u8 = 1;
const TWO_PHASES: u8 = 4;
const SLOTS: [usize; 2] = [64, 192];
const TRANSACTION_ID: usize = 104;

/// A disk whose header is shown as it should be read while the file is being opened.
#[derive(Debug)]
pub(super) struct Guarded {
    disk: Arc<dyn StorageBackend>,
    opening: Arc<AtomicBool>,
}

impl Guarded {
    /// `opening`: whether the file is being opened; the caller's to say when it is open.
    pub(super) fn new(disk: Arc<dyn StorageBackend>, opening: Arc<AtomicBool>) -> Self {
        Self { disk, opening }
    }
}

fn amend(header: &mut [u8]) {
    let id = |slot: usize| {
        let at = SLOTS[slot] + TRANSACTION_ID;
        header.get(at..at + 8).and_then(|id| id.try_into().ok()).map(u64::from_le_bytes)
    };
    let primary = usize::from(header[FLAGS] & PRIMARY);
    if id(1 - primary) > id(primary) {
        header[FLAGS] &= !TWO_PHASES;
    }
}

impl StorageBackend for Guarded {
    fn len(&self) -> Result<u64, io::Error> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.disk.read(offset, out)?;
        if offset == 0 && out.len() >= HEADER && self.opening.load(Ordering::Acquire) {
            amend(out);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.disk.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.disk.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.disk.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.disk.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.disk.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.disk.query_lock_range(start, end)
    }
}
