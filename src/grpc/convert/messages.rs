//! Requests about messages.

use super::fields::{campaign_id, duration, message_id, not_negative, statuses};
use crate::{
    error::{Error, Violation},
    model::{CampaignId, MessageId, StatusSet},
    pb,
};

const DEFAULT_PAGE_SIZE: u32 = 50;
const MAX_PAGE_SIZE: u32 = 1_000;

/// The contract's `ListMessagesRequest`, checked but for its token, which only its key can open.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRequest {
    /// Whose messages.
    pub campaign: CampaignId,
    /// How many to return at most: 1 to 1,000.
    pub page_size: u32,
    /// Where to go on; empty: from the first page.
    pub page_token: String,
    /// Which messages to keep.
    pub statuses: StatusSet,
}

/// A `GetMessage`. (`max_staleness` is checked only: the cache comes later, and until then every answer is
/// fresh.)
pub fn get_message(request: pb::GetMessageRequest) -> Result<(CampaignId, MessageId), Error> {
    let mut wrong = Vec::new();
    duration("max_staleness", request.max_staleness, &mut wrong);
    ids(request.campaign_id, request.message_id, wrong)
}

/// A `CancelMessage`.
pub fn cancel_message(request: pb::CancelMessageRequest) -> Result<(CampaignId, MessageId), Error> {
    ids(request.campaign_id, request.message_id, Vec::new())
}

/// A `ListMessages`.
pub fn list_messages(request: pb::ListMessagesRequest) -> Result<ListRequest, Error> {
    let mut wrong = Vec::new();
    let campaign = campaign_id(request.campaign_id, &mut wrong);
    let page_size = page_size(request.page_size, &mut wrong);
    let statuses = statuses(&request.statuses, &mut wrong);
    duration("max_staleness", request.max_staleness, &mut wrong);
    match (campaign, page_size) {
        (Some(campaign), Some(page_size)) if wrong.is_empty() => {
            Ok(ListRequest { campaign, page_size, page_token: request.page_token, statuses })
        }
        _ => Err(Error::invalid(wrong)),
    }
}

fn ids(
    campaign: String,
    message: String,
    mut wrong: Vec<Violation>,
) -> Result<(CampaignId, MessageId), Error> {
    let campaign = campaign_id(campaign, &mut wrong);
    let message = message_id("message_id", message, &mut wrong);
    match (campaign, message) {
        (Some(campaign), Some(message)) if wrong.is_empty() => Ok((campaign, message)),
        _ => Err(Error::invalid(wrong)),
    }
}

pub(super) fn page_size(size: i32, wrong: &mut Vec<Violation>) -> Option<u32> {
    not_negative("page_size", size, wrong).map(|size: u32| match size {
        0 => DEFAULT_PAGE_SIZE,
        size => size.min(MAX_PAGE_SIZE),
    })
}
