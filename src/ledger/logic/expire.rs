//! Forgetting: an ingestion goes when its retention is over, a bounded number of rows at a time.

use super::{Moment, header, load, settle};
use crate::ledger::{
    Scope,
    key::{self, OF_A_SCOPE, Table},
    record::Header,
    tables::{Fault, TablesMut, damaged},
};

/// Ingestions that one sweep looks at, and rows that it takes away: what other callers wait for meanwhile.
const SWEEP_INGESTIONS: usize = 64;
const SWEEP_ROWS: usize = 400;

/// How long an ingestion that is over, and still used, is let alone before it is looked at again.
const IN_USE_PAUSE: i64 = 60_000;

/// Takes away ingestions whose time is over, oldest first. Says whether there is more to do at once.
pub(in crate::ledger) fn sweep(
    tables: &mut dyn TablesMut,
    moment: Moment,
    in_use: &dyn Fn(&Scope) -> bool,
) -> Result<bool, Fault> {
    let over = moment.now.saturating_sub(moment.retention);
    let mut due = Vec::new();
    tables.scan(&key::start_of(Table::Use), &key::end_of(Table::Use), &mut |key, _| {
        let (filed, scope) = key::parse_used(key).ok_or_else(damaged)?;
        if filed > over || due.len() > SWEEP_INGESTIONS {
            return Ok(false);
        }
        due.push((key.to_vec(), scope));
        Ok(true)
    })?;
    let more = due.len() > SWEEP_INGESTIONS;
    due.truncate(SWEEP_INGESTIONS);

    let mut rows = SWEEP_ROWS;
    for (key, scope) in due {
        let Some(mut header) = header::get(tables, &scope)? else {
            tables.remove(&key)?;
            continue;
        };
        let used = in_use(&scope);
        if used || !header.is_over(moment.now, moment.retention) {
            // It was used since it was filed: it waits under its last use. What is used now waits a little.
            let busy = used || header.counts.in_flight > 0;
            header.filed = if busy { over + IN_USE_PAUSE } else { header.last_use };
            tables.remove(&key)?;
            tables.put(key::used(header.filed, &scope), Vec::new())?;
            header::put(tables, &scope, &header)?;
            continue;
        }
        let taken = forget(tables, &scope, header, rows)?;
        rows = rows.saturating_sub(taken);
        if rows == 0 {
            return Ok(true);
        }
    }
    Ok(more)
}

/// Takes away at most so many rows of an ingestion, and the ingestion itself with the last of them. Returns
/// how many it took.
pub(super) fn forget(
    tables: &mut dyn TablesMut,
    scope: &Scope,
    mut header: Header,
    rows: usize,
) -> Result<usize, Fault> {
    // Its doubts leave the campaign's count at once, and never twice.
    if header.counts.in_doubt > 0 {
        let campaign = key::campaign(Table::CampaignDoubt, scope.workspace, &scope.campaign);
        let doubts: u64 = load(tables, &campaign)?.unwrap_or(0);
        settle::put_campaign_doubts(tables, campaign, doubts.saturating_sub(header.counts.in_doubt))?;
    }
    let mut taken = 0;
    for table in OF_A_SCOPE {
        let from = key::scope(table, scope);
        let mut keys = Vec::new();
        tables.scan(&from, &key::after(from.clone()), &mut |key, _| {
            keys.push(key.to_vec());
            Ok(taken + keys.len() < rows)
        })?;
        taken += keys.len();
        for key in keys {
            tables.remove(&key)?;
        }
        if taken >= rows {
            // More may be left: until it is gone, it counts as gone.
            header.counts = Default::default();
            header.forgotten = true;
            header::put(tables, scope, &header)?;
            return Ok(taken);
        }
    }
    tables.remove(&key::used(header.filed, scope))?;
    tables.remove(&key::scope(Table::Header, scope))?;
    Ok(taken)
}
