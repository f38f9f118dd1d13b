//! What became of claimed items.

use super::{Moment, broken_rule, forbidden, header, load, save};
use crate::{
    error::{Error, Reason},
    ledger::{
        Event, Scope,
        key::{self, Table},
        record::{Batch, Header, Slot},
        state::step,
        tables::{Fault, Tables, TablesMut, damaged},
    },
};

/// A batch's record on its way from what it was to what it will be.
struct Settled {
    first: u64,
    record: Batch,
    doubts_before: u64,
    frozen_before: bool,
    changed: bool,
    released: bool,
}

impl Settled {
    fn load(tables: &(impl Tables + ?Sized), scope: &Scope, first: u64) -> Result<Option<Self>, Fault> {
        let Some(record) = load::<Batch>(tables, &key::at(Table::Batch, scope, first))? else {
            return Ok(None);
        };
        let (doubts_before, frozen_before) = (record.in_doubt(), record.frozen);
        if record.items.iter().any(|item| first.checked_add(item.offset).is_none()) {
            return Err(damaged());
        }
        Ok(Some(Self { first, record, doubts_before, frozen_before, changed: false, released: false }))
    }

    /// Gives each item the event that `event_of` names for it. Returns how many it named.
    fn step(
        &mut self,
        header: &mut Header,
        mut event_of: impl FnMut(u64, &Slot) -> Option<Event>,
    ) -> Result<usize, Fault> {
        let mut named = 0;
        let items = std::mem::take(&mut self.record.items);
        for mut item in items {
            let Some(event) = event_of(self.first + item.offset, &item.slot) else {
                self.record.items.push(item);
                continue;
            };
            named += 1;
            let state = self.record.state(&item.slot).ok_or_else(damaged)?;
            let next = step(Some(&state), event).map_err(forbidden)?;
            header.counts.leave(&item.slot);
            match next {
                Some(next) => {
                    item.slot = self.record.slot(&next);
                    header.counts.enter(&item.slot);
                    self.record.items.push(item);
                }
                None => self.released = true,
            }
            self.changed = true;
        }
        Ok(named)
    }

    /// Whether the batch as a whole may go out again: all of it is in doubt, and none of it can have been
    /// claimed anew.
    fn may_repeat(&self) -> bool {
        !self.released && self.record.in_doubt() == self.record.items.len() as u64
    }
}

/// Writes what became of the batches of one claim, and what follows from it.
fn write(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    header: &Header,
    settled: Vec<Settled>,
) -> Result<(), Fault> {
    let repeats = settled.iter().all(|batch| !batch.changed || batch.may_repeat());
    let first = settled.first().map(|batch| batch.first);
    let frozen_before = settled.iter().any(|batch| batch.frozen_before);
    let doubts = |batch: &Settled| batch.record.in_doubt().cast_signed() - batch.doubts_before.cast_signed();
    let more_doubts: i64 = settled.iter().map(doubts).sum();
    if more_doubts != 0 {
        // The one thing that is still to be read, and so the first.
        let campaign = key::campaign(Table::CampaignDoubt, scope.workspace, &scope.campaign);
        let doubts: u64 = load(tables, &campaign)?.unwrap_or(0);
        put_campaign_doubts(tables, campaign, doubts.saturating_add_signed(more_doubts))?;
    }
    for Settled { first, mut record, doubts_before, changed, .. } in settled {
        if !changed {
            continue;
        }
        let doubts = record.in_doubt();
        record.frozen &= repeats;
        tables.remove(&key::at(Table::Open, scope, first))?;
        if doubts_before > 0 {
            tables.remove(&key::at(Table::Doubt, scope, first))?;
        }
        // A record lies under the index of its first item, which may have been released.
        let shift = record.items.first().map(|item| item.offset);
        if shift != Some(0) {
            tables.remove(&key::at(Table::Batch, scope, first))?;
        }
        if let Some(shift) = shift {
            record.items.iter_mut().for_each(|item| item.offset -= shift);
            if doubts > 0 {
                save(tables, key::at(Table::Doubt, scope, first + shift), &doubts)?;
            }
            save(tables, key::at(Table::Batch, scope, first + shift), &record)?;
        }
    }
    if frozen_before
        && !repeats
        && let Some(first) = first
    {
        tables.remove(&key::at(Table::Frozen, scope, first))?;
    }
    header::put(tables, scope, header)
}

pub(super) fn put_campaign_doubts(
    tables: &mut dyn TablesMut,
    key: Vec<u8>,
    doubts: u64,
) -> Result<(), Fault> {
    if doubts == 0 { tables.remove(&key) } else { save(tables, key, &doubts) }
}

/// Gives claimed items their events, all of them or none.
pub(super) fn settle(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    pieces: &[u64],
    events: &[(u64, Event)],
    moment: Moment,
) -> Result<(), Fault> {
    let no_such = || broken_rule("an outcome came for items that are not claimed");
    let mut header = header::get(tables, scope)?.ok_or_else(no_such)?;
    header.last_use = header.last_use.max(moment.now);
    let mut settled = Vec::with_capacity(pieces.len());
    let mut named = 0;
    for first in pieces {
        let mut batch = Settled::load(tables, scope, *first)?.ok_or_else(no_such)?;
        named += batch.step(&mut header, |index, _| event_at(events, index))?;
        settled.push(batch);
    }
    if named != events.len() {
        return Err(no_such());
    }
    write(tables, scope, &header, settled)
}

/// Gives what is still in flight of these batches its events: for when nobody knows how far an earlier try
/// came.
pub(super) fn settle_again(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    pieces: &[u64],
    events: &[(u64, Event)],
    moment: Moment,
) -> Result<(), Fault> {
    in_flight(tables, scope, pieces, moment, |index| event_at(events, index))
}

fn event_at(events: &[(u64, Event)], index: u64) -> Option<Event> {
    let at = events.binary_search_by_key(&index, |(index, _)| *index).ok()?;
    events.get(at).map(|(_, event)| event.clone())
}

/// Leaves in doubt what is still in flight of these batches.
pub(super) fn lose(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    pieces: &[u64],
    moment: Moment,
) -> Result<(), Fault> {
    let lost =
        Error::new(Reason::OutcomeUnknown, "the server lost track of this item while it was being sent")
            .maybe_applied();
    in_flight(tables, scope, pieces, moment, |_| Some(Event::Doubt(lost.clone())))
}

fn in_flight(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    pieces: &[u64],
    moment: Moment,
    event_of: impl Fn(u64) -> Option<Event>,
) -> Result<(), Fault> {
    let Some(mut header) = header::get(tables, scope)? else { return Ok(()) };
    header.last_use = header.last_use.max(moment.now);
    let mut settled = Vec::with_capacity(pieces.len());
    for first in pieces {
        let Some(mut batch) = Settled::load(tables, scope, *first)? else { continue };
        batch.step(&mut header, |index, slot| match slot {
            Slot::InFlight => event_of(index),
            Slot::Added(_) | Slot::Rejected(_) | Slot::InDoubt(_) => None,
        })?;
        settled.push(batch);
    }
    write(tables, scope, &header, settled)
}

/// Leaves in doubt all that a former process left in flight. Returns how many batches there were.
pub(in crate::ledger) fn lose_all_open(tables: &mut dyn TablesMut, moment: Moment) -> Result<usize, Fault> {
    let mut open = Vec::new();
    tables.scan(&key::start_of(Table::Open), &key::end_of(Table::Open), &mut |key, _| {
        open.push((key.to_vec(), key::parse_at(key).ok_or_else(damaged)?));
        Ok(true)
    })?;
    let count = open.len();
    for (key, (scope, first)) in open {
        // One by one: pieces of one batch are all open, so each keeps what the others need to be sent again.
        lose(tables, &scope, &[first], moment)?;
        tables.remove(&key)?;
    }
    Ok(count)
}

/// One attempt more at a batch whose bytes are kept.
pub(super) fn attempt(tables: &mut dyn TablesMut, scope: &Scope, pieces: &[u64]) -> Result<(), Fault> {
    let mut records = Vec::with_capacity(pieces.len());
    for first in pieces {
        let key = key::at(Table::Batch, scope, *first);
        let mut record: Batch = load(tables, &key)?
            .ok_or_else(|| broken_rule("an attempt came for items that are not claimed"))?;
        record.attempts = record.attempts.saturating_add(1);
        records.push((key, record));
    }
    for (key, record) in records {
        save(tables, key, &record)?;
    }
    Ok(())
}

/// An operator's word on one item of a batch.
pub(super) fn decide(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    first: u64,
    index: u64,
    event: Event,
    moment: Moment,
) -> Result<(), Fault> {
    settle(tables, scope, &[first], &[(index, event)], moment)
}
