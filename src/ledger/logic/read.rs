//! What is on record, for who asks.

use std::ops::Range;

use chrono::{DateTime, Utc};

use super::{Moment, header, load, look};
use crate::{
    error::{Error, Reason},
    ledger::{
        IngestionPage, Known, KnownState, Scope,
        key::{self, Table},
        record::{Batch, FrozenRecord, Header, Slot},
        tables::{Fault, Tables, damaged},
    },
    model::{Disposition, IngestionState, ItemResult, ResultView},
};

/// Indexes that are looked at in one go.
const WINDOW: u64 = 1_024;

/// Indexes that one page looks at, shown or not: what bounds the work of a filter that shows few.
const MAX_LOOKED_AT: u64 = 65_536;

pub(in crate::ledger) fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// What earlier calls left of these items: the settled and the invalid ones, in order.
pub(in crate::ledger) fn known(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    range: &Range<u64>,
) -> Result<Vec<Known>, Fault> {
    let Some(header) = header::get(tables, scope)?.filter(|header| !header.forgotten) else {
        return Ok(Vec::new());
    };
    let mut known = Vec::new();
    for (index, place) in look::items(tables, scope, &header, range)? {
        let item = &place.record.items[place.at];
        let state = place.record.state(&item.slot).ok_or_else(damaged)?;
        if state.is_settled() {
            let state = KnownState::Settled(state);
            known.push(Known { index, fingerprint: Some(item.fingerprint), state });
        }
    }
    for (index, _) in look::refused_items(tables, scope, &header, range)? {
        known.push(Known { index, fingerprint: None, state: KnownState::Invalid });
    }
    known.sort_unstable_by_key(|known| known.index);
    Ok(known)
}

/// The ingestion, if it is still remembered, and where it stands.
pub(super) fn remembered(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    moment: Moment,
    in_use: bool,
) -> Result<Option<(Header, IngestionState)>, Fault> {
    let Some(header) = header::get(tables, scope)? else { return Ok(None) };
    if header.forgotten || (!in_use && header.is_over(moment.now, moment.retention)) {
        return Ok(None);
    }
    let state = match header.ended {
        _ if in_use || header.counts.in_flight > 0 => IngestionState::Running,
        true => IngestionState::Ended,
        false => IngestionState::Interrupted,
    };
    Ok(Some((header, state)))
}

/// A page of what became of an ingestion's items.
pub(in crate::ledger) fn page(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    from: u64,
    limit: usize,
    view: ResultView,
    moment: Moment,
    in_use: bool,
) -> Result<Option<IngestionPage>, Fault> {
    let Some((header, state)) = remembered(tables, scope, moment, in_use)? else { return Ok(None) };
    let running = state == IngestionState::Running;
    let cause = match &header.cause {
        Some(cause) => cause.to_error().ok_or_else(damaged)?,
        None => Error::new(
            Reason::ServerDraining,
            "the call broke off before this item was sent: repeat it under the same request_id",
        ),
    };
    let mut page = IngestionPage {
        results: Vec::new(),
        next: None,
        summary: header.summary(running),
        state,
        expire_time: time(header.last_use.saturating_add(moment.retention)),
    };
    if view == ResultView::Summary {
        return Ok(Some(page));
    }

    let mut looked_at = 0;
    for window in windows(&header, from) {
        if looked_at >= MAX_LOOKED_AT || page.results.len() >= limit {
            page.next = Some(window.start);
            return Ok(Some(page));
        }
        looked_at += window.end - window.start;
        let mut items = look::items(tables, scope, &header, &window)?;
        let mut refused = look::refused_items(tables, scope, &header, &window)?;
        for index in window {
            let (item_id, disposition) = if let Some(place) = items.remove(&index) {
                let item = &place.record.items[place.at];
                (item.item_id.clone().into(), disposition(&place.record, &item.slot).ok_or_else(damaged)?)
            } else if let Some(place) = refused.remove(&index) {
                let (_, item_id, error) = &place.record.items[place.at];
                let error = place.record.error(*error).ok_or_else(damaged)?;
                (item_id.clone().into(), Disposition::Invalid(error))
            } else if !running {
                (String::new(), Disposition::NotAttempted(cause.clone()))
            } else {
                continue;
            };
            if !view.shows(&disposition) {
                continue;
            }
            if page.results.len() >= limit {
                page.next = Some(index);
                return Ok(Some(page));
            }
            page.results.push(ItemResult { index, item_id, disposition, replayed: false });
        }
    }
    Ok(Some(page))
}

/// The ranges that were read, from `from` on, cut into windows. Every recorded item lies in one.
pub(super) fn windows(header: &Header, from: u64) -> impl Iterator<Item = Range<u64>> {
    let ranges = header.read.iter().filter(move |(_, end)| *end > from);
    ranges.flat_map(move |(start, end)| {
        let (start, end) = ((*start).max(from), *end);
        let next = move |at: &u64| at.checked_add(WINDOW).filter(|next| *next < end);
        std::iter::successors(Some(start), next).map(move |at| at..end.min(at.saturating_add(WINDOW)))
    })
}

/// `None`: the record does not make sense.
fn disposition(record: &Batch, slot: &Slot) -> Option<Disposition> {
    use crate::ledger::State;
    Some(match record.state(slot)? {
        State::InFlight => Disposition::Pending,
        State::Added(item) => Disposition::Added(item),
        State::Rejected(error) => Disposition::Rejected(error),
        State::InDoubt(error) => Disposition::InDoubt(error),
    })
}

/// A batch in doubt that can be sent again.
pub(in crate::ledger) struct Repeatable {
    pub(in crate::ledger) claimed_at: DateTime<Utc>,
    pub(in crate::ledger) attempts: u32,
    pub(in crate::ledger) frozen: FrozenRecord,
    pub(in crate::ledger) indexes: Vec<u64>,
}

/// The batches of an ingestion that are in doubt as a whole and whose bytes are kept, oldest first.
pub(in crate::ledger) fn frozen_doubts(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
) -> Result<Vec<Repeatable>, Fault> {
    let mut kept: Vec<FrozenRecord> = Vec::new();
    let from = key::scope(Table::Frozen, scope);
    tables.scan(&from, &key::after(from.clone()), &mut |_, value| {
        kept.push(crate::ledger::codec::decode(value)?);
        Ok(true)
    })?;
    let mut found = Vec::new();
    for frozen in kept {
        let mut indexes = Vec::new();
        let mut first_record = None;
        let mut whole = true;
        for first in &frozen.pieces {
            let record: Option<Batch> = load(tables, &key::at(Table::Batch, scope, *first))?;
            let Some(record) = record.filter(|r| r.frozen && r.in_doubt() == r.items.len() as u64) else {
                whole = false;
                break;
            };
            for item in &record.items {
                indexes.push(first.checked_add(item.offset).ok_or_else(damaged)?);
            }
            first_record.get_or_insert(record);
        }
        if let (true, Some(record)) = (whole, first_record) {
            let (claimed_at, attempts) = (time(record.claimed_at), record.attempts);
            found.push(Repeatable { claimed_at, attempts, frozen, indexes });
        }
    }
    found.sort_by_key(|batch| batch.claimed_at);
    Ok(found)
}
