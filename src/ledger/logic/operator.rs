//! The operator's part: what is in doubt, and a word on it.

use std::collections::HashSet;

use super::{Moment, header, load, look, read, save, settle};
use crate::{
    error::{Error, Reason},
    ledger::{
        Audit, DoubtCursor, DoubtPage, Doubted, Event, Scope, Shown, ShownItem, ShownState, Verdict,
        codec::decode,
        key::{self, Table},
        record::{AuditRecord, Batch, Slot},
        tables::{Fault, Tables, TablesMut, damaged},
    },
    model::{AddedItem, CampaignId, MessageId, RequestId, WorkspaceId},
};

/// How many items of a campaign are in doubt.
pub(in crate::ledger) fn doubts(
    tables: &(impl Tables + ?Sized),
    workspace: WorkspaceId,
    campaign: &CampaignId,
) -> Result<u64, Fault> {
    Ok(load(tables, &key::campaign(Table::CampaignDoubt, workspace, campaign))?.unwrap_or(0))
}

/// Batches with items in doubt, in the order of their keys.
pub(in crate::ledger) fn list_doubts(
    tables: &(impl Tables + ?Sized),
    after: Option<&DoubtCursor>,
    limit: usize,
) -> Result<DoubtPage, Fault> {
    let from = match after {
        Some(DoubtCursor { scope, first }) => {
            let mut key = key::at(Table::Doubt, scope, *first);
            key.push(0);
            key
        }
        None => key::start_of(Table::Doubt),
    };
    let mut found = Vec::new();
    let mut more = false;
    tables.scan(&from, &key::end_of(Table::Doubt), &mut |key, _| {
        more = found.len() >= limit;
        if !more {
            found.push(key::parse_at(key).ok_or_else(damaged)?);
        }
        Ok(!more)
    })?;
    let mut entries = Vec::with_capacity(found.len());
    for (scope, first) in found {
        let record: Batch = load(tables, &key::at(Table::Batch, &scope, first))?.ok_or_else(damaged)?;
        let doubted: Vec<u64> = (record.items.iter())
            .filter(|item| matches!(item.slot, Slot::InDoubt(_)))
            .map(|item| first.saturating_add(item.offset))
            .collect();
        let cause = record.items.iter().find_map(|item| match item.slot {
            Slot::InDoubt(_) => record.state(&item.slot),
            _ => None,
        });
        let Some(crate::ledger::State::InDoubt(cause)) = cause else { return Err(damaged()) };
        let (claimed_at, attempts) = (read::time(record.claimed_at), record.attempts);
        entries.push(Doubted { scope, first, indexes: doubted, claimed_at, attempts, cause });
    }
    let next = entries.last().filter(|_| more);
    let next = next.map(|last| DoubtCursor { scope: last.scope.clone(), first: last.first });
    Ok(DoubtPage { entries, next })
}

/// The ingestions of this name, one a workspace at most.
pub(in crate::ledger) fn scopes(
    tables: &(impl Tables + ?Sized),
    campaign: &CampaignId,
    request_id: &RequestId,
) -> Result<Vec<Scope>, Fault> {
    let mut found = Vec::new();
    let mut from = key::start_of(Table::Header);
    loop {
        // Workspaces are few: each is looked at once, and its rows are skipped.
        let mut next = None;
        tables.scan(&from, &key::end_of(Table::Header), &mut |key, _| {
            next = Some(key::workspace(key).ok_or_else(damaged)?);
            Ok(false)
        })?;
        let Some(workspace) = next else { return Ok(found) };
        let scope = Scope { workspace, campaign: campaign.clone(), request_id: request_id.clone() };
        if header::get(tables, &scope)?.is_some_and(|header| !header.forgotten) {
            found.push(scope);
        }
        from = key::after_workspace(Table::Header, workspace);
    }
}

/// Every recorded item of an ingestion, with what was done to it.
pub(in crate::ledger) fn show(
    tables: &(impl Tables + ?Sized),
    scope: &Scope,
    from: u64,
    limit: usize,
    moment: Moment,
    in_use: bool,
) -> Result<Option<Shown>, Fault> {
    let Some((header, state)) = read::remembered(tables, scope, moment, in_use)? else { return Ok(None) };
    let mut shown = Shown {
        items: Vec::new(),
        next: None,
        summary: header.summary(in_use || header.counts.in_flight > 0),
        state,
        create_time: read::time(header.created),
        expire_time: read::time(header.last_use.saturating_add(moment.retention)),
    };
    for window in read::windows(&header, from) {
        let mut items = Vec::new();
        for (index, place) in look::items(tables, scope, &header, &window)? {
            let item = &place.record.items[place.at];
            items.push(ShownItem {
                index,
                item_id: item.item_id.clone().into(),
                state: ShownState::Sent(place.record.state(&item.slot).ok_or_else(damaged)?),
                claimed_at: Some(read::time(place.record.claimed_at)),
                attempts: place.record.attempts,
                audit: audit(tables, scope, index)?,
            });
        }
        for (index, place) in look::refused_items(tables, scope, &header, &window)? {
            let (_, item_id, error) = &place.record.items[place.at];
            items.push(ShownItem {
                index,
                item_id: item_id.clone().into(),
                state: ShownState::Invalid(place.record.error(*error).ok_or_else(damaged)?),
                claimed_at: None,
                attempts: 0,
                audit: Vec::new(),
            });
        }
        items.sort_unstable_by_key(|item| item.index);
        for item in items {
            if shown.items.len() >= limit {
                shown.next = Some(item.index);
                return Ok(Some(shown));
            }
            shown.items.push(item);
        }
    }
    Ok(Some(shown))
}

fn audit(tables: &(impl Tables + ?Sized), scope: &Scope, index: u64) -> Result<Vec<Audit>, Fault> {
    let mut found = Vec::new();
    let from = key::at(Table::Audit, scope, index);
    tables.scan(&from, &key::after(from.clone()), &mut |_, value| {
        let AuditRecord { at, by, note, added } = decode(value)?;
        let verdict = match added {
            Some(id) => Verdict::Added(MessageId::from_upstream(id).ok_or_else(damaged)?),
            None => Verdict::Rejected,
        };
        found.push(Audit { at: read::time(at), by, note, verdict });
        Ok(true)
    })?;
    Ok(found)
}

/// Takes an operator's word for what became of an item in doubt.
pub(super) fn resolve(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    index: u64,
    verdict: &Verdict,
    by: &str,
    note: &str,
    moment: Moment,
) -> Result<(), Fault> {
    let unknown = || {
        Error::new(Reason::IngestionNotFound, "the ledger holds no ingestion of this name, or no such item")
    };
    let header = header::get(tables, scope)?.filter(|header| !header.forgotten).ok_or_else(unknown)?;
    let range = index..index.checked_add(1).ok_or_else(unknown)?;
    let mut items = look::items(tables, scope, &header, &range)?;
    let place = items.remove(&index).ok_or_else(unknown)?;
    if !matches!(place.record.items[place.at].slot, Slot::InDoubt(_)) {
        let message = "only an item that is in doubt can be resolved, and this one is not";
        return Err(Error::invalid_field("index", message).into());
    }
    let (event, added) = match verdict {
        Verdict::Added(message_id) => {
            let item =
                AddedItem { message_id: message_id.clone(), contact_id: String::new(), schedule: None };
            (Event::Added(std::sync::Arc::new(item)), Some(message_id.as_str().to_owned()))
        }
        Verdict::Rejected => {
            let error = Error::new(
                Reason::UpstreamRejected,
                "it was in doubt whether this item was added; an operator found that it was not",
            );
            (Event::Rejected(error), None)
        }
    };
    settle::decide(tables, scope, place.first, index, event, moment)?;
    let mut key = key::at(Table::Audit, scope, index);
    key.extend_from_slice(&moment.now.max(0).cast_unsigned().to_be_bytes());
    save(tables, key, &AuditRecord { at: moment.now, by: by.into(), note: note.into(), added })
}

/// Every message that is on record as added to a campaign.
pub(in crate::ledger) fn known_messages(
    tables: &(impl Tables + ?Sized),
    workspace: WorkspaceId,
    campaign: &CampaignId,
) -> Result<HashSet<MessageId>, Fault> {
    let mut found = HashSet::new();
    let from = key::campaign(Table::Batch, workspace, campaign);
    tables.scan(&from, &key::after(from.clone()), &mut |_, value| {
        let record: Batch = decode(value)?;
        for item in record.items {
            if let Slot::Added(added) = item.slot {
                found.insert(MessageId::from_upstream(added.message_id.into()).ok_or_else(damaged)?);
            }
        }
        Ok(true)
    })?;
    Ok(found)
}
