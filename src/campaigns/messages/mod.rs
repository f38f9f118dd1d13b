//! Reading messages: one, or page by page.

mod paging;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use self::paging::Paging;
pub use self::paging::{ANCHORS, Anchor, Position};
use crate::{
    campaigns::cache::Cache,
    context::Context,
    error::Error,
    model::{CampaignId, Message, MessageId, Observed, Page, Slice, StatusSet},
    upstream,
};

/// One page for a caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// Those that the filter keeps, in the upstream's order.
    pub messages: Vec<Message>,
    /// Where the next page begins; `None` on the last page, and only there.
    pub next: Option<Position>,
    /// When the oldest upstream request behind it began.
    pub observe_time: DateTime<Utc>,
    /// The number of messages in the campaign, where the upstream tells.
    pub total: Option<u64>,
}

/// Reads messages. Cheap to clone.
#[derive(Clone)]
pub struct Messages {
    client: upstream::Client,
    cache: Cache,
}

impl Messages {
    /// Reads through this client, and from this cache.
    pub fn new(client: upstream::Client, cache: Cache) -> Self {
        Self { client, cache }
    }

    /// One message, no older than `max_staleness`; unset: than the default for its status.
    ///
    /// # Errors
    /// `MessageNotFound`, `CampaignNotFound`, and what a failed read brings.
    pub async fn get(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        id: &MessageId,
        max_staleness: Option<Duration>,
    ) -> Result<Observed<Arc<Message>>, Error> {
        let fetch = || {
            let (client, ctx) = (self.client.clone(), ctx.without_deadline());
            let (campaign, id) = (campaign.clone(), id.clone());
            async move { client.get_message(&ctx, &campaign, &id).await }
        };
        self.cache.message(ctx, campaign, id, max_staleness, fetch).await
    }

    /// One page of a campaign's messages: the first, or the one behind a position. A caller who pages to the
    /// end has been given all that stood in the list from the first page on and kept its order among the
    /// others, however the list shifted meanwhile; some of it twice, where it did.
    ///
    /// `max_staleness` bounds each page's age. Unset: by the default for a first page, and later ones are asked
    /// for.
    ///
    /// # Errors
    /// `CampaignNotFound`; `UpstreamResponseInvalid` where the upstream ignores the offset, so that paging
    /// would never end, or where the place in the list was lost too often; and what a failed read brings.
    pub async fn list(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        page_size: u32,
        from: Option<Position>,
        statuses: StatusSet,
        max_staleness: Option<Duration>,
    ) -> Result<Listing, Error> {
        // A later page from before the first could lack what the first one's list had.
        let max_staleness = max_staleness.or_else(|| from.is_some().then_some(Duration::ZERO));
        let mut paging = Paging::new(page_size, from);
        let mut oldest: Option<DateTime<Utc>> = None;
        loop {
            let Observed { value, began } = self.page(ctx, campaign, paging.next(), max_staleness).await?;
            let observe_time = oldest.map_or(began, |oldest| oldest.min(began));
            oldest = Some(observe_time);
            if let Some(told) = paging.take(value)? {
                let (mut messages, next, total) = (told.messages, told.next, told.total);
                messages.retain(|message| statuses.keeps(message.status));
                return Ok(Listing { messages, next, observe_time, total });
            }
        }
    }

    /// A part of the list: the one way on which this module asks for any.
    async fn page(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        slice: Slice,
        max_staleness: Option<Duration>,
    ) -> Result<Observed<Page>, Error> {
        let fetch = || {
            let (client, ctx, campaign) = (self.client.clone(), ctx.without_deadline(), campaign.clone());
            async move { client.list_messages_raw(&ctx, &campaign, slice).await }
        };
        self.cache.page(ctx, campaign, slice, max_staleness, fetch).await
    }
}

#[cfg(test)]
mod tests;
