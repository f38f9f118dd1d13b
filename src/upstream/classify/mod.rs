//! From evidence to outcome: the one place that decides what a failed write means. Pure, and exhaustive;
//! what nobody foresaw is in doubt.

mod added;
mod cancel;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::StatusCode;

use self::added::check_added;
pub use self::cancel::CancelAnswer;
pub(super) use self::{
    cancel::cancel,
    read::{invalid, read},
};
use super::{
    batch::Asked,
    config::Batches,
    evidence::{Body, DEFAULT_RETRY_AFTER, Evidence},
    reasons::{Scope, refusal},
    request::Operation,
};
use crate::{
    error::{Applied, Error, Reason},
    model::AddedItem,
};

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All of it was added; in the items' order.
    Added(Vec<Arc<AddedItem>>),
    /// Proven: nothing was done. The attempts are used up, or another would come too late.
    NotApplied(Error),
    /// Proven: nothing was done, and no other batch would fare better: the key, the plan, the campaign, the route.
    Refused(Error),
    /// Proven: nothing was done; a smaller batch may fare better. For batches of several items only.
    Split {
        /// Why.
        error: Error,
        /// It was the size: what was too large once will be so again. Otherwise one of the items.
        too_large: bool,
    },
    /// Proven: this one item was refused. For batches of one item only.
    Rejected(Error),
    /// Nobody knows.
    InDoubt {
        /// Why; its reason is always [`Reason::OutcomeUnknown`].
        error: Error,
        /// The upstream refused a batch of several, which says nothing about any one of them (the error's
        /// metadata: `upstream_status`, `upstream_reason`). The road to the upstream is fine.
        by_refusal: bool,
    },
}

impl Outcome {
    /// Whether the answer to a repeat under the same idempotency key also says what became of the attempts
    /// before it, where the upstream honours keys. A refusal of the size does not: whatever stands in front
    /// of the upstream may speak it, and knows no keys.
    pub fn settles_its_key(&self) -> bool {
        match self {
            Self::Added(_) => true,
            Self::Rejected(error) => !error
                .metadata()
                .iter()
                .any(|(key, status)| *key == "upstream_status" && matches!(status.as_str(), "413" | "431")),
            Self::NotApplied(_) | Self::Refused(_) | Self::Split { .. } | Self::InDoubt { .. } => false,
        }
    }
}

/// What a layer of this server's own says of a batch that it ended: the error's own word decides.
impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        match error.applied() {
            Applied::No => Self::NotApplied(error),
            Applied::Maybe => Self::InDoubt { error, by_refusal: false },
        }
    }
}

/// What became of a batch that asked for these items, by what one attempt left behind.
pub(super) fn classify(
    evidence: &Evidence,
    asked: &[Asked],
    batches: Batches,
    now: DateTime<Utc>,
) -> Outcome {
    let (status, body) = match evidence {
        Evidence::NotSent { .. } => return Outcome::NotApplied(transient(evidence, now)),
        Evidence::Broken { .. } => return in_doubt("the connection ended before the upstream's answer came"),
        Evidence::Answered { status, body, .. } => (*status, body),
    };
    match status.as_u16() {
        200..=299 => match body {
            Body::Complete(bytes) => match check_added(bytes, asked) {
                Ok(items) => Outcome::Added(items),
                Err(why) => in_doubt(&format!("the upstream took the request, but {why}")),
            },
            Body::Truncated => in_doubt("the upstream took the request, but its answer was cut off"),
            Body::OverCap => in_doubt("the upstream took the request, but its answer is too large"),
        },
        421 | 425 | 429 => Outcome::NotApplied(transient(evidence, now)),
        408 | 409 => {
            in_doubt(&format!("the upstream answered {status}, which says nothing about what it did"))
        }
        401 | 403 | 405 | 415 => Outcome::Refused(refusal(status, body).error),
        404 => Outcome::Refused(campaign_not_found(status, body)),
        413 | 431 if asked.len() > 1 => {
            Outcome::Split { error: refusal(status, body).error, too_large: true }
        }
        413 | 431 => Outcome::Rejected(refusal(status, body).error),
        400..=499 => refused(status, body, asked.len(), batches),
        300..=399 => in_doubt("the upstream answered with a redirect, which is never followed"),
        _ => in_doubt(&format!("the upstream answered {}", status.as_u16())),
    }
}

/// A 4xx that may be about the campaign or about an item.
fn refused(status: StatusCode, body: &Body, items: usize, batches: Batches) -> Outcome {
    let refusal = refusal(status, body);
    let about_items = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    match (refusal.scope, items > 1, batches) {
        (Scope::Whole, _, _) => Outcome::Refused(refusal.error),
        (Scope::Item | Scope::Unknown, false, _) if about_items => Outcome::Rejected(refusal.error),
        (Scope::Item | Scope::Unknown, false, _) => {
            in_doubt(&format!("the upstream answered {}, which it is not known to use", status.as_u16()))
        }
        (Scope::Item | Scope::Unknown, true, Batches::Atomic) => {
            Outcome::Split { error: refusal.error, too_large: false }
        }
        (Scope::Item | Scope::Unknown, true, Batches::Unproven) => {
            let error = doubt(format!(
                "the upstream refused a batch of {items} items, and it is not known whether it added others \
                 of them: {}",
                refusal.error
            ));
            let error = error
                .with("upstream_status", status.as_str())
                .with("upstream_reason", contract_name(refusal.error.reason()));
            Outcome::InDoubt { error, by_refusal: true }
        }
    }
}

fn in_doubt(why: &str) -> Outcome {
    Outcome::InDoubt { error: doubt(why.to_owned()), by_refusal: false }
}

fn doubt(why: String) -> Error {
    Error::new(Reason::OutcomeUnknown, why).maybe_applied()
}

/// An error by which nothing was done, and after which another attempt may help.
fn transient(evidence: &Evidence, now: DateTime<Utc>) -> Error {
    let wait = evidence.retry_after(now).unwrap_or(DEFAULT_RETRY_AFTER);
    let error = match evidence {
        Evidence::NotSent { .. } => {
            Error::new(Reason::UpstreamUnavailable, "the upstream could not be reached")
        }
        Evidence::Broken { .. } => Error::new(
            Reason::UpstreamUnavailable,
            "the connection to the upstream ended before its answer came",
        ),
        Evidence::Answered { status: StatusCode::TOO_MANY_REQUESTS, .. } => {
            Error::new(Reason::UpstreamRateLimited, "the upstream limits the rate of requests")
        }
        Evidence::Answered { status, .. } => {
            Error::new(Reason::UpstreamUnavailable, format!("the upstream answered {}", status.as_u16()))
        }
    };
    error.retry_after(wait)
}

/// A 404 where only the campaign, or the route itself, can be missing.
fn campaign_not_found(status: StatusCode, body: &Body) -> Error {
    let error = refusal(status, body).error;
    match error.reason() {
        Reason::CampaignNotFound => error,
        _ => Error::new(Reason::CampaignNotFound, "the upstream knows no such campaign, or not this URL"),
    }
}

/// The error of an operation that another attempt may cure: for a write, only where nothing was done.
pub(super) fn curable(
    operation: &Operation,
    evidence: &Evidence,
    batches: Batches,
    now: DateTime<Utc>,
) -> Option<Error> {
    if operation.is_write() && evidence.status().is_some_and(|status| status.is_success()) {
        // Whatever its body says, it was done: the body is read once, by the caller.
        return None;
    }
    let error = match operation {
        Operation::GetMessage | Operation::ListMessages => read(evidence, operation, now).err(),
        Operation::AddAudience(asked) => match classify(evidence, asked, batches, now) {
            Outcome::NotApplied(error) => Some(error),
            Outcome::Added(_)
            | Outcome::Refused(_)
            | Outcome::Split { .. }
            | Outcome::Rejected(_)
            | Outcome::InDoubt { .. } => None,
        },
        Operation::CancelMessage(id) => cancel(evidence, id, now).err(),
    }?;
    let is_transient = matches!(error.reason(), Reason::UpstreamUnavailable | Reason::UpstreamRateLimited);
    (error.applied() == Applied::No && is_transient).then_some(error)
}

/// A reason by its name in the contract: `IdentifierInvalid` is `IDENTIFIER_INVALID`.
fn contract_name(reason: Reason) -> String {
    let mut name = String::new();
    for c in format!("{reason:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}
