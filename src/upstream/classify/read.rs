//! From evidence to the body of a read, or to why there is none. A read changes nothing, so each of its
//! errors is `Applied::No`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;

use super::{campaign_not_found, transient};
use crate::{
    error::{Error, Reason},
    upstream::{
        evidence::{Body, Broken, Evidence},
        reasons::refusal,
        request::Operation,
    },
};

/// The body of the answer to a read.
pub(in crate::upstream) fn read(
    evidence: &Evidence,
    operation: &Operation,
    now: DateTime<Utc>,
) -> Result<Bytes, Error> {
    let (status, body) = match evidence {
        Evidence::NotSent { .. } | Evidence::Broken { .. } => return Err(transient(evidence, now)),
        Evidence::Answered { status, body, .. } => (*status, body),
    };
    match status.as_u16() {
        200..=299 => match body {
            Body::Complete(bytes) => Ok(bytes.clone()),
            Body::Truncated => Err(transient(&Evidence::Broken { why: Broken::Connection }, now)),
            Body::OverCap => Err(invalid("it is larger than this server reads")),
        },
        408 | 421 | 425 | 429 | 500..=599 => Err(transient(evidence, now)),
        404 => Err(not_found(status, body, operation)),
        400..=499 => Err(refusal(status, body).error),
        300..=399 => Err(invalid("it is a redirect, which is never followed")),
        other => Err(invalid(&format!("its status is {other}"))),
    }
}

/// An answer that could not be understood.
pub(in crate::upstream) fn invalid(why: &str) -> Error {
    Error::new(Reason::UpstreamResponseInvalid, format!("the upstream's answer cannot be understood: {why}"))
}

fn not_found(status: StatusCode, body: &Body, operation: &Operation) -> Error {
    match operation {
        Operation::ListMessages | Operation::AddAudience(_) => campaign_not_found(status, body),
        Operation::GetMessage | Operation::CancelMessage(_) => message_not_found(status, body),
    }
}

/// A 404 where a message can be missing, and its campaign too.
pub(super) fn message_not_found(status: StatusCode, body: &Body) -> Error {
    let error = refusal(status, body).error;
    match error.reason() {
        Reason::CampaignNotFound => error,
        _ => Error::new(Reason::MessageNotFound, "no such message in this campaign"),
    }
}
