//! What stands at the head of a stream of items, and holds for all of it.

use super::convert::parse;
use crate::{
    campaigns::audience::Entry,
    error::{Error, Reason, Violation},
    model::{CampaignId, IngestionOptions},
    pb,
};

/// A message of either stream.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) campaign: String,
    pub(super) options: Option<pb::AudienceOptions>,
    pub(super) items: Vec<pb::AudienceItem>,
}

impl From<pb::AddAudienceRequest> for Parts {
    fn from(message: pb::AddAudienceRequest) -> Self {
        Self { campaign: message.campaign_id, options: message.options, items: message.items }
    }
}

impl From<pb::IngestAudienceRequest> for Parts {
    fn from(message: pb::IngestAudienceRequest) -> Self {
        Self { campaign: message.campaign_id, options: message.options, items: message.items }
    }
}

/// The campaign and the options, as the first message gave them.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) campaign: CampaignId,
    pub(super) options: IngestionOptions,
    as_written: Option<pb::AudienceOptions>,
}

impl Head {
    /// Reads the first message; what it has of items comes back.
    pub(super) fn read(first: impl Into<Parts>) -> Result<(Self, Vec<pb::AudienceItem>), Error> {
        let first = first.into();
        let mut violations = Vec::new();
        let campaign = parse::campaign_id(first.campaign, &mut violations);
        let options = parse::options(first.options.clone()).map_err(|more| violations.extend(more));
        match (campaign, options) {
            (Some(campaign), Ok(options)) => {
                Ok((Self { campaign, options, as_written: first.options }, first.items))
            }
            _ => Err(Error::invalid(violations)),
        }
    }

    /// Reads a later message, which leaves campaign and options out or repeats them.
    pub(super) fn check(&self, message: impl Into<Parts>) -> Result<Vec<pb::AudienceItem>, Error> {
        let message = message.into();
        let mut violations = Vec::new();
        if !message.campaign.is_empty() && message.campaign != self.campaign.as_str() {
            let text =
                "a later message names another campaign than the first: one stream adds to one campaign";
            violations.push(Violation::new("campaign_id", Reason::FieldInvalid, text));
        }
        if message.options.is_some() && message.options != self.as_written {
            let text = "a later message changes the options: leave them out, or repeat the first message's";
            violations.push(Violation::new("options", Reason::FieldInvalid, text));
        }
        if violations.is_empty() { Ok(message.items) } else { Err(Error::invalid(violations)) }
    }

    /// Checks items under the options.
    pub(super) fn entries(&self, items: Vec<pb::AudienceItem>) -> Vec<Entry> {
        let entry = |item| {
            let (item_id, item) = parse::item(item, &self.options);
            Entry { item_id, item }
        };
        items.into_iter().map(entry).collect()
    }

    /// The error of a stream without a message.
    pub(super) fn missing() -> Error {
        let empty =
            "the stream is empty: its first message names the campaign, and at least one item is required";
        Error::invalid(vec![
            Violation::new("campaign_id", Reason::FieldInvalid, empty),
            Violation::new("items", Reason::FieldInvalid, empty),
        ])
    }
}
