//! One flag in the file that no checksum covers, and what is done about it.
//!
//! redb's file begins with two commit slots and a byte whose lowest bit says which of them is the latest. Every
//! commit of ours has two phases: the new slot is written and synced, then the bit is turned and synced. So a slot
//! that is newer than the one that the bit names has one of two causes: the power went between the phases, or the bit
//! was flipped afterwards, by which the last commit, which somebody relies on, would be gone without a trace. Where
//! it is whole, taking the newer slot is right in both cases: a claim that nobody was told of is a doubt, no more.
//! redb does just that, checksums and all, for a file whose commits have one phase, and never for one of two.
//! So while such a file is being opened, redb is told that its last commit had one phase; and only where redb has
//! found the slot that the bit names to be whole, as one that is not is damage, and never to be gone back from.

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

/// A disk whose header may be shown as it should be read while the file is being opened.
#[derive(Debug)]
pub(super) struct Guarded {
    disk: Arc<dyn StorageBackend>,
    amending: Arc<AtomicBool>,
}

impl Guarded {
    /// `amending`: whether a slot that is newer than the one that the bit names may be taken; the caller's to end
    /// when the file is open.
    pub(super) fn new(disk: Arc<dyn StorageBackend>, amending: Arc<AtomicBool>) -> Self {
        Self { disk, amending }
    }
}

/// Whether the slot that the bit names seems to be the older one.
pub(super) fn is_behind(disk: &dyn StorageBackend) -> bool {
    let mut header = [0; HEADER];
    // What cannot be read is redb's to refuse.
    disk.read(0, &mut header).is_ok() && names_the_older(&header)
}

fn names_the_older(header: &[u8]) -> bool {
    let id = |slot: usize| {
        let at = SLOTS[slot] + TRANSACTION_ID;
        header.get(at..at + 8).and_then(|id| id.try_into().ok()).map(u64::from_le_bytes)
    };
    let primary = usize::from(header[FLAGS] & PRIMARY);
    id(1 - primary) > id(primary)
}

impl StorageBackend for Guarded {
    fn len(&self) -> Result<u64, io::Error> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.disk.read(offset, out)?;
        let amending = offset == 0 && out.len() >= HEADER && self.amending.load(Ordering::Acquire);
        if amending && names_the_older(out) {
            out[FLAGS] &= !TWO_PHASES;
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
