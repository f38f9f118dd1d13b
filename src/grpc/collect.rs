//! Reads a whole AddAudience stream. Nothing is sent upstream before its end: a stream that breaks off has
//! messaged nobody.

use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tonic::Status;

use super::{convert::parse, rescue};
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
}

/// Reads to the caller's half-close and checks all of it.
pub(super) async fn collect(
    stream: impl Stream<Item = Result<pb::AddAudienceRequest, Status>>,
) -> Result<Asked, Error> {
    let mut stream = std::pin::pin!(stream);
    let Some(first) = stream.next().await else {
        return Err(Error::invalid(vec![
            Violation::new("campaign_id", Reason::FieldInvalid, "the stream is empty: its first message names the campaign"),
            Violation::new("items", Reason::FieldInvalid, "at least one item is required"),
        ]));
    };
    let first = first.map_err(rescue::from_tonic)?;
    let mut violations = Vec::new();
    let campaign = parse::campaign_id(first.campaign_id, &mut violations);
    let options = parse::options(first.options.as_ref()).map_err(|more| violations.extend(more));
    let (Some(campaign), Ok(options)) = (campaign, options) else {
        return Err(Error::invalid(violations));
    };
    let mut asked = Asked { campaign, options, entries: Vec::with_capacity(first.items.len()) };
    let mut bytes = 0;
    asked.take(first.items, &mut bytes)?;
    while let Some(message) = stream.next().await {
        let message = message.map_err(rescue::from_tonic)?;
        asked.check_head(&message.campaign_id, message.options.as_ref(), first.options.as_ref())?;
        asked.take(message.items, &mut bytes)?;
    }
    Ok(asked)
}

impl Asked {
    fn take(&mut self, items: Vec<pb::AudienceItem>, bytes: &mut usize) -> Result<(), Error> {
        *bytes += items.iter().map(pb::AudienceItem::encoded_len).sum::<usize>();
        if self.entries.len() + items.len() > MAX_ITEMS || *bytes > MAX_BYTES {
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
            let message = "a later message names another campaign than the first: one stream adds to one campaign";
            violations.push(Violation::new("campaign_id", Reason::FieldInvalid, message));
        }
        if options.is_some() && options != first {
            let message = "a later message changes the options: leave them out, or repeat the first message's";
            violations.push(Violation::new("options", Reason::FieldInvalid, message));
        }
        if violations.is_empty() { Ok(()) } else { Err(Error::invalid(violations)) }
    }
}
