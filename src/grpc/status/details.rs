//! An error as a `tonic::Status` in google.rpc's form.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::{Entry, code_name, entry};
use crate::{
    error::{Applied, Error, Reason},
    grpc::bounds::{MAX_DETAILS_BYTES, MAX_MESSAGE_BYTES, MAX_PART_BYTES, MAX_PARTS, cut},
};

/// The domain of every `google.rpc.ErrorInfo` of this service.
pub const DOMAIN: &str = "campaigns.blubash.io";

/// An automatic retry by a client library or mesh stops where it sees this with a negative value.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What ErrorInfo's facts may take of the details, in bytes, so that the field violations have room too.
const MAX_FACTS_BYTES: usize = 1024;

/// The status of a call that failed as a whole. This is where a failure is logged, once; the caller of
/// this function logs nothing.
pub fn status(error: &Error) -> Status {
    let entry = entry(told_reason(error));
    log(error, &entry);

    let mut details = ErrorDetails::with_error_info(entry.name(), DOMAIN, facts(error));
    if let Some(delay) = retry_delay(error) {
        details.set_retry_info(Some(delay));
    }
    let message = cut(error.message(), MAX_MESSAGE_BYTES);
    match entry.code {
        Code::FailedPrecondition => {
            details.add_precondition_failure_violation(entry.name(), subject(error), message);
        }
        Code::NotFound => {
            let (kind, name) = resource(error);
            details.set_resource_info(kind, cut(name, MAX_PART_BYTES), "", entry.means);
        }
        _ => {}
    }

    let left_out = add_violations(&mut details, entry.code, message, error);
    let message = match left_out {
        0 => Cow::Borrowed(message),
        n => Cow::Owned(format!("{}; {n} more are not shown", cut(message, MAX_MESSAGE_BYTES - 64))),
    };

    let mut metadata = MetadataMap::new();
    if error.applied() == Applied::Maybe {
        metadata.insert(PUSHBACK, MetadataValue::from_static("-1"));
    }
    Status::with_error_details_and_metadata(entry.code, message, details, metadata)
}

/// The reason to tell. UNAVAILABLE is a promise that nothing was changed upstream, and this is the last
/// door: an error that cannot keep it is told as OUTCOME_UNKNOWN.
pub fn told_reason(error: &Error) -> Reason {
    let reason = error.reason();
    if error.applied() == Applied::Maybe && entry(reason).code == Code::Unavailable {
        return Reason::OutcomeUnknown;
    }
    reason
}

/// The wait to tell, where waiting may help.
pub fn retry_delay(error: &Error) -> Option<Duration> {
    match error.applied() {
        Applied::No => error.retry_delay().or(entry(error.reason()).wait),
        // A client that obeys RetryInfo would repeat a write that may have taken effect.
        Applied::Maybe => None,
    }
}

fn facts(error: &Error) -> HashMap<String, String> {
    let mut room = MAX_FACTS_BYTES;
    let mut facts = HashMap::new();
    for (key, value) in error.metadata().iter().take(MAX_PARTS) {
        let value = cut(value, MAX_PART_BYTES);
        let size = key.len() + value.len() + 8;
        if size > room {
            break;
        }
        room -= size;
        facts.insert(key.clone().into_owned(), value.to_owned());
    }
    facts
}

/// Adds as many violations as fit, and tells how many did not.
fn add_violations(details: &mut ErrorDetails, code: Code, message: &str, error: &Error) -> usize {
    if error.violations().is_empty() {
        return 0;
    }
    // The details repeat the message; 64 bytes are left for a note on what is left out, 64 for the frame.
    let used = Status::with_error_details(code, message, details.clone()).details().len();
    let mut room = MAX_DETAILS_BYTES.saturating_sub(used + 128);
    let mut shown = Vec::new();
    for violation in error.violations() {
        let field = cut(&violation.field, MAX_PART_BYTES);
        let description = cut(&violation.message, MAX_PART_BYTES);
        let reason = entry(violation.reason).name();
        // A tag and a length of up to two bytes for each of four parts.
        let size = field.len() + description.len() + reason.len() + 12;
        if size > room {
            break;
        }
        room -= size;
        let mut violation = FieldViolation::new(field, description);
        violation.reason = reason.to_owned();
        shown.push(violation);
    }
    let left_out = error.violations().len() - shown.len();
    details.set_bad_request(shown);
    left_out
}

/// Whose state is in the way.
fn subject(error: &Error) -> &'static str {
    match error.reason() {
        Reason::MessageNotCancellable => "message",
        Reason::ContactIdentityConflict | Reason::ContactChannelIdentifierMissing => "contact",
        Reason::UpstreamKeyRefused => "server",
        _ => "campaign",
    }
}

/// What was not found: its kind, and its name where the error knows it.
fn resource(error: &Error) -> (&'static str, &str) {
    let (kind, key) = match error.reason() {
        Reason::MessageNotFound => ("message", "message_id"),
        Reason::IngestionNotFound => ("ingestion", "request_id"),
        _ => ("campaign", "campaign_id"),
    };
    let name = error.metadata().iter().find(|(known, _)| known == key);
    (kind, name.map_or("", |(_, value)| value))
}

/// Only facts of our own making are logged: a message may quote the upstream. A fault of this server is
/// in our own words, and without them nobody can mend it.
fn log(error: &Error, entry: &Entry) {
    let (code, reason, applied) = (code_name(entry.code), entry.name(), error.applied());
    match (error.reason(), entry.code) {
        (Reason::Internal, _) => {
            tracing::error!(code, reason, ?applied, why = error.message(), "a call failed");
        }
        (_, Code::Internal) => tracing::error!(code, reason, ?applied, "a call failed"),
        (_, Code::Unknown | Code::Unavailable) => {
            tracing::info!(code, reason, ?applied, "a call failed");
        }
        // The metrics count them. Where there are thousands a second the log must not be what takes the time.
        (_, Code::DeadlineExceeded | Code::ResourceExhausted) => {
            tracing::debug!(code, reason, ?applied, "a call failed");
        }
        _ => tracing::debug!(code, reason, violations = error.violations().len(), "a call was refused"),
    }
}
