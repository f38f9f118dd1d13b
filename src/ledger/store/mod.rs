//! Where the rows are, and how commands come to them.

mod disk;
mod fault;
mod memory;
mod open;
mod primary;
mod rows;
mod seal;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

pub use self::fault::OpenFault;
use self::{
    disk::Disk,
    memory::Memory,
    open::{InFile, OnDisk},
    seal::Seal,
    writer::Writer,
};
use super::{
    Config,
    logic::{Answer, Command, Moment},
    tables::{Fault, Tables},
    uses::Uses,
};
use crate::{
    clock::Clock,
    error::{Error, Reason},
};

/// How often ingestions are looked for whose time is over, in milliseconds.
const SWEEP_PAUSE: i64 = 60_000;

/// A store, and what its commands need.
#[derive(Debug)]
pub(super) struct Store {
    kind: Kind,
    surroundings: Surroundings,
}

/// Something that must not be dropped yet.
pub(super) type Keep = Arc<dyn std::any::Any + Send + Sync>;

/// What commands need beside the rows.
#[derive(Clone, Debug)]
struct Surroundings {
    clock: Clock,
    config: Config,
    uses: Arc<Uses>,
}

impl Surroundings {
    fn moment(&self) -> Moment {
        let retention = i64::try_from(self.config.retention.as_millis()).unwrap_or(i64::MAX);
        Moment { now: self.clock.now().timestamp_millis(), retention }
    }
}

#[derive(Debug)]
enum Kind {
    /// Gone with the process.
    Memory(Mutex<Memory>),
    /// In a file, written by a thread of its own.
    File(Writer),
    /// The same, written by whoever asks: what a simulation needs.
    Inline(Mutex<Inline>),
}

/// A disk without a thread of its own.
#[derive(Debug)]
struct Inline {
    disk: Disk,
    next_sweep: i64,
}

impl Inline {
    fn run(&mut self, command: Command, surroundings: &Surroundings) -> Result<Answer, Error> {
        let now = surroundings.moment().now;
        if matches!(command, Command::Open { .. }) && now >= self.next_sweep {
            let more = self.disk.sweep();
            self.next_sweep = if more { now } else { now.saturating_add(SWEEP_PAUSE) };
        }
        let answer = self.disk.run(vec![command]).pop();
        answer.unwrap_or_else(|| Err(Error::new(Reason::Internal, "the ledger left a command unanswered")))
    }
}

impl Store {
    /// What the rows weigh, and the most that they may, in bytes.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let bytes = match &self.kind {
            Kind::Memory(memory) => lock(memory).bytes(),
            Kind::File(writer) => writer.shared().bytes(),
            Kind::Inline(inline) => lock(inline).disk.shared().bytes(),
        };
        (bytes, self.surroundings.config.max_bytes)
    }

    pub(super) fn in_memory(config: Config, clock: Clock) -> Self {
        let surroundings = Surroundings { clock, config, uses: Arc::default() };
        Self { kind: Kind::Memory(Mutex::new(Memory::new(config.max_bytes))), surroundings }
    }

    pub(super) fn in_file(
        path: &Path,
        sealing_key: &[u8; 32],
        config: Config,
        clock: Clock,
    ) -> Result<Self, OpenFault> {
        let surroundings = Surroundings { clock, config, uses: Arc::default() };
        let seal = Seal::new(sealing_key);
        let disk = Disk::open(InFile::new(path, &seal)?, seal, surroundings.clone())?;
        let writer = Writer::start(disk)
            .map_err(|source| OpenFault::Io { place: "the ledger's thread".into(), source })?;
        Ok(Self { kind: Kind::File(writer), surroundings })
    }

    pub(super) fn on_disk(
        disk: impl StorageBackend,
        sealing_key: &[u8; 32],
        config: Config,
        clock: Clock,
    ) -> Result<Self, OpenFault> {
        let surroundings = Surroundings { clock, config, uses: Arc::default() };
        let seal = Seal::new(sealing_key);
        let disk = Disk::open(OnDisk::new(disk, &seal)?, seal, surroundings.clone())?;
        Ok(Self { kind: Kind::Inline(Mutex::new(Inline { disk, next_sweep: i64::MIN })), surroundings })
    }

    pub(super) fn uses(&self) -> &Arc<Uses> {
        &self.surroundings.uses
    }

    /// Does a command. What it promises to be durable is when this returns.
    pub(super) async fn run(&self, command: Command) -> Result<Answer, Error> {
        match &self.kind {
            Kind::Memory(memory) => lock(memory).run(&command, &self.surroundings),
            Kind::File(writer) => writer.run(command).await,
            Kind::Inline(inline) => lock(inline).run(command, &self.surroundings),
        }
    }

    /// Does a command some time soon, for who cannot wait. `keep` lives until it is done.
    pub(super) fn run_later(&self, command: Command, keep: Keep) {
        match &self.kind {
            Kind::Memory(memory) => {
                // Its only failure is a fault of this program, and has been logged.
                let _ = lock(memory).run(&command, &self.surroundings);
            }
            Kind::File(writer) => writer.run_later(command, keep),
            Kind::Inline(inline) => {
                // If the disk fails, it is made up for.
                let _ = lock(inline).run(command, &self.surroundings);
            }
        }
    }

    /// Looks at the rows.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Tables, Moment) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let moment = self.surroundings.moment();
        match &self.kind {
            Kind::Memory(memory) => look(&*lock(memory), moment).map_err(memory::refusal),
            Kind::File(writer) => {
                // A page that is not in the cache is read from the disk, which would hold up a worker.
                let shared = Arc::clone(writer.shared());
                tokio::task::spawn_blocking(move || shared.read(|tables| look(tables, moment)))
                    .await
                    .unwrap_or_else(|_| {
                        Err(Error::new(Reason::LedgerUnavailable, "the ledger could not be read"))
                    })
            }
            Kind::Inline(inline) => {
                let shared = Arc::clone(lock(inline).disk.shared());
                shared.read(|tables| look(tables, moment))
            }
        }
    }

    pub(super) async fn close(&self) {
        match &self.kind {
            Kind::Memory(_) => {}
            Kind::File(writer) => writer.close().await,
            Kind::Inline(inline) => lock(inline).disk.close(),
        }
    }
}

/// A command that panics leaves no half-made rows behind: they are taken back, or their transaction is dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
