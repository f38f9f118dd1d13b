//! Messages that may be what became of items in doubt: those of the campaign that no record names.

use std::{collections::HashSet, ops::RangeInclusive};

use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::print::{Table, ranges, time};
use crate::{
    cli::say,
    clock::Clock,
    context::Context,
    model::{ApiKey, CampaignId, Message, Slice, Workspace, WorkspaceId},
    operator::{
        Door,
        protocol::{IngestionName, Item, Request},
    },
    upstream,
};

/// The clocks of both sides may differ by so much.
const BEFORE: TimeDelta = TimeDelta::minutes(2);

/// So much later may the upstream have done what it was asked, and may the batch have been sent again.
const AFTER: TimeDelta = TimeDelta::minutes(15);

/// Entries of one page of the upstream's list.
const PAGE: u32 = 100;

/// Ids of one request to the ledger.
const ASKED: usize = 1_000;

/// A message that no record names.
#[derive(Debug, Serialize)]
pub(super) struct Candidate {
    message_id: String,
    contact_id: Option<String>,
    status: String,
    create_time: Option<DateTime<Utc>>,
    update_time: Option<DateTime<Utc>>,
    /// The listed items in doubt that were claimed around the time at which it was created.
    near: Vec<u64>,
}

/// Asks the upstream, and leaves out what is on record.
pub(super) async fn find(
    door: &mut Door,
    of: &IngestionName,
    key: ApiKey,
    upstream_url: &str,
    items: &[Item],
) -> anyhow::Result<Vec<Candidate>> {
    let doubted: Vec<(u64, DateTime<Utc>)> = (items.iter())
        .filter(|item| item.disposition == "IN_DOUBT")
        .filter_map(|item| Some((item.index, item.claim_time?)))
        .collect();
    if doubted.is_empty() {
        say("none of these items is in doubt: there is nothing to look for");
        return Ok(Vec::new());
    }
    let config = upstream::Config::new(upstream_url).map_err(|fault| anyhow!("--upstream-url: {fault}"))?;
    let client = upstream::Client::new(&config, Clock::System)?;
    let id = WorkspaceId::from_hex(&of.workspace).context("the workspace's digest makes no sense")?;
    let ctx = Context { workspace: Workspace { id, key: key.into() }, deadline: None };
    let campaign = CampaignId::parse(of.campaign.as_str()).map_err(|fault| anyhow!("{}", fault.message()))?;

    let mut found = Vec::new();
    for message in messages(&client, &ctx, &campaign).await? {
        let near: Vec<u64> = match message.create_time {
            Some(created) => {
                let around =
                    |claimed: DateTime<Utc>| -> RangeInclusive<_> { claimed - BEFORE..=claimed + AFTER };
                (doubted.iter())
                    .filter(|(_, claimed)| around(*claimed).contains(&created))
                    .map(|(index, _)| *index)
                    .collect()
            }
            // It may be anybody's.
            None => doubted.iter().map(|(index, _)| *index).collect(),
        };
        if !near.is_empty() {
            found.push(candidate(message, near));
        }
    }

    // Asked after the list was read: what was recorded in between is on record by now.
    let mut unnamed = HashSet::new();
    for part in found.chunks(ASKED) {
        let messages = part.iter().map(|candidate| candidate.message_id.clone()).collect();
        let request =
            Request::Unnamed { workspace: of.workspace.clone(), campaign: of.campaign.clone(), messages };
        unnamed.extend(door.ask::<Vec<String>>(request).await?);
    }
    found.retain(|candidate| unnamed.contains(&candidate.message_id));
    found.sort_by(|a, b| (a.create_time, &a.message_id).cmp(&(b.create_time, &b.message_id)));
    Ok(found)
}

/// The whole list, each message once. It may shift while it is read, so one may be missed.
async fn messages(
    client: &upstream::Client,
    ctx: &Context,
    campaign: &CampaignId,
) -> anyhow::Result<Vec<Message>> {
    let (mut all, mut seen, mut offset) = (Vec::new(), HashSet::new(), 0);
    loop {
        let page = client.list_messages(ctx, campaign, Slice { offset, limit: PAGE }).await;
        let page = page.map_err(|error| anyhow!("the upstream's list cannot be read: {error}"))?.value;
        if page.entries.is_empty() {
            return Ok(all);
        }
        offset += page.entries.len() as u64;
        let before = all.len();
        for message in page.entries.into_iter().flatten() {
            if seen.insert(message.id.clone()) {
                all.push(message);
            }
        }
        if all.len() == before {
            bail!("the upstream's list repeats itself from entry {offset} on: look in the BluBash console");
        }
    }
}

fn candidate(message: Message, near: Vec<u64>) -> Candidate {
    Candidate {
        message_id: message.id.as_str().to_owned(),
        contact_id: message.contact_id,
        status: message.upstream_status,
        create_time: message.create_time,
        update_time: message.update_time,
        near,
    }
}

pub(super) fn table(candidates: &[Candidate]) -> Table {
    let mut table = Table::new(&["MESSAGE_ID", "CONTACT_ID", "STATUS", "CREATED", "UPDATED", "CLAIMED_THEN"]);
    for candidate in candidates {
        table.row([
            candidate.message_id.clone(),
            candidate.contact_id.clone().unwrap_or_default(),
            candidate.status.clone(),
            candidate.create_time.map(time).unwrap_or_default(),
            candidate.update_time.map(time).unwrap_or_default(),
            ranges(&candidate.near),
        ]);
    }
    table
}
