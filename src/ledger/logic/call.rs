//! The beginning and the end of a call that uses an ingestion.

use std::ops::Range;

use super::{
    Answer, Moment, expire, full,
    header::{for_use, get, put_used},
};
use crate::ledger::{
    Ending, Scope,
    tables::{Fault, TablesMut},
};

/// What an ingestion's header takes, roughly.
const HEADER_BYTES: usize = 512;

pub(super) fn open(tables: &mut dyn TablesMut, scope: &Scope, moment: Moment) -> Result<Answer, Fault> {
    let known = get(tables, scope)?;
    if known.is_none() && !tables.has_room(HEADER_BYTES) {
        return Err(full());
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
