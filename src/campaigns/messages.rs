//! Reading messages: one, or page by page.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use ring::digest;

use crate::{
    campaigns::cache::Cache,
    context::Context,
    error::{Error, Reason},
    model::{CampaignId, Message, MessageId, Observed, Page, Slice, StatusSet},
    upstream,
};

/// A page's messages weigh at most about this many bytes: well below the 4 MiB that gRPC clients accept.
const MAX_PAGE_BYTES: usize = 2 << 20;

/// So many of a page's last ids are remembered, to know the page again.
const REMEMBERED_IDS: usize = 8;

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Entries before it.
    pub offset: u64,
    /// A digest of the last ids before it.
    pub last: [u8; 8],
}

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

    /// One page of a campaign's messages, as old at most as [`Messages::get`]'s.
    ///
    /// # Errors
    /// `CampaignNotFound`; `UpstreamResponseInvalid` where the upstream ignores the offset, so that paging
    /// would never end; and what a failed read brings.
    pub async fn list(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        page_size: u32,
        from: Option<Position>,
        statuses: StatusSet,
        max_staleness: Option<Duration>,
    ) -> Result<Listing, Error> {
        let mut offset = from.map_or(0, |position| position.offset);
        let Observed { value: mut page, began } =
            self.page(ctx, campaign, Slice { offset, limit: page_size }, max_staleness).await?;
        if from.is_some_and(|position| repeats(&page, page_size, position)) {
            // Either as many messages came in front as a page holds, or the offset counts for nothing.
            // One look further tells: a shifted list goes on there.
            offset += fitting(&page, page_size) as u64;
            let next = Slice { offset, limit: page_size };
            page = self.page(ctx, campaign, next, max_staleness).await?.value;
            if from.is_some_and(|position| repeats(&page, page_size, position)) {
                return Err(Error::new(
                    Reason::UpstreamResponseInvalid,
                    "the upstream sent the same page for another offset: its list cannot be read page by page",
                ));
            }
        }
        Ok(listing(page, offset, page_size, statuses, began))
    }
}

/// Takes from a page what fits one answer, and says where the next one begins.
fn listing(
    page: Page,
    offset: u64,
    page_size: u32,
    statuses: StatusSet,
    observe_time: DateTime<Utc>,
) -> Listing {
    let received = page.entries.len();
    let taken = fitting(&page, page_size);
    let reached = offset + taken as u64;
    // A short page proves nothing (the upstream may cap `limit`); an empty one or a reached total does.
    let is_last = received == 0 || (taken == received && page.total.is_some_and(|total| reached >= total));
    let next = (!is_last).then(|| Position { offset: reached, last: tail(&page, taken) });
    let kept = |message: &Message| statuses.keeps(message.status);
    Listing {
        messages: page.entries.into_iter().take(taken).flatten().filter(kept).collect(),
        next,
        observe_time,
        total: page.total,
    }
}

/// How many entries make the answer: no more than were asked for (the upstream may ignore `limit`), and
/// no more than a gRPC message holds.
fn fitting(page: &Page, page_size: u32) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for entry in page.entries.iter().take(page_size as usize) {
        bytes += entry.as_ref().map_or(0, Message::weight);
        if bytes > MAX_PAGE_BYTES && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

/// Whether what this page would tell ends as the one before this position did. One without any id tells
/// nothing, and so repeats nothing.
fn repeats(page: &Page, page_size: u32, position: Position) -> bool {
    let taken = fitting(page, page_size);
    page.entries[..taken].iter().any(Option::is_some) && tail(page, taken) == position.last
}

/// A digest of the last ids among the first `taken` entries.
fn tail(page: &Page, taken: usize) -> [u8; 8] {
    let mut context = digest::Context::new(&digest::SHA256);
    for message in page.entries[..taken].iter().rev().flatten().take(REMEMBERED_IDS) {
        // The separator cannot stand in UTF-8, so no two lists of ids run together.
        context.update(message.id.as_str().as_bytes());
        context.update(&[0xff]);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    first
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{MessageId, Status};

    fn message(n: usize) -> Message {
        let status = Status::ALL[1 + n % 6];
        Message::bare(MessageId::parse(format!("m{n}")).unwrap(), status)
    }

    /// An upstream that caps `limit`, may leave the total out, and holds entries without an id.
    fn serve(list: &[Option<Message>], slice: Slice, cap: usize, total: bool) -> Page {
        let from = (slice.offset as usize).min(list.len());
        let to = (from + (slice.limit as usize).min(cap)).min(list.len());
        Page { entries: list[from..to].to_vec(), total: total.then_some(list.len() as u64) }
    }

    proptest! {
        #[test]
        fn paging_a_list_at_rest_neither_loses_nor_repeats_whatever_the_upstream_caps(
            count in 0_usize..400, page_size in 1_u32..120, cap in 1_usize..60, total: bool,
            without_id in prop::collection::hash_set(0_usize..400, 0..5),
            filter in prop::option::of(1_usize..7),
        ) {
            let list: Vec<_> = (0..count).map(|n| (!without_id.contains(&n)).then(|| message(n))).collect();
            let statuses: StatusSet = filter.map(|n| Status::ALL[n]).into_iter().collect();
            let (mut seen, mut from, mut pages) = (Vec::new(), None::<Position>, 0);
            loop {
                let offset = from.map_or(0, |p| p.offset);
                let page = serve(&list, Slice { offset, limit: page_size }, cap, total);
                if let Some(position) = from {
                    prop_assert!(!repeats(&page, page_size, position));
                }
                let listing = listing(page, offset, page_size, statuses, DateTime::UNIX_EPOCH);
                prop_assert!(listing.messages.len() <= page_size as usize);
                seen.extend(listing.messages);
                pages += 1;
                prop_assert!(pages <= count + 2);
                from = listing.next;
                if from.is_none() { break }
            }
            let wanted: Vec<_> =
                list.into_iter().flatten().filter(|m| statuses.keeps(m.status)).collect();
            prop_assert_eq!(seen, wanted);
        }
    }

    #[test]
    fn an_upstream_that_ignores_limit_and_offset_is_known_again_by_the_page_that_it_repeats() {
        let page = || Page { entries: (0..10).map(|n| Some(message(n))).collect(), total: Some(10) };
        let next = listing(page(), 0, 4, StatusSet::default(), DateTime::UNIX_EPOCH).next.unwrap();
        assert!(repeats(&page(), 4, next), "paging it would never end");
    }

    #[test]
    fn pages_that_end_in_entries_without_an_id_are_not_taken_for_one_another() {
        let page = |n| {
            let entries = std::iter::once(Some(message(n))).chain(std::iter::repeat_n(None, REMEMBERED_IDS));
            Page { entries: entries.collect(), total: None }
        };
        let next = listing(page(0), 0, 50, StatusSet::default(), DateTime::UNIX_EPOCH).next.unwrap();
        assert!(!repeats(&page(1), 50, next), "its message would be lost");
        assert!(repeats(&page(0), 50, next));
    }

    #[test]
    fn a_page_that_ignores_the_limit_is_cut_to_what_was_asked_for() {
        let page = Page { entries: (0..10).map(|n| Some(message(n))).collect(), total: Some(10) };
        let listing = listing(page, 0, 4, StatusSet::default(), DateTime::UNIX_EPOCH);
        assert_eq!(listing.messages.len(), 4);
        assert_eq!(listing.next.unwrap().offset, 4);
    }

    #[test]
    fn an_answer_stays_below_what_a_grpc_client_accepts() {
        let heavy = |n| Some(Message { failure_reason: Some("x".repeat(100_000)), ..message(n) });
        let page = Page { entries: (0..100).map(heavy).collect(), total: Some(100) };
        let listing = listing(page, 0, 1_000, StatusSet::default(), DateTime::UNIX_EPOCH);
        assert!((10..30).contains(&listing.messages.len()), "{}", listing.messages.len());
        assert_eq!(listing.next.unwrap().offset, listing.messages.len() as u64);
    }
}
