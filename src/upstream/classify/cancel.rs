//! From evidence to what is known of a cancellation. Its effect is the same however often it is asked
//! for; its answer is not: on anything but proof, the message itself must be asked.

use chrono::{DateTime, Utc};

use super::{doubt, read::message_not_found, transient};
use crate::{
    error::Error,
    model::{Message, MessageId, Status},
    upstream::{
        evidence::{Body, Evidence},
        reasons::refusal,
        wire,
    },
};

/// What the upstream made of a cancellation, where it took the request.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // The large one is the usual one, and nobody keeps many.
pub enum CancelAnswer {
    /// It names the message that was asked for, and says that it is cancelled.
    Proven(Message),
    /// Any other success: only the message itself can tell.
    Unproven,
}

/// What is known of the cancellation of this message. An error with `Applied::No` proves that nothing
/// was done.
pub(in crate::upstream) fn cancel(
    evidence: &Evidence,
    id: &MessageId,
    now: DateTime<Utc>,
) -> Result<CancelAnswer, Error> {
    let (status, body) = match evidence {
        Evidence::NotSent { .. } => return Err(transient(evidence, now)),
        Evidence::Broken { .. } => {
            return Err(doubt("the connection ended before the upstream's answer came".to_owned()));
        }
        Evidence::Answered { status, body, .. } => (*status, body),
    };
    match status.as_u16() {
        200..=299 => Ok(proof(body, id).map_or(CancelAnswer::Unproven, CancelAnswer::Proven)),
        421 | 425 | 429 => Err(transient(evidence, now)),
        404 => Err(message_not_found(status, body)),
        408 | 409 => {
            Err(doubt(format!("the upstream answered {status}, which says nothing about what it did")))
        }
        400..=499 => Err(refusal(status, body).error),
        300..=399 => Err(doubt("the upstream answered with a redirect, which is never followed".to_owned())),
        other => Err(doubt(format!("the upstream answered {other}"))),
    }
}

fn proof(body: &Body, id: &MessageId) -> Option<Message> {
    let Body::Complete(bytes) = body else { return None };
    let message = wire::message(bytes).ok()?;
    (message.id == *id && message.status == Status::Cancelled).then_some(message)
}
