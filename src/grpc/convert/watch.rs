//! A watch's request.

use std::time::Duration;

use super::fields::{campaign_id, duration, invalid, known, message_id, statuses};
use crate::{
    error::Error,
    model::{CampaignId, WatchOptions},
    pb,
};

const MAX_MESSAGE_IDS: usize = 1_000;
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
const MIN_HEARTBEAT: Duration = Duration::from_secs(1);
const MAX_HEARTBEAT: Duration = Duration::from_secs(5 * 60);

/// A `WatchMessages`: what to watch, how, and the resume token, which only its key can open.
pub fn watch(request: pb::WatchMessagesRequest) -> Result<(CampaignId, WatchOptions, String), Error> {
    let wrong = &mut Vec::new();
    let campaign = campaign_id(request.campaign_id, wrong);
    if request.message_ids.len() > MAX_MESSAGE_IDS {
        wrong.push(invalid("message_ids", "must be at most 1,000"));
    }
    let message_ids = request
        .message_ids
        .into_iter()
        .take(MAX_MESSAGE_IDS)
        .enumerate()
        .filter_map(|(at, id)| message_id(&format!("message_ids[{at}]"), id, wrong))
        .collect();
    let statuses = statuses(&request.statuses, wrong);
    let initial_state = known("initial_state", request.initial_state, wrong);
    let heartbeat = duration("heartbeat_interval", request.heartbeat_interval, wrong);
    match campaign {
        Some(campaign) if wrong.is_empty() => {
            let options = WatchOptions {
                message_ids,
                statuses,
                snapshot: match initial_state.unwrap_or_default() {
                    pb::InitialState::Unspecified | pb::InitialState::Snapshot => true,
                    pb::InitialState::Skip => false,
                },
                heartbeat_interval: heartbeat
                    .unwrap_or(DEFAULT_HEARTBEAT)
                    .clamp(MIN_HEARTBEAT, MAX_HEARTBEAT),
                complete_when_terminal: request.complete_when_terminal,
            };
            Ok((campaign, options, request.resume_token))
        }
        _ => Err(Error::invalid(std::mem::take(wrong))),
    }
}
