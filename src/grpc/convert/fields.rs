//! Single fields, by rules that hold wherever they stand.

use std::time::Duration;

use crate::{
    error::{Reason, Violation},
    model::{CampaignId, MessageId, Status, StatusSet},
    pb,
};

/// Reads `campaign_id`.
pub fn campaign_id(text: String, wrong: &mut Vec<Violation>) -> Option<CampaignId> {
    CampaignId::parse(text).map_err(|fault| wrong.push(invalid("campaign_id", fault.message()))).ok()
}

/// Reads a message's id that stands at `field`.
pub fn message_id(field: &str, text: String, wrong: &mut Vec<Violation>) -> Option<MessageId> {
    MessageId::parse(text).map_err(|fault| wrong.push(invalid(field, fault.message()))).ok()
}

/// Reads a number that must not be negative.
pub(super) fn not_negative<T: TryInto<U>, U>(
    field: &str,
    number: T,
    wrong: &mut Vec<Violation>,
) -> Option<U> {
    number.try_into().map_err(|_| wrong.push(invalid(field, "must not be negative"))).ok()
}

/// Reads an enum's number.
pub(super) fn known<E: TryFrom<i32>>(field: &str, number: i32, wrong: &mut Vec<Violation>) -> Option<E> {
    E::try_from(number)
        .map_err(|_| wrong.push(invalid(field, "is a number that this version does not know")))
        .ok()
}

/// Reads a filter of statuses.
pub(super) fn statuses(numbers: &[i32], wrong: &mut Vec<Violation>) -> StatusSet {
    // Each one that is unknown is told, but a list of a million of them is one mistake.
    let mut told = 0;
    numbers
        .iter()
        .enumerate()
        .filter_map(|(at, number)| {
            if told == 10 {
                return None;
            }
            let known = known(&format!("statuses[{at}]"), *number, wrong).map(status);
            told += usize::from(known.is_none());
            known
        })
        .collect()
}

fn status(status: pb::MessageStatus) -> Status {
    match status {
        pb::MessageStatus::Unspecified => Status::Unknown,
        pb::MessageStatus::Pending => Status::Pending,
        pb::MessageStatus::Queued => Status::Queued,
        pb::MessageStatus::Sending => Status::Sending,
        pb::MessageStatus::Sent => Status::Sent,
        pb::MessageStatus::Failed => Status::Failed,
        pb::MessageStatus::Cancelled => Status::Cancelled,
    }
}

/// Reads a duration that must not be negative.
pub(super) fn duration(
    field: &str,
    duration: Option<prost_types::Duration>,
    wrong: &mut Vec<Violation>,
) -> Option<Duration> {
    let prost_types::Duration { seconds, nanos } = duration?;
    // protobuf's own bounds: 10,000 years, and a fraction of the same sign.
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds @ ..=315_576_000_000), Ok(nanos @ ..=999_999_999)) => Some(Duration::new(seconds, nanos)),
        _ => {
            wrong.push(invalid(field, "must be a duration of protobuf's range and not negative"));
            None
        }
    }
}

/// A plain violation.
pub(super) fn invalid(field: impl Into<String>, message: &'static str) -> Violation {
    Violation::new(field, Reason::FieldInvalid, message)
}

/// A text that is left out where empty, and has at most `max` bytes.
pub(super) fn at_most(
    field: &str,
    text: String,
    max: usize,
    rule: &'static str,
    wrong: &mut Vec<Violation>,
) -> Option<String> {
    if text.len() > max {
        wrong.push(invalid(field, rule));
    }
    (!text.is_empty() && text.len() <= max).then_some(text)
}
