//! Where the rows are, and how commands come to them.

mod memory;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::memory::Memory;
use super::{
    Config,
    logic::{Answer, Command, Moment},
    tables::{Fault, Tables},
    uses::Uses,
};
use crate::{clock::Clock, error::Error};

/// How often ingestions are looked for whose time is over, in milliseconds.
const SWEEP_PAUSE: i64 = 60_000;

/// A store, and what its commands need.
#[derive(Debug)]
pub(super) struct Store {
    kind: Kind,
    surroundings: Surroundings,
}

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
}

impl Store {
    pub(super) fn in_memory(config: Config, clock: Clock) -> Self {
        let surroundings = Surroundings { clock, config, uses: Arc::default() };
        Self { kind: Kind::Memory(Mutex::new(Memory::new(config.max_bytes))), surroundings }
    }

    pub(super) fn uses(&self) -> &Arc<Uses> {
        &self.surroundings.uses
    }

    /// Does a command. What it promises to be durable is when this returns.
    pub(super) async fn run(&self, command: Command) -> Result<Answer, Error> {
        match &self.kind {
            Kind::Memory(memory) => lock(memory).run(&command, &self.surroundings),
        }
    }

    /// Does a command some time soon, for who cannot wait.
    pub(super) fn run_later(&self, command: Command) {
        match &self.kind {
            Kind::Memory(memory) => {
                // Its only failure is a fault of this program, and has been logged.
                let _ = lock(memory).run(&command, &self.surroundings);
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
        }
    }
}

/// A command that panics leaves no half-made rows behind: they are taken back, or their transaction is dropped.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
