//! Counting a campaign's messages by status.

use std::time::Duration;

use super::{cache::Cache, reading::Reading, watch::Hub};
use crate::{
    context::Context,
    error::Error,
    model::{CampaignId, Counts, Observed},
    upstream,
};

/// Messages asked for in a page.
const PAGE_SIZE: u32 = 100;

/// Counts messages. Cheap to clone.
#[derive(Clone)]
pub struct Counting {
    client: upstream::Client,
    cache: Cache,
    hub: Hub,
}

impl Counting {
    /// Counts what `hub` knows of a campaign that is watched, else what the upstream lists to `client`.
    pub fn new(client: upstream::Client, cache: Cache, hub: Hub) -> Self {
        Self { client, cache, hub }
    }

    /// How many messages are in which status. While the campaign is watched, as its last poll saw it, at no
    /// cost to the upstream; else by one reading of the whole list, shared by all who ask meanwhile. No older
    /// than `max_staleness`; unset: than the last poll, or the cache's default.
    ///
    /// # Errors
    /// `CampaignNotFound`, `DeadlineExceeded`, `UpstreamResponseInvalid` where the list has no end, and what a
    /// failed read brings.
    pub async fn count(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        max_staleness: Option<Duration>,
    ) -> Result<Observed<Counts>, Error> {
        if let Some(counts) = self.hub.counts(ctx.workspace.id, campaign, max_staleness) {
            return Ok(counts);
        }
        let fetch = || {
            let (client, ctx, campaign) = (self.client.clone(), ctx.without_deadline(), campaign.clone());
            async move { read_all(&client, &ctx, &campaign).await }
        };
        self.cache.counts(ctx, campaign, max_staleness, fetch).await
    }
}

/// Reads the whole list. What it says is as old as its first page.
async fn read_all(
    client: &upstream::Client,
    ctx: &Context,
    campaign: &CampaignId,
) -> Result<Observed<Counts>, Error> {
    let (mut reading, mut counts, mut first) = (Reading::new(PAGE_SIZE), Counts::default(), None);
    loop {
        let page = client.list_messages(ctx, campaign, reading.next()).await?;
        let began = *first.get_or_insert(page.began);
        let step = reading.take(page.value)?;
        step.messages.iter().for_each(|message| counts.add(message.status));
        if step.last {
            return Ok(Observed { value: counts, began });
        }
    }
}
