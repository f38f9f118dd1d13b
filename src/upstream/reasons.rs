//! The vendor's error reference as a table: what each refusal means in our own words, and whom it is about.

use http::StatusCode;

use super::{evidence::Body, mask::mask, wire};
use crate::error::{Error, Reason};

/// A refusal, understood as far as it can be.
pub(super) struct Refusal {
    /// Why, as an error by which nothing was changed.
    pub(super) error: Error,
    /// Whom it is about.
    pub(super) scope: Scope,
}

/// Whom a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The campaign, the key or the plan: every item alike, so none was added.
    Whole,
    /// One item.
    Item,
    /// Nobody knows.
    Unknown,
}

struct Row {
    status: StatusCode,
    /// The vendor's text, or its beginning: newer and older pages end it differently.
    begins: &'static str,
    reason: Reason,
    ours: &'static str,
    scope: Scope,
}

const fn row(
    status: StatusCode,
    begins: &'static str,
    reason: Reason,
    scope: Scope,
    ours: &'static str,
) -> Row {
    Row { status, begins, reason, ours, scope }
}

const TABLE: [Row; 10] = [
    row(
        StatusCode::BAD_REQUEST,
        "Each item must provide contact_id or identifier",
        Reason::RecipientRequired,
        Scope::Item,
        "the item names neither a contact nor an identifier",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "Identifier is invalid",
        Reason::IdentifierInvalid,
        Scope::Item,
        "the upstream could not normalize the identifier: check it for the campaign's channel",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "schedule.timezone (IANA) is required",
        Reason::TimeZoneRequired,
        Scope::Item,
        "the schedule's date and time has no UTC offset and no time zone",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "Campaign is not an evergreen campaign",
        Reason::CampaignNotEvergreen,
        Scope::Whole,
        "the campaign is not an evergreen campaign: contacts can be added to no other kind",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "Cannot add contacts to cancelled or failed campaigns",
        Reason::CampaignTerminated,
        Scope::Whole,
        "the campaign is cancelled or failed: contacts can no longer be added",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "Cannot add contacts while the campaign is paused",
        Reason::CampaignPaused,
        Scope::Whole,
        "the campaign is paused: resume it first",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "Contact found by email already has a different identifier",
        Reason::ContactIdentityConflict,
        Scope::Item,
        "the contact found by email already has a different identifier on this campaign's channel",
    ),
    row(
        StatusCode::BAD_REQUEST,
        "Contact does not have a valid channel identifier",
        Reason::ContactChannelIdentifierMissing,
        Scope::Item,
        "the contact has no valid identifier for this campaign's channel",
    ),
    row(
        StatusCode::FORBIDDEN,
        "Campaigns feature is not available",
        Reason::CampaignsFeatureUnavailable,
        Scope::Whole,
        "the workspace's plan has no Campaigns feature",
    ),
    row(
        StatusCode::NOT_FOUND,
        "Campaign not found",
        Reason::CampaignNotFound,
        Scope::Whole,
        "no such campaign in this workspace",
    ),
];

/// Reads a 4xx. The status decides the class; the text, where it is known, the reason.
pub(super) fn refusal(status: StatusCode, body: &Body) -> Refusal {
    let texts = match body {
        Body::Complete(bytes) => wire::texts(bytes),
        Body::Truncated | Body::OverCap => Vec::new(),
    };
    let known = TABLE
        .iter()
        .filter(|row| row.status == class(status))
        .find(|row| texts.iter().any(|text| begins_with(text, row.begins)));
    if let Some(row) = known {
        return Refusal { error: Error::new(row.reason, row.ours), scope: row.scope };
    }
    match status {
        StatusCode::UNAUTHORIZED => Refusal {
            error: Error::new(Reason::ApiKeyInvalid, "the upstream refused the API key"),
            scope: Scope::Whole,
        },
        StatusCode::FORBIDDEN => Refusal {
            error: Error::new(Reason::WorkspaceForbidden, "the upstream forbids this to the API key"),
            scope: Scope::Whole,
        },
        _ => Refusal { error: unknown(status, &texts), scope: Scope::Unknown },
    }
}

/// 422 is another server's word for the same complaints.
fn class(status: StatusCode) -> StatusCode {
    if status == StatusCode::UNPROCESSABLE_ENTITY { StatusCode::BAD_REQUEST } else { status }
}

fn begins_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// A refusal whose text this version does not know: the caller may see it, masked; a log never does.
fn unknown(status: StatusCode, texts: &[String]) -> Error {
    let shown = texts.first().map(|text| mask(text)).filter(|text| !text.is_empty());
    let message = match shown {
        Some(text) => format!("the upstream refused the request with status {}: {text}", status.as_u16()),
        None => format!("the upstream refused the request with status {}", status.as_u16()),
    };
    Error::new(Reason::UpstreamRejected, message).with("upstream_status", status.as_str())
}

#[cfg(test)]
#[path = "reasons_tests.rs"]
mod tests;
