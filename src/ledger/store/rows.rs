//! Rows in redb: one table, sealed values, inside one transaction.

use redb::{ReadOnlyTable, ReadableTable, Table, TableDefinition};

use super::seal::{OVERHEAD, Seal};
use crate::ledger::tables::{Fault, Tables, TablesMut, Visit};

/// One redb table for all of ours, told apart by their keys' first byte: a commit then writes one tree's path.
pub(super) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("ledger");

pub(super) fn broken(error: impl Into<redb::Error>) -> Fault {
    Fault::Broken(error.into().to_string())
}

/// What a row takes in the file: a large one has pages of its own, whose number is a power of two; small ones share
/// pages that are two thirds full.
pub(super) fn weigh(key: usize, value: usize) -> usize {
    let bytes = key + value + 16;
    if bytes > 2_000 { (bytes + 64).next_power_of_two().max(4_096) } else { bytes + bytes / 2 }
}

fn get(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    seal: &Seal,
    key: &[u8],
) -> Result<Option<Vec<u8>>, Fault> {
    match table.get(key).map_err(broken)? {
        Some(value) => seal.open(key, value.value()).map(Some),
        None => Ok(None),
    }
}

fn scan(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    seal: &Seal,
    (from, to): (&[u8], &[u8]),
    visit: &mut Visit<'_>,
) -> Result<(), Fault> {
    if from >= to {
        return Ok(());
    }
    for row in table.range::<&[u8]>(from..to).map_err(broken)? {
        let (key, value) = row.map_err(broken)?;
        if !visit(key.value(), &seal.open(key.value(), value.value())?)? {
            break;
        }
    }
    Ok(())
}

/// As a reader sees them.
pub(super) struct ReadRows<'a> {
    pub(super) table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) seal: &'a Seal,
}

impl Tables for ReadRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        get(&self.table, self.seal, key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        scan(&self.table, self.seal, (from, to), visit)
    }
}

/// As the writer sees them.
pub(super) struct WriteRows<'t, 'a> {
    pub(super) table: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) seal: &'a Seal,
    /// What all rows weigh, with what this transaction has done to them.
    pub(super) bytes: usize,
    pub(super) max_bytes: usize,
    /// How many rows this transaction has written.
    pub(super) writes: usize,
}

impl Tables for WriteRows<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        get(&self.table, self.seal, key)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault> {
        scan(&self.table, self.seal, (from, to), visit)
    }
}

impl TablesMut for WriteRows<'_, '_> {
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Fault> {
        let sealed = self.seal.seal(&key, &value)?;
        self.writes += 1;
        let before = self.table.insert(&*key, &*sealed).map_err(broken)?;
        let before = before.map_or(0, |before| weigh(key.len(), before.value().len()));
        self.bytes = (self.bytes + weigh(key.len(), sealed.len())).saturating_sub(before);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.writes += 1;
        let before = self.table.remove(key).map_err(broken)?;
        let before = before.map_or(0, |before| weigh(key.len(), before.value().len()));
        self.bytes = self.bytes.saturating_sub(before);
        Ok(())
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes).saturating_add(OVERHEAD) <= self.max_bytes
    }
}
