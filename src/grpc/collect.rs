//! Reads a whole AddAudience stream. Nothing is sent upstream before its end: a stream that breaks off has
//! messaged nobody.

use prost::Message as _;
use tonic::Streaming;

use super::{
    convert::parse,
    rescue::{StreamFault, receive},
};
use crate::{
    campaigns::audience::Entry,
    error::{Error, Reason, Violation},
    model::{CampaignId, IngestionOptions},
    pb,
};

/// The most items that one AddAudience answers for.
pub const MAX_ITEMS: usize = 5_000;

/// The most bytes of items in one AddAudience.
pub const MAX_BYTES: usize = 16 << 20;

/// What a stream asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) campaign: CampaignId,
    pub(super) options: IngestionOptions,
    pub(super) entries: Vec<Entry>,
    bytes: usize,
}

/// Reads to the caller's half-close and checks all of it.
pub(super) async fn collect(mut stream: Streaming<pb::AddAudienceRequest>) -> Result<Asked, StreamFault> {
    let Some(first) = receive(&mut stream).await? else {
        let empty =
            "the stream is empty: its first message names the campaign, and at least one item is required";
        return Err(StreamFault::Invalid(Error::invalid(vec![
            Violation::new("campaign_id", Reason::FieldInvalid, empty),
            Violation::new("items", Reason::FieldInvalid, empty),
        ])));
    };
    let mut asked = Asked::begin(first.campaign_id, first.options.clone()).map_err(StreamFault::Invalid)?;
    asked.take(first.items).map_err(StreamFault::Invalid)?;
    while let Some(message) = receive(&mut stream).await? {
        asked
            .check_head(&message.campaign_id, message.options.as_ref(), first.options.as_ref())
            .and_then(|()| asked.take(message.items))
            .map_err(StreamFault::Invalid)?;
    }
    Ok(asked)
}

impl Asked {
    fn begin(campaign: String, options: Option<pb::AudienceOptions>) -> Result<Self, Error> {
        let mut violations = Vec::new();
        let campaign = parse::campaign_id(campaign, &mut violations);
        let options = parse::options(options).map_err(|more| violations.extend(more));
        match (campaign, options) {
            (Some(campaign), Ok(options)) => Ok(Self { campaign, options, entries: Vec::new(), bytes: 0 }),
            _ => Err(Error::invalid(violations)),
        }
    }

    fn take(&mut self, items: Vec<pb::AudienceItem>) -> Result<(), Error> {
        self.bytes += items.iter().map(pb::AudienceItem::encoded_len).sum::<usize>();
        if self.entries.len() + items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            return Err(Error::new(
                Reason::TooManyItems,
                "one AddAudience takes at most 5,000 items and 16 MiB; nothing was sent",
            )
            .with("max_items", MAX_ITEMS.to_string()));
        }
        self.entries.extend(items.into_iter().map(|item| {
            let (item_id, item) = parse::item(item, &self.options);
            Entry { item_id, item }
        }));
        Ok(())
    }

    /// A later message leaves campaign and options out, or repeats them.
    fn check_head(
        &self,
        campaign: &str,
        options: Option<&pb::AudienceOptions>,
        first: Option<&pb::AudienceOptions>,
    ) -> Result<(), Error> {
        let mut violations = Vec::new();
        if !campaign.is_empty() && campaign != self.campaign.as_str() {
            let message =
                "a later message names another campaign than the first: one stream adds to one campaign";
            violations.push(Violation::new("campaign_id", Reason::FieldInvalid, message));
        }
        if options.is_some() && options != first {
            let message =
                "a later message changes the options: leave them out, or repeat the first message's";
            violations.push(Violation::new("options", Reason::FieldInvalid, message));
        }
        if violations.is_empty() { Ok(()) } else { Err(Error::invalid(violations)) }
    }
}
