//! A disk that lies in memory and fails as it is told: power cuts, a full disk, a read-only one, flipped bits.
//! What is written reaches the durable image with the next sync, or, by chance, in part with a power cut.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    io::{Error, ErrorKind, Result},
    sync::{Arc, Mutex, MutexGuard},
};

/// Sectors are written whole or not at all.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Inner {
    /// What survives a power cut.
    durable: Vec<u8>,
    /// What the operating system shows.
    shown: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Change>,
    /// Changes and syncs so far.
    operations: u64,
    /// The first operation that does not happen any more, nor any after it.
    cut_at: Option<u64>,
    /// One operation that fails, once.
    fail_at: Option<u64>,
    full: bool,
    read_only: bool,
    /// How often the power was cut: handles of an earlier life are dead.
    life: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

fn apply(image: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, bytes } => {
            if image.len() < offset + bytes.len() {
                image.resize(offset + bytes.len(), 0);
            }
            image[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Change::Length(length) => image.resize(*length, 0),
    }
}

/// What becomes of unsynced writes when the power is cut.
#[derive(Clone, Copy, Debug)]
pub enum Survivors {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Sector by sector, by chance.
    Some(u64),
}

/// A handle of the disk in its present life. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SimDisk {
    inner: Arc<Mutex<Inner>>,
    life: u64,
}

impl SimDisk {
    pub fn new() -> Self {
        Self { inner: Arc::default(), life: 0 }
    }

    /// A disk that holds this.
    pub fn holding(image: Vec<u8>) -> Self {
        let inner = Inner { durable: image.clone(), shown: image, ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), life: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// What survives a power cut now.
    pub fn image(&self) -> Vec<u8> {
        self.lock().durable.clone()
    }

    /// Operations (writes, changes of length, syncs) so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// The power goes just before this operation.
    pub fn cut_at(&self, operation: u64) {
        self.lock().cut_at = Some(operation);
    }

    /// This operation fails, once.
    pub fn fail_at(&self, operation: u64) {
        self.lock().fail_at = Some(operation);
    }

    /// Whether nothing can be written for want of room.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Whether nothing can be written at all.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// Cuts the power. Every handle so far is dead; the one returned is of the next life.
    pub fn power_cut(&self, survivors: Survivors) -> Self {
        let mut inner = self.lock();
        let changes = std::mem::take(&mut inner.unsynced);
        match survivors {
            Survivors::Nothing => {}
            Survivors::Everything => {
                for change in &changes {
                    apply(&mut inner.durable, change);
                }
            }
            Survivors::Some(seed) => {
                let mut rng = fastrand::Rng::with_seed(seed);
                for change in &changes {
                    survive(&mut inner.durable, change, &mut rng);
                }
            }
        }
        inner.shown = inner.durable.clone();
        inner.life += 1;
        inner.cut_at = None;
        inner.fail_at = None;
        Self { inner: Arc::clone(&self.inner), life: inner.life }
    }

    /// What an operation meets.
    fn operate(&self, change: Option<Change>) -> Result<()> {
        let mut inner = self.lock();
        self.alive(&inner)?;
        let operation = inner.operations;
        inner.operations += 1;
        if inner.fail_at == Some(operation) {
            inner.fail_at = None;
            return Err(Error::other("the disk failed once"));
        }
        match change {
            Some(_) if inner.read_only => Err(ErrorKind::ReadOnlyFilesystem.into()),
            Some(_) if inner.full => Err(ErrorKind::StorageFull.into()),
            Some(change) => {
                apply(&mut inner.shown, &change);
                inner.unsynced.push(change);
                Ok(())
            }
            None => {
                let changes = std::mem::take(&mut inner.unsynced);
                changes.iter().for_each(|change| apply(&mut inner.durable, change));
                Ok(())
            }
        }
    }

    fn alive(&self, inner: &Inner) -> Result<()> {
        let cut = inner.cut_at.is_some_and(|at| inner.operations >= at);
        if cut || inner.life != self.life { Err(Error::other("the power is cut")) } else { Ok(()) }
    }
}

fn survive(image: &mut Vec<u8>, change: &Change, rng: &mut fastrand::Rng) {
    match change {
        Change::Length(_) => {
            if rng.bool() {
                apply(image, change);
            }
        }
        Change::Write { offset, bytes } => {
            let mut at = 0;
            while at < bytes.len() {
                let next = bytes.len().min((offset + at) / SECTOR * SECTOR + SECTOR - offset);
                // What lies beyond the end that survived is lost with it.
                if rng.bool() && offset + next <= image.len() {
                    let bytes = bytes[at..next].to_vec();
                    apply(image, &Change::Write { offset: offset + at, bytes });
                }
                at = next;
            }
        }
    }
}

impl redb::StorageBackend for SimDisk {
    fn len(&self) -> Result<u64> {
        let inner = self.lock();
        self.alive(&inner)?;
        Ok(inner.shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let inner = self.lock();
        self.alive(&inner)?;
        let offset = usize::try_from(offset).unwrap();
        let bytes = inner.shown.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<()> {
        self.operate(Some(Change::Length(usize::try_from(length).unwrap())))
    }

    fn sync_data(&self) -> Result<()> {
        self.operate(None)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.operate(Some(Change::Write { offset, bytes: data.to_vec() }))
    }
}
