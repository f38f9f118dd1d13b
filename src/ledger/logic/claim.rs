//! The record before the first byte.

use super::{Moment, full, header, look, refuse, save};
use crate::ledger::{
    ClaimedItem, Event, Frozen, Scope,
    key::{self, Table},
    record::{Batch, FrozenRecord},
    state::step,
    tables::{Fault, TablesMut, damaged},
};

/// What an item takes beside its id by the time it is settled: its fingerprint, the ids and the schedule that
/// the upstream gives it. Asked for with the claim, so that an outcome always finds room.
const ITEM_BYTES: usize = 160;

/// What a batch takes beside its items.
const BATCH_BYTES: usize = 512;

pub(super) fn claim(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    items: &[ClaimedItem],
    frozen: Option<&Frozen>,
    moment: Moment,
) -> Result<(), Fault> {
    let mut items: Vec<&ClaimedItem> = items.iter().collect();
    items.sort_unstable_by_key(|item| item.index);
    let pieces = look::laid_out(&items, |item| item.index);
    let (mut header, new) = header::for_use(tables, scope, moment)?;

    // First look at all, then change all: a batch is claimed whole or not at all.
    let mut batches = Vec::with_capacity(pieces.len());
    let mut mended = refuse::Changes::default();
    for piece in pieces.iter().copied() {
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { continue };
        let (first, last) = (first.index, last.index);
        let range = first..last.checked_add(1).ok_or_else(|| super::broken_rule("an index out of range"))?;
        let known = look::items(tables, scope, &header, &range)?;
        let mut before = None;
        for item in piece {
            let twice = before.replace(item.index) == Some(item.index);
            let state = match known.get(&item.index) {
                Some(place) => {
                    let slot = &place.record.items[place.at].slot;
                    Some(place.record.state(slot).ok_or_else(damaged)?)
                }
                None => twice.then_some(crate::ledger::State::InFlight),
            };
            step(state.as_ref(), Event::Claim).map_err(super::forbidden)?;
        }
        let among = |index: u64| piece.binary_search_by_key(&index, |item| item.index).is_ok();
        mended.take(tables, scope, &header, &range, &among)?;
        header.add_read(range.start, range.end);
        header.span = header.span.max(last - first);
        batches.push((first, Batch::new(moment.now, first, piece, frozen.is_some())));
    }
    let ids: usize = items.iter().map(|item| item.item_id.len()).sum();
    let bytes = frozen.map_or(0, |frozen| frozen.bytes.len());
    if !tables.has_room(ids + bytes + items.len() * ITEM_BYTES + pieces.len() * BATCH_BYTES) {
        return Err(full());
    }

    header.counts.in_flight += items.len() as u64;
    mended.write(tables, scope, &mut header)?;
    let firsts: Vec<u64> = batches.iter().map(|(first, _)| *first).collect();
    for (first, batch) in batches {
        tables.put(key::at(Table::Open, scope, first), Vec::new())?;
        save(tables, key::at(Table::Batch, scope, first), &batch)?;
    }
    if let (Some(frozen), Some(first)) = (frozen, firsts.first().copied()) {
        let record = FrozenRecord {
            has_immediate: frozen.has_immediate,
            bytes: frozen.bytes.to_vec(),
            pieces: firsts,
        };
        save(tables, key::at(Table::Frozen, scope, first), &record)?;
    }
    header::put_used(tables, scope, &header, new)
}
