//! The disk under the service's ledger. It loses what was not synced when the power goes, and says when the
//! ledger syncs: those are the points at which a crash matters most.

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use blubash_grpc::secret::Secret;
use fastrand::Rng;
use redb::StorageBackend;

use crate::{
    coverage::CrashPoint,
    disk::{SimDisk, Survivors},
    world::World,
};

/// The disk, whoever has it mounted.
#[derive(Clone)]
pub(crate) struct Storage {
    disk: Arc<Mutex<SimDisk>>,
    is_full: Arc<AtomicBool>,
    is_read_only: Arc<AtomicBool>,
    world: World,
}

impl Storage {
    pub(crate) fn new(world: World) -> Self {
        Self {
            disk: Arc::new(Mutex::new(SimDisk::new())),
            is_full: Arc::default(),
            is_read_only: Arc::default(),
            world,
        }
    }

    pub(crate) fn mount(&self) -> Mounted {
        Mounted { disk: self.disk.lock().unwrap().clone(), world: self.world.clone() }
    }

    /// The service's process is gone with the power: of what was not synced, this much is left.
    pub(crate) fn cut(&self, survivors: Survivors) {
        let mut disk = self.disk.lock().unwrap();
        *disk = disk.power_cut(survivors);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.disk.lock().unwrap().set_full(full);
        self.is_full.store(full, Ordering::SeqCst);
    }

    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.disk.lock().unwrap().set_read_only(read_only);
        self.is_read_only.store(read_only, Ordering::SeqCst);
    }

    /// One of the next operations fails.
    pub(crate) fn stumble(&self, rng: &mut Rng) {
        let disk = self.disk.lock().unwrap();
        disk.fail_at(disk.operations() + rng.u64(0..12));
    }

    pub(crate) fn works(&self) -> bool {
        !self.is_full.load(Ordering::SeqCst) && !self.is_read_only.load(Ordering::SeqCst)
    }
}

/// The disk in the hands of one process.
#[derive(Debug)]
pub(crate) struct Mounted {
    disk: SimDisk,
    world: World,
}

impl Mounted {
    fn powered(&self) -> io::Result<&SimDisk> {
        if self.world.is_off() { Err(io::Error::other("the power is off")) } else { Ok(&self.disk) }
    }
}

impl StorageBackend for Mounted {
    fn len(&self) -> io::Result<u64> {
        self.powered()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.powered()?.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.powered()?.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (before, after) = if self.world.has_untold() {
            (CrashPoint::BeforeRecord, CrashPoint::AfterRecord)
        } else {
            (CrashPoint::BeforeClaim, CrashPoint::AfterCommit)
        };
        self.world.pass(before);
        self.powered()?.sync_data()?;
        self.world.pass(after);
        self.powered().map(drop)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.powered()?.write(offset, data)
    }
}

/// One secret for all runs: by it the rows of the ledger are ordered, and every life of a seed is the same.
pub(crate) fn secret() -> Secret {
    static SECRET: OnceLock<Secret> = OnceLock::new();
    let read = || {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "5".repeat(64)).unwrap();
        Secret::load_or_create(file.path()).unwrap()
    };
    SECRET.get_or_init(read).clone()
}
