//! An ingestion as a whole: its beginning, its uses, its end.

use std::ops::Range;

use super::{Answer, Moment, expire, load, save};
use crate::ledger::{
    Ending, Scope,
    key::{self, Table},
    record::Header,
    tables::{Fault, Tables, TablesMut},
};

/// What an ingestion's header takes, roughly.
const HEADER_BYTES: usize = 512;

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

pub(super) fn open(tables: &mut dyn TablesMut, scope: &Scope, moment: Moment) -> Result<Answer, Fault> {
    let known = get(tables, scope)?;
    if known.is_none() && !tables.has_room(HEADER_BYTES) {
        return Err(super::claim::full());
    }
    if let Some(known) = known.filter(|header| header.is_over(moment.now, moment.retention)) {
        expire::forget(tables, scope, known, usize::MAX)?;
    }
    let (mut header, new) = for_use(tables, scope, moment)?;
    // Until this call ends, or the next does, nobody can say how the last one did.
    header.ended = false;
    put_used(tables, scope, &header, new)?;
    Ok(Answer::Opened { fresh: header.counts.recorded() == 0 })
}

pub(super) fn end(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    read: &Range<u64>,
    ending: &Ending,
    moment: Moment,
) -> Result<(), Fault> {
    let (mut header, new) = for_use(tables, scope, moment)?;
    header.add_read(read.start, read.end);
    header.end(ending);
    put_used(tables, scope, &header, new)
}
