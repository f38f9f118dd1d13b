//! Items that were refused here, before anything was sent: kept for who asks later, and never in the way of
//! the same index coming back mended.

use std::{collections::BTreeMap, ops::Range};

use super::{Moment, broken_rule, full, header, look, save};
use crate::ledger::{
    Refused, Scope,
    key::{self, Table},
    record::{Header, RefusedItems},
    tables::{Fault, Tables, TablesMut, damaged},
};

/// What a refused item takes beside its id.
const ITEM_BYTES: usize = 32;

/// Records of refused items from which some are taken, by their first indexes.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<u64, Change>);

struct Change {
    left: RefusedItems,
    /// How many it loses.
    removed: u64,
}

impl Changes {
    /// Takes these items of this range out of the records that hold them.
    pub(super) fn take(
        &mut self,
        tables: &(impl Tables + ?Sized),
        scope: &Scope,
        header: &Header,
        range: &Range<u64>,
        goes: &dyn Fn(u64) -> bool,
    ) -> Result<(), Fault> {
        for (first, left) in look::refused(tables, scope, header, range)? {
            // An offset that leads beyond all indexes is no record of ours.
            if left.items.iter().any(|(offset, ..)| first.checked_add(*offset).is_none()) {
                return Err(damaged());
            }
            // One record may reach into several ranges of a batch.
            let change = self.0.entry(first).or_insert(Change { left, removed: 0 });
            let before = change.left.items.len();
            change.left.items.retain(|(offset, ..)| !goes(first + offset));
            change.removed += (before - change.left.items.len()) as u64;
        }
        Ok(())
    }

    pub(super) fn write(
        self,
        tables: &mut dyn TablesMut,
        scope: &Scope,
        header: &mut Header,
    ) -> Result<(), Fault> {
        for (first, Change { mut left, removed }) in self.0 {
            if removed == 0 {
                continue;
            }
            header.counts.invalid = header.counts.invalid.saturating_sub(removed);
            // A record lies under the index of its first item, which may be among those that went.
            tables.remove(&key::at(Table::Refused, scope, first))?;
            if let Some((shift, ..)) = left.items.first().cloned() {
                left.items.iter_mut().for_each(|(offset, ..)| *offset -= shift);
                save(tables, key::at(Table::Refused, scope, first + shift), &left)?;
            }
        }
        Ok(())
    }
}

pub(super) fn refuse(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    refused: &[Refused],
    moment: Moment,
) -> Result<(), Fault> {
    let mut items: Vec<&Refused> = refused.iter().collect();
    items.sort_unstable_by_key(|item| item.index);
    items.dedup_by_key(|item| item.index);
    let pieces = look::laid_out(&items, |item| item.index);
    let (mut header, new) = header::for_use(tables, scope, moment)?;

    let mut changes = Changes::default();
    let mut records = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
        let (first, last) = (first.index, last.index);
        let range = first..last.checked_add(1).ok_or_else(|| broken_rule("an index out of range"))?;
        let among = |index: u64| piece.binary_search_by_key(&index, |item| item.index).is_ok();
        if look::items(tables, scope, &header, &range)?.keys().any(|index| among(*index)) {
            return Err(broken_rule("an item that was sent cannot be refused any more"));
        }
        changes.take(tables, scope, &header, &range, &among)?;
        header.add_read(range.start, range.end);
        header.refused_span = header.refused_span.max(last - first);
        records.push((first, RefusedItems::new(first, piece)));
    }
    let ids: usize = items.iter().map(|item| item.item_id.len()).sum();
    if !tables.has_room(ids + items.len() * ITEM_BYTES) {
        return Err(full());
    }

    changes.write(tables, scope, &mut header)?;
    header.counts.invalid += items.len() as u64;
    for (first, record) in records {
        save(tables, key::at(Table::Refused, scope, first), &record)?;
    }
    header::put_used(tables, scope, &header, new)
}
