//! An ingestion as a whole: the row that stands for it, and its place among the uses.

use super::{Moment, load, save};
use crate::ledger::{
    Scope,
    key::{self, Table},
    record::Header,
    tables::{Fault, Tables, TablesMut},
};

pub(super) fn get(tables: &(impl Tables + ?Sized), scope: &Scope) -> Result<Option<Header>, Fault> {
    load(tables, &key::scope(Table::Header, scope))
}

pub(super) fn put(tables: &mut dyn TablesMut, scope: &Scope, header: &Header) -> Result<(), Fault> {
    save(tables, key::scope(Table::Header, scope), header)
}

/// The header for a command that uses the ingestion now. A new one comes with a row to put among the uses.
pub(super) fn for_use(
    tables: &dyn TablesMut,
    scope: &Scope,
    moment: Moment,
) -> Result<(Header, bool), Fault> {
    Ok(match get(tables, scope)? {
        Some(mut header) => {
            header.last_use = header.last_use.max(moment.now);
            (header, false)
        }
        None => (Header::new(moment.now), true),
    })
}

/// Puts what [`for_use`] gave.
pub(super) fn put_used(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    header: &Header,
    new: bool,
) -> Result<(), Fault> {
    if new {
        tables.put(key::used(header.filed, scope), Vec::new())?;
    }
    put(tables, scope, header)
}
