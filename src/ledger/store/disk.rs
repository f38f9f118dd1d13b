//! The ledger on a disk: many commands, one commit.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use redb::{Database, Durability, ReadableDatabase as _, WriteTransaction};

use super::{
    Surroundings,
    fault::OpenFault,
    open::{self, Place},
    rows::{ROWS, ReadRows, WriteRows, broken},
    seal::Seal,
};
use crate::{
    error::{Error, Reason},
    ledger::{
        logic::{self, Answer, Command},
        tables::{Fault, Tables},
    },
};

/// How long after a failure the disk is let alone, in milliseconds. Long enough not to make things worse, short
/// enough that a disk that has room again is noticed at once.
const PAUSE: i64 = 1_000;

/// What readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    /// `None` while the disk is failing, and after the end.
    database: RwLock<Option<Database>>,
    seal: Seal,
    /// What the rows weigh.
    bytes: AtomicUsize,
}

impl Shared {
    /// What the rows weigh, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The writer's side. There is one.
pub(super) struct Disk {
    shared: Arc<Shared>,
    place: Box<dyn Place>,
    surroundings: Surroundings,
    /// What must be done first when the disk works again: what became of claims that were open when it failed.
    /// As nothing new is claimed meanwhile, there are no more of them than there were claims.
    amends: Vec<Command>,
    /// When the disk failed, if it has not worked since.
    failed_at: Option<i64>,
    /// Whether there are commits that a crash would take.
    unsynced: bool,
    closed: bool,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Disk({})", self.place.name())
    }
}

impl Shared {
    /// Looks at the rows as the last commit left them.
    pub(super) fn read<T>(&self, look: impl FnOnce(&dyn Tables) -> Result<T, Fault>) -> Result<T, Error> {
        let transaction = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            let database = database.as_ref().ok_or_else(unavailable)?;
            database.begin_read().map_err(|error| unreadable(&error.to_string()))?
        };
        let table = transaction.open_table(ROWS).map_err(|error| unreadable(&error.to_string()))?;
        look(&ReadRows { table, seal: &self.seal }).map_err(|fault| match fault {
            Fault::Refused(error) => error,
            Fault::Broken(why) => unreadable(&why),
        })
    }
}

fn unavailable() -> Error {
    Error::new(Reason::LedgerUnavailable, "the ledger's disk fails, so nothing is sent")
        .retry_after(Duration::from_secs(1))
}

fn unreadable(why: &str) -> Error {
    tracing::error!(why, "the ledger cannot be read");
    unavailable()
}

impl Disk {
    /// Opens the ledger, and leaves in doubt what a former process left in flight.
    pub(super) fn open(
        place: impl Place + 'static,
        seal: Seal,
        surroundings: Surroundings,
    ) -> Result<Self, OpenFault> {
        let (database, bytes) = open::open(&place, &seal)?;
        let shared = Shared { database: RwLock::new(Some(database)), seal, bytes: AtomicUsize::new(bytes) };
        let mut disk = Self {
            shared: Arc::new(shared),
            place: Box::new(place),
            surroundings,
            amends: Vec::new(),
            failed_at: None,
            unsynced: false,
            closed: false,
        };
        let moment = disk.surroundings.moment();
        match disk.transact(true, |rows| logic::lose_all_open(rows, moment)) {
            Ok(0) => Ok(disk),
            Ok(batches) => {
                tracing::warn!(
                    batches,
                    "batches were on their way when the server stopped: they are in doubt"
                );
                Ok(disk)
            }
            Err(Fault::Refused(_)) => Err(OpenFault::damaged(disk.place.name(), "a record does not read")),
            Err(Fault::Broken(why)) => Err(OpenFault::damaged(disk.place.name(), why)),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether a while after now there is something to do that no command asks for.
    pub(super) fn is_restless(&self) -> bool {
        self.unsynced || self.failed_at.is_some()
    }

    /// Does these commands, and answers each when all of them are committed. One that is refused does not harm the
    /// others; if the disk fails, none of them took effect as far as anyone can rely on it.
    pub(super) fn run(&mut self, commands: Vec<Command>) -> Vec<Result<Answer, Error>> {
        if let Err(error) = self.ready() {
            let count = commands.len();
            // What was not even tried needs no amends, but for outcomes: those must not be lost.
            self.amends.extend(commands.into_iter().filter_map(|command| match command {
                Command::Claim { .. } => None,
                command => command.amends(),
            }));
            return vec![Err(error); count];
        }
        let moment = self.surroundings.moment();
        let amends = std::mem::take(&mut self.amends);
        let durable = !amends.is_empty() || commands.iter().any(Command::is_durable);
        let done = self.transact(durable, |rows| {
            for command in &amends {
                // What is refused here had taken effect before the disk failed.
                alone(rows, |rows| logic::apply(rows, command, moment))?.ok();
            }
            commands
                .iter()
                .map(|command| alone(rows, |rows| logic::apply(rows, command, moment)))
                .collect::<Result<Vec<_>, Fault>>()
        });
        match done {
            Ok(answers) => answers,
            Err(_) => {
                let count = commands.len();
                self.amends = amends;
                self.amends.extend(commands.into_iter().filter_map(Command::amends));
                vec![Err(unavailable()); count]
            }
        }
    }

    /// Takes away what is over, a part at a time. Says whether there is more.
    pub(super) fn sweep(&mut self) -> bool {
        if self.ready().is_err() {
            return false;
        }
        let (moment, uses) = (self.surroundings.moment(), Arc::clone(&self.surroundings.uses));
        let swept = self.transact(false, |rows| logic::sweep(rows, moment, &|scope| uses.is_used(scope)));
        swept.unwrap_or(false)
    }

    /// Brings to the disk what is not there yet, and opens it again if it failed.
    pub(super) fn settle_down(&mut self) {
        if self.ready().is_err() {
            return;
        }
        if !self.amends.is_empty() {
            self.run(Vec::new());
        } else if self.unsynced {
            // Its failure is remembered, and told by the next command.
            let _ = self.transact(true, |_| Ok(()));
        }
    }

    pub(super) fn close(&mut self) {
        if !self.closed && self.failed_at.is_none() {
            self.settle_down();
        }
        self.closed = true;
        let database = self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = database.map(Database::close) {
            // What was promised is on the disk: only the next start takes a little longer.
            tracing::warn!(%error, "the ledger was not closed cleanly");
        }
    }

    /// Sees to it that the database is open.
    fn ready(&mut self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::new(
                Reason::LedgerUnavailable,
                "the ledger is closed: the server is going away",
            ));
        }
        let Some(failed_at) = self.failed_at else { return Ok(()) };
        let now = self.surroundings.moment().now;
        // A clock that was set back must not make the pause longer.
        if (failed_at..failed_at.saturating_add(PAUSE)).contains(&now) {
            return Err(unavailable());
        }
        match open::open(&*self.place, &self.shared.seal) {
            Ok((database, bytes)) => {
                tracing::warn!("the ledger works again");
                self.shared.bytes.store(bytes, Ordering::Relaxed);
                *self.shared.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
                self.failed_at = None;
                Ok(())
            }
            Err(fault) => {
                tracing::error!(%fault, "the ledger still fails: nothing is sent");
                self.failed_at = Some(now);
                Err(unavailable())
            }
        }
    }

    /// Does this in one commit. After a failure the database is closed: redb would refuse everything from then on, and
    /// whether the commit took effect is for the disk to say.
    fn transact<T>(
        &mut self,
        durable: bool,
        work: impl FnOnce(&mut WriteRows<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let done = {
            let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
            match database.as_ref() {
                Some(database) => database
                    .begin_write()
                    .map_err(broken)
                    .and_then(|transaction| self.commit(transaction, durable, work)),
                None => Err(Fault::Broken("it is closed".into())),
            }
        };
        match &done {
            Ok(_) => self.unsynced = !durable,
            Err(Fault::Refused(_)) => {}
            Err(Fault::Broken(why)) => {
                tracing::error!(why, "the ledger failed: nothing is sent until it works again");
                self.failed_at = Some(self.surroundings.moment().now);
                self.unsynced = false;
                self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
            }
        }
        done
    }

    fn commit<T>(
        &self,
        mut transaction: WriteTransaction,
        durable: bool,
        work: impl FnOnce(&mut WriteRows<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // Two phases cost a second sync, and are what tells damage from a torn commit: with one, redb goes back to the
        // commit before whenever the last one does not verify, and a claim would be forgotten without a word.
        // redb's quick repair is left out: it skips the check of the file at the start, which finds damage, and its
        // commits write the allocator's state each time.
        transaction.set_two_phase_commit(true);
        if !durable {
            transaction.set_durability(Durability::None).map_err(|error| Fault::Broken(error.to_string()))?;
        }
        let bytes = self.shared.bytes.load(Ordering::Relaxed);
        let (value, bytes) = {
            let table = transaction.open_table(ROWS).map_err(broken)?;
            let max_bytes = self.surroundings.config.max_bytes;
            let mut rows = WriteRows { table, seal: &self.shared.seal, bytes, max_bytes, writes: 0 };
            let value = work(&mut rows)?;
            (value, rows.bytes)
        };
        transaction.commit().map_err(broken)?;
        self.shared.bytes.store(bytes, Ordering::Relaxed);
        Ok(value)
    }
}

/// Does one command of a group: refused, it must have left the group's transaction as it was.
fn alone<T>(
    rows: &mut WriteRows<'_, '_>,
    work: impl FnOnce(&mut WriteRows<'_, '_>) -> Result<T, Fault>,
) -> Result<Result<T, Error>, Fault> {
    let before = rows.writes;
    match work(rows) {
        Ok(value) => Ok(Ok(value)),
        Err(Fault::Refused(error)) if rows.writes == before => Ok(Err(error)),
        Err(Fault::Refused(_)) => Err(Fault::Broken("a refused command had already written".into())),
        Err(broken) => Err(broken),
    }
}
