//! Reading messages: one, or page by page.

mod paging;

use chrono::{DateTime, Utc};

use self::paging::Paging;
pub use self::paging::{ANCHORS, Anchor, Position};
use crate::{
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
}

impl Messages {
    /// Reads through this client.
    pub fn new(client: upstream::Client) -> Self {
        Self { client }
    }

    /// One message.
    ///
    /// # Errors
    /// `MessageNotFound`, `CampaignNotFound`, and what a failed read brings.
    pub async fn get(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        id: &MessageId,
    ) -> Result<Observed<Message>, Error> {
        self.client.get_message(ctx, campaign, id).await
    }

    /// One page of a campaign's messages: the first, or the one behind a position. A caller who pages to the
    /// end has been given all that stood in the list from the first page on and kept its order among the
    /// others, however the list shifted meanwhile; some of it twice, where it did.
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
    ) -> Result<Listing, Error> {
        let mut paging = Paging::new(page_size, from);
        let mut oldest: Option<DateTime<Utc>> = None;
        loop {
            let Observed { value, began } = self.page(ctx, campaign, paging.next()).await?;
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
    ) -> Result<Observed<Page>, Error> {
        self.client.list_messages(ctx, campaign, slice).await
    }
}

#[cfg(test)]
mod tests;
