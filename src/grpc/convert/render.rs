//! The domain's types to the contract's.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pb::watch_messages_response::Event;
use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::{
    campaigns::{
        cancel::{self, Told},
        messages::Listing,
    },
    error::{Error, Fact},
    grpc::{
        bounds::{MAX_MESSAGE_BYTES, MAX_PART_BYTES, MAX_PARTS, cut, cut_owned, fitting},
        status::{entry, retry_delay, told_reason},
    },
    ledger::IngestionPage,
    model::{
        AddedItem, CampaignId, Counts, Disposition, Ingested, IngestionState, ItemResult, JsonObject,
        Message, MessageChange, Observed, ResolvedSchedule, Status, Summary, WatchEvent, WatchUpdate,
    },
    pb,
};

/// The most levels of an upstream object that are told as such. Every level takes three of protobuf's, and
/// common decoders refuse a message with more than 100 of them: one odd field must not make a whole page
/// unreadable. What lies deeper is told as its JSON text.
const MAX_LEVELS: usize = 16;

/// The longest text of a failure or violation where there are too many of them, in bytes.
const MAX_SHORT_BYTES: usize = 120;

/// A message of a campaign.
pub fn message(campaign: &CampaignId, message: Message) -> pb::CampaignMessage {
    pb::CampaignMessage {
        campaign_id: campaign.as_str().to_owned(),
        message_id: message.id.as_str().to_owned(),
        contact_id: message.contact_id.unwrap_or_default(),
        status: status(message.status).into(),
        upstream_status: message.upstream_status,
        schedule: message.schedule.map(schedule),
        create_time: message.create_time.map(timestamp),
        update_time: message.update_time.map(timestamp),
        sent_time: message.sent_time.map(timestamp),
        failed_time: message.failed_time.map(timestamp),
        failure_reason: message.failure_reason.unwrap_or_default(),
        // Unset rather than empty: most messages have none.
        upstream_fields: (!message.upstream_fields.is_empty()).then(|| object(message.upstream_fields)),
    }
}

/// A message's status.
pub fn status(status: Status) -> pb::MessageStatus {
    match status {
        Status::Unknown => pb::MessageStatus::Unspecified,
        Status::Pending => pb::MessageStatus::Pending,
        Status::Queued => pb::MessageStatus::Queued,
        Status::Sending => pb::MessageStatus::Sending,
        Status::Sent => pb::MessageStatus::Sent,
        Status::Failed => pb::MessageStatus::Failed,
        Status::Cancelled => pb::MessageStatus::Cancelled,
    }
}

/// When the upstream says that it will send.
pub fn schedule(schedule: ResolvedSchedule) -> pb::ResolvedSchedule {
    pb::ResolvedSchedule {
        time: schedule.time.map(timestamp),
        local_datetime: schedule.local_datetime,
        time_zone: schedule.time_zone,
        expected_time: schedule.expected_time.map(timestamp),
    }
}

/// What became of one item.
pub fn item_result(result: ItemResult) -> pb::AudienceItemResult {
    use pb::Disposition as P;
    let (disposition, added, failed) = match result.disposition {
        Disposition::Added(item) => (P::Added, Some(added(Arc::unwrap_or_clone(item))), None),
        Disposition::Invalid(error) => (P::Invalid, None, Some(failure(&error))),
        Disposition::Rejected(error) => (P::Rejected, None, Some(failure(&error))),
        Disposition::NotAttempted(error) => (P::NotAttempted, None, Some(failure(&error))),
        Disposition::InDoubt(error) => (P::InDoubt, None, Some(failure(&error))),
        Disposition::Pending => (P::Pending, None, None),
        Disposition::Valid => (P::Valid, None, None),
    };
    pb::AudienceItemResult {
        index: count(result.index),
        item_id: result.item_id,
        disposition: disposition.into(),
        added,
        failure: failed,
        replayed: result.replayed,
    }
}

fn added(item: AddedItem) -> pb::AddedMessage {
    pb::AddedMessage {
        message_id: item.message_id.as_str().to_owned(),
        contact_id: item.contact_id,
        schedule: item.schedule.map(schedule),
    }
}

/// How many items met which end.
pub fn summary(summary: Summary) -> pb::AudienceSummary {
    pb::AudienceSummary {
        received: count(summary.received),
        added: count(summary.added),
        invalid: count(summary.invalid),
        rejected: count(summary.rejected),
        not_attempted: count(summary.not_attempted),
        in_doubt: count(summary.in_doubt),
        pending: count(summary.pending),
        valid: count(summary.valid),
        replayed: count(summary.replayed),
    }
}

/// The end of an ingestion.
pub fn ingested(ingested: Ingested) -> pb::AddAudienceResponse {
    let mut results: Vec<_> = ingested.results.into_iter().map(item_result).collect();
    if fitting(&results) < results.len() {
        results.iter_mut().for_each(shorten);
    }
    pb::AddAudienceResponse {
        request_id: ingested.request_id.as_str().to_owned(),
        summary: Some(summary(ingested.summary)),
        results,
        termination: ingested.termination.as_ref().map(failure),
    }
}

/// Where thousands of items fail at length, one answer to all of them could be more than a client takes:
/// then each says less. (What is cut was told of the first fields; mending those shows the rest.)
fn shorten(result: &mut pb::AudienceItemResult) {
    if let Some(failure) = &mut result.failure {
        failure.message = cut_owned(std::mem::take(&mut failure.message), MAX_SHORT_BYTES);
        failure.field_violations.truncate(2);
        for violation in &mut failure.field_violations {
            violation.message = cut_owned(std::mem::take(&mut violation.message), MAX_SHORT_BYTES);
        }
    }
}

/// A page of an ingestion's results, as many as one answer holds; `token` makes one of the next index.
pub fn ingestion(page: IngestionPage, token: impl FnOnce(u64) -> String) -> pb::GetIngestionResponse {
    let mut results: Vec<_> = page.results.into_iter().map(item_result).collect();
    let left_out = results.split_off(fitting(&results));
    let next = left_out.first().and_then(|result| u64::try_from(result.index).ok()).or(page.next);
    pb::GetIngestionResponse {
        state: match page.state {
            IngestionState::Running => pb::IngestionState::Running,
            IngestionState::Ended => pb::IngestionState::Ended,
            IngestionState::Interrupted => pb::IngestionState::Interrupted,
        }
        .into(),
        summary: Some(summary(page.summary)),
        results,
        next_page_token: next.map(token).unwrap_or_default(),
        expire_time: Some(timestamp(page.expire_time)),
    }
}

/// A page of messages.
pub fn listing(campaign: &CampaignId, listing: Listing, next_page_token: String) -> pb::ListMessagesResponse {
    pb::ListMessagesResponse {
        messages: listing.messages.into_iter().map(|m| message(campaign, m)).collect(),
        next_page_token,
        observe_time: Some(timestamp(listing.observe_time)),
        total_size: listing.total.and_then(|total| i64::try_from(total).ok()),
    }
}

/// How many messages are in which status.
pub fn counts(counts: Observed<Counts>) -> pb::CountMessagesResponse {
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    let by_status = counts
        .value
        .occurring()
        .map(|(of, count)| pb::StatusCount { status: status(of).into(), count: number(count) });
    pb::CountMessagesResponse {
        counts: by_status.collect(),
        total: number(counts.value.total()),
        observe_time: Some(timestamp(counts.began)),
    }
}

/// What became of one of many messages.
pub fn cancel_result(told: Told) -> pb::CancelResult {
    pb::CancelResult {
        message_id: told.id.as_str().to_owned(),
        status: status(told.status).into(),
        failure: told.failure.as_ref().map(failure),
    }
}

/// What became of how many messages.
pub fn cancel_summary(summary: cancel::Summary) -> pb::CancelSummary {
    pb::CancelSummary {
        cancelled: count(summary.cancelled),
        already_cancelled: count(summary.already_cancelled),
        not_cancellable: count(summary.not_cancellable),
        not_found: count(summary.not_found),
        failed: count(summary.failed),
        unknown: count(summary.unknown),
    }
}

/// An error as a value inside an answer, with the same facts, and the same bounds, as in a status.
pub fn failure(error: &Error) -> pb::Failure {
    let entry = entry(told_reason(error));
    let fact = |(key, value): &Fact| (key.clone().into_owned(), cut(value, MAX_PART_BYTES).to_owned());
    let violations = error.violations().iter().take(MAX_PARTS);
    pb::Failure {
        reason: entry.proto.into(),
        code: entry.code.into(),
        message: cut(error.message(), MAX_MESSAGE_BYTES).to_owned(),
        field_violations: violations
            .map(|violation| pb::FieldViolation {
                field: cut(&violation.field, MAX_PART_BYTES).to_owned(),
                reason: self::entry(violation.reason).proto.into(),
                message: cut(&violation.message, MAX_PART_BYTES).to_owned(),
            })
            .collect(),
        metadata: error.metadata().iter().take(MAX_PARTS).map(fact).collect(),
        retry_delay: retry_delay(error).map(duration),
    }
}

/// One thing told to a watcher, and the token of the place after it.
pub fn watch_update(
    campaign: &CampaignId,
    update: WatchUpdate,
    resume_token: String,
) -> pb::WatchMessagesResponse {
    let event = match update.event {
        WatchEvent::Changes(changes) => {
            let changes = changes.into_iter().map(|change| message_change(campaign, change)).collect();
            Event::Changes(pb::MessageChanges { changes })
        }
        WatchEvent::SnapshotComplete { message_count } => {
            Event::SnapshotComplete(pb::SnapshotComplete { message_count: count(message_count) })
        }
        WatchEvent::Heartbeat { last_poll_time, poll_interval, failure } => Event::Heartbeat(pb::Heartbeat {
            last_poll_time: last_poll_time.map(timestamp),
            poll_interval: Some(duration(poll_interval)),
            upstream_failure: failure.as_ref().map(self::failure),
        }),
        WatchEvent::Reset => Event::WatchReset(pb::WatchReset {}),
    };
    pb::WatchMessagesResponse {
        resume_token,
        observe_time: Some(timestamp(update.observe_time)),
        event: Some(event),
    }
}

fn message_change(campaign: &CampaignId, change: MessageChange) -> pb::MessageChange {
    pb::MessageChange {
        // The last watcher takes it, the others copy it.
        message: Some(message(campaign, Arc::unwrap_or_clone(change.message))),
        previous_status: change.previous.map_or(pb::MessageStatus::Unspecified, status).into(),
        removed: change.removed,
    }
}

/// An instant, held within protobuf's range (years 1 to 9999), which a decoder may check.
pub fn timestamp(instant: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: instant.timestamp().clamp(-62_135_596_800, 253_402_300_799),
        // chrono writes a leap second as a second's second billion of nanoseconds.
        nanos: instant.timestamp_subsec_nanos().min(999_999_999).cast_signed(),
    }
}

/// A duration, held within protobuf's range.
pub fn duration(duration: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: count(duration.as_secs()).min(315_576_000_000),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}

/// A JSON object.
pub fn object(fields: JsonObject) -> Struct {
    object_within(fields, MAX_LEVELS)
}

fn object_within(fields: JsonObject, levels: usize) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, json)| (key, value(json, levels - 1))).collect() }
}

fn value(json: serde_json::Value, levels: usize) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(prost_types::NullValue::NullValue.into()),
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::String(text) => Kind::StringValue(text),
        Json::Number(number) => double(&number),
        deep @ (Json::Array(_) | Json::Object(_)) if levels == 0 => Kind::StringValue(deep.to_string()),
        Json::Array(list) => Kind::ListValue(ListValue {
            values: list.into_iter().map(|json| value(json, levels - 1)).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(object_within(fields, levels)),
    };
    Value { kind: Some(kind) }
}

/// A number, or its digits as text where a double would change them (a long id, say).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "what does not survive is text"
)]
fn double(number: &serde_json::Number) -> Kind {
    let double = match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => Some(whole as f64).filter(|double| *double as i128 == i128::from(whole)),
        (None, Some(whole)) => Some(whole as f64).filter(|double| *double as u128 == u128::from(whole)),
        (None, None) => number.as_f64(),
    };
    double.map_or_else(|| Kind::StringValue(number.to_string()), Kind::NumberValue)
}

/// The contract's numbers are signed; no count comes near the difference.
pub fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
