//! Requests about messages.

use std::{collections::HashSet, time::Duration};

use super::fields::{campaign_id, duration, invalid, message_id, not_negative, statuses};
use crate::{
    campaigns::cancel::{Many, Which},
    error::{Error, Violation},
    model::{CampaignId, MessageId, StatusSet},
    pb,
};

const DEFAULT_PAGE_SIZE: u32 = 50;
const MAX_PAGE_SIZE: u32 = 1_000;

/// The most messages that one call names to be cancelled.
const MAX_CANCELS: usize = 10_000;

/// The most ids whose faults are told: a list of a million of them is one mistake.
const MAX_TOLD_IDS: usize = 100;

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
    /// How old the page may be; unset: the server's default.
    pub max_staleness: Option<Duration>,
}

/// The contract's `GetMessageRequest`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct GetRequest {
    /// Whose message.
    pub campaign: CampaignId,
    /// Which.
    pub id: MessageId,
    /// How old the answer may be; unset: the server's default.
    pub max_staleness: Option<Duration>,
}

/// A `GetMessage`.
pub fn get_message(request: pb::GetMessageRequest) -> Result<GetRequest, Error> {
    let mut wrong = Vec::new();
    let max_staleness = duration("max_staleness", request.max_staleness, &mut wrong);
    let (campaign, id) = ids(request.campaign_id, request.message_id, wrong)?;
    Ok(GetRequest { campaign, id, max_staleness })
}

/// A `CancelMessage`.
pub fn cancel_message(request: pb::CancelMessageRequest) -> Result<(CampaignId, MessageId), Error> {
    ids(request.campaign_id, request.message_id, Vec::new())
}

/// A `CancelMessages`. A repeated id counts once.
pub fn cancel_messages(request: pb::CancelMessagesRequest) -> Result<Many, Error> {
    let mut wrong = Vec::new();
    let campaign = campaign_id(request.campaign_id, &mut wrong);
    let named = request.message_ids.len();
    if named > MAX_CANCELS {
        wrong.push(invalid("message_ids", "must be at most 10,000: name the others in further calls"));
    }
    let which = match (named, request.all_queued) {
        (0, true) => Which::AllQueued,
        (0, false) => {
            let text = "name message_ids, or set all_queued: one of the two is required";
            wrong.extend(["message_ids", "all_queued"].map(|field| invalid(field, text)));
            Which::AllQueued
        }
        (_, true) => {
            let text = "message_ids and all_queued exclude each other";
            wrong.extend(["message_ids", "all_queued"].map(|field| invalid(field, text)));
            Which::AllQueued
        }
        (_, false) => Which::Named(distinct(request.message_ids, &mut wrong)),
    };
    match campaign {
        Some(campaign) if wrong.is_empty() => {
            Ok(Many { campaign, which, validate_only: request.validate_only })
        }
        _ => Err(Error::invalid(wrong)),
    }
}

/// The ids as they stand, each where it stands first.
fn distinct(ids: Vec<String>, wrong: &mut Vec<Violation>) -> Vec<MessageId> {
    let (mut known, most_wrong) = (HashSet::new(), wrong.len() + MAX_TOLD_IDS);
    let mut read = |(at, id)| {
        if wrong.len() >= most_wrong {
            return None;
        }
        message_id(&format!("message_ids[{at}]"), id, wrong).filter(|id| known.insert(id.clone()))
    };
    ids.into_iter().take(MAX_CANCELS).enumerate().filter_map(&mut read).collect()
}

/// A `CountMessages`: of which campaign, and how old the answer may be.
pub fn count_messages(request: pb::CountMessagesRequest) -> Result<(CampaignId, Option<Duration>), Error> {
    let mut wrong = Vec::new();
    let campaign = campaign_id(request.campaign_id, &mut wrong);
    let max_staleness = duration("max_staleness", request.max_staleness, &mut wrong);
    match campaign {
        Some(campaign) if wrong.is_empty() => Ok((campaign, max_staleness)),
        _ => Err(Error::invalid(wrong)),
    }
}

/// A `ListMessages`.
pub fn list_messages(request: pb::ListMessagesRequest) -> Result<ListRequest, Error> {
    let mut wrong = Vec::new();
    let campaign = campaign_id(request.campaign_id, &mut wrong);
    let page_size = page_size(request.page_size, &mut wrong);
    let statuses = statuses(&request.statuses, &mut wrong);
    let max_staleness = duration("max_staleness", request.max_staleness, &mut wrong);
    match (campaign, page_size) {
        (Some(campaign), Some(page_size)) if wrong.is_empty() => {
            Ok(ListRequest { campaign, page_size, page_token: request.page_token, statuses, max_staleness })
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
