//! Rows in memory: bounded, and gone with the process.

use std::{collections::BTreeMap, ops::Bound};

use super::{SWEEP_PAUSE, Surroundings};
use crate::{
    error::{Error, Reason},
    ledger::{
        logic::{self, Answer, Command},
        tables::{Fault, Tables, TablesMut, Visit},
    },
};

/// What a row weighs beside its bytes: its two vectors in a tree's node that is two thirds full. (Measured: a million
/// items with three UUIDs each weigh 75 MB so, and take 80.)
const ROW_BYTES: usize = 120;

#[derive(Debug)]
pub(super) struct Memory {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the rows weigh.
    bytes: usize,
    max_bytes: usize,
    /// How to take back what the command at hand has done.
    undo: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    next_sweep: i64,
}

impl Memory {
    /// What the rows weigh, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn new(max_bytes: usize) -> Self {
        Self { rows: BTreeMap::new(), bytes: 0, max_bytes, undo: Vec::new(), next_sweep: i64::MIN }
    }

    pub(super) fn run(&mut self, command: &Command, surroundings: &Surroundings) -> Result<Answer, Error> {
        let moment = surroundings.moment();
        if matches!(command, Command::Open { .. }) && moment.now >= self.next_sweep {
            let sweep =
                |memory: &mut Self| logic::sweep(memory, moment, &|scope| surroundings.uses.is_used(scope));
            let more = self.transact(sweep)?;
            self.next_sweep = if more { moment.now } else { moment.now.saturating_add(SWEEP_PAUSE) };
        }
        self.transact(|memory| logic::apply(memory, command, moment))
    }

    /// All of it, or nothing.
    fn transact<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Error> {
        self.undo.clear();
        let result = work(self);
        if result.is_err() {
            for (key, value) in std::mem::take(&mut self.undo).into_iter().rev() {
                self.set(key, value);
            }
        }
        result.map_err(refusal)
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let fixed = key.len() + ROW_BYTES;
        let weigh = |value: &Option<Vec<u8>>| {
            // The allocator rounds up by a sixteenth on average.
            value.as_ref().map_or(0, |value| fixed + value.len() + value.len() / 16)
        };
        let after = weigh(&value);
        let before = match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        };
        self.bytes = self.bytes + after - weigh(&before);
        before
    }
}

impl Tables for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}

impl TablesMut for Memory {
    fn put(&mut self, key: Vec<u8>, mut value: Vec<u8>) -> Result<(), Fault> {
        value.shrink_to_fit();
        let before = self.set(key.clone(), Some(value));
        self.undo.push((key, before));
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Fault> {
        let before = self.set(key.to_vec(), None);
        self.undo.push((key.to_vec(), before));
        Ok(())
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.max_bytes
    }
}

/// Memory does not break; what calls itself broken here is a record that could not be written down.
pub(super) fn refusal(fault: Fault) -> Error {
    match fault {
        Fault::Refused(error) => error,
        Fault::Broken(why) => {
            tracing::error!(why, "the ledger in memory failed");
            Error::new(Reason::LedgerUnavailable, "the ledger failed, so nothing is sent")
        }
    }
}
