//! Finding items by their index: records lie under their first one, and reach a bounded way beyond it.

use std::{collections::BTreeMap, ops::Range};

use super::Fault;
use crate::ledger::{
    Scope,
    codec::decode,
    key::{self, Table},
    record::{Batch, Header, RefusedItems},
    tables::{Tables, damaged},
};

/// How far a record may reach beyond its first index. A batch whose items lie further apart takes several
/// records, so that looking for an index never means reading more than this far back.
const MAX_SPAN: u64 = 4_096;

/// The first index of each record that these ascending indexes are laid into.
pub(in crate::ledger) fn pieces(indexes: &[u64]) -> Vec<u64> {
    laid_out(indexes, |index| *index).iter().map(|piece| piece[0]).collect()
}

/// Items in ascending order, cut into what each record holds.
pub(super) fn laid_out<T>(mut items: &[T], index_of: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut pieces = Vec::with_capacity(1);
    while let Some(first) = items.first().map(&index_of) {
        let (piece, rest) = items.split_at(items.partition_point(|item| index_of(item) - first < MAX_SPAN));
        pieces.push(piece);
        items = rest;
    }
    pieces
}

/// An item in a record.
pub(super) struct Place<R> {
    /// The record's first index, by which it is kept.
    pub(super) first: u64,
    /// The item's place in the record.
    pub(super) at: usize,
    pub(super) record: std::rc::Rc<R>,
}

/// The batches that may hold items of this range, with their first indexes.
pub(super) fn batches(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    header: &Header,
    range: &Range<u64>,
) -> Result<Vec<(u64, Batch)>, Fault> {
    records(tables, Table::Batch, scope, header.span, range)
}

/// The same of refused items.
pub(super) fn refused(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    header: &Header,
    range: &Range<u64>,
) -> Result<Vec<(u64, RefusedItems)>, Fault> {
    if header.counts.invalid == 0 {
        return Ok(Vec::new());
    }
    records(tables, Table::Refused, scope, header.refused_span, range)
}

fn records<R: serde::de::DeserializeOwned>(
    tables: &(impl Tables + ?Sized),
    table: Table,
    scope: &Scope,
    span: u64,
    range: &Range<u64>,
) -> Result<Vec<(u64, R)>, Fault> {
    let mut found = Vec::new();
    let from = key::at(table, scope, range.start.saturating_sub(span));
    let to = key::at(table, scope, range.end);
    tables.scan(&from, &to, &mut |key, value| {
        found.push((key::index(key).ok_or_else(damaged)?, decode(value)?));
        Ok(true)
    })?;
    Ok(found)
}

/// The claimed items of this range.
pub(super) fn items(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    header: &Header,
    range: &Range<u64>,
) -> Result<BTreeMap<u64, Place<Batch>>, Fault> {
    let mut items = BTreeMap::new();
    for (first, batch) in batches(tables, scope, header, range)? {
        let record = std::rc::Rc::new(batch);
        for (at, item) in record.items.iter().enumerate() {
            let index = first.checked_add(item.offset).ok_or_else(damaged)?;
            if range.contains(&index) {
                items.insert(index, Place { first, at, record: std::rc::Rc::clone(&record) });
            }
        }
    }
    Ok(items)
}

/// The refused items of this range.
pub(super) fn refused_items(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    header: &Header,
    range: &Range<u64>,
) -> Result<BTreeMap<u64, Place<RefusedItems>>, Fault> {
    let mut items = BTreeMap::new();
    for (first, refused) in self::refused(tables, scope, header, range)? {
        let record = std::rc::Rc::new(refused);
        for (at, (offset, ..)) in record.items.iter().enumerate() {
            let index = first.checked_add(*offset).ok_or_else(damaged)?;
            if range.contains(&index) {
                items.insert(index, Place { first, at, record: std::rc::Rc::clone(&record) });
            }
        }
    }
    Ok(items)
}
