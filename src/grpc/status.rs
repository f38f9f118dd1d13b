//! The one table of errors: what each reason means to a caller, which code carries it, and whether and
//! how a call that met it may be repeated. The README prints it; nothing else maps an error to a code.

mod details;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, time::Duration};

use tonic::Code;

use crate::{error::Reason, pb};

pub use details::{DOMAIN, retry_delay, status, told_reason};

/// May a caller repeat a call that met a reason, and how?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// It would only meet the same again.
    Never,
    /// The request must change.
    AfterMending,
    /// The campaign, the contact or the plan must change.
    AfterChange,
    /// This server's operator must act.
    AfterOperator,
    /// Nothing was changed upstream, and waiting helps.
    AfterWaiting,
    /// Waiting helps only where the answer says so.
    WhereDelayIsGiven,
    /// From the first page, or from the beginning of a watch.
    WithoutToken,
    /// A watch, from where it was.
    FromResumeToken,
    /// Something may have been changed upstream.
    SameRequestId,
}

impl Repeat {
    /// The answer for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Never => "no",
            Self::AfterMending => "after mending the request",
            Self::AfterChange => "after the cause is mended in BluBash",
            Self::AfterOperator => "after this server's operator has acted",
            Self::AfterWaiting => "yes, after RetryInfo's delay",
            Self::WhereDelayIsGiven => "only where RetryInfo is set, after its delay",
            Self::WithoutToken => "yes, without the token: from the beginning",
            Self::FromResumeToken => "yes, with the last resume_token",
            Self::SameRequestId => {
                "a read or a cancel: yes, with backoff; an ingestion: only under the same request_id"
            }
        }
    }
}

/// What the table says of one reason.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The contract's value.
    pub proto: pb::ErrorReason,
    /// The code of a call that failed for it.
    pub code: Code,
    /// What it means, in one sentence.
    pub means: &'static str,
    /// Whether and how to repeat.
    pub repeat: Repeat,
    /// The wait to tell where the error itself knows none: the contract promises RetryInfo.
    pub wait: Option<Duration>,
}

impl Entry {
    /// The reason as `google.rpc.ErrorInfo` carries it.
    pub fn name(&self) -> &'static str {
        let name = self.proto.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }
}

/// The table.
pub fn entry(reason: Reason) -> Entry {
    use Reason as R;
    use Repeat::*;
    use pb::ErrorReason as P;

    const fn row(proto: P, code: Code, repeat: Repeat, means: &'static str) -> Entry {
        Entry { proto, code, means, repeat, wait: None }
    }
    const fn waits(seconds: u64, entry: Entry) -> Entry {
        Entry { wait: Some(Duration::from_secs(seconds)), ..entry }
    }
    const fn invalid(proto: P, means: &'static str) -> Entry {
        row(proto, Code::InvalidArgument, AfterMending, means)
    }
    const fn state(proto: P, repeat: Repeat, means: &'static str) -> Entry {
        row(proto, Code::FailedPrecondition, repeat, means)
    }

    match reason {
        R::FieldInvalid => {
            invalid(P::FieldInvalid, "A field of the request breaks its rule; the fields are named.")
        }
        R::RecipientRequired => {
            invalid(P::RecipientRequired, "An item has neither contact_id nor identifier.")
        }
        R::IdentifierInvalid => {
            invalid(P::IdentifierInvalid, "An identifier is empty, or the upstream could not normalize it.")
        }
        R::TimeZoneRequired => {
            invalid(P::TimeZoneRequired, "A wall-clock time has no time zone, and the call names no default.")
        }
        R::TimeZoneUnknown => invalid(P::TimeZoneUnknown, "The IANA database has no zone of that name."),
        R::DatetimeInvalid => {
            invalid(P::DatetimeInvalid, "A date and time is not ISO 8601, or does not exist.")
        }
        R::LocalTimeNonexistent => invalid(
            P::LocalTimeNonexistent,
            "Clocks skip this wall-clock time; both candidates are in the metadata.",
        ),
        R::LocalTimeAmbiguous => invalid(
            P::LocalTimeAmbiguous,
            "Clocks show this wall-clock time twice; both candidates are in the metadata.",
        ),
        R::DuplicateRecipient => invalid(
            P::DuplicateRecipient,
            "An earlier item of the stream had this recipient, and the options refuse that.",
        ),
        R::TooManyItems => {
            invalid(P::TooManyItems, "More items than one AddAudience can answer for: use IngestAudience.")
        }
        R::PageTokenInvalid => Entry {
            repeat: WithoutToken,
            ..invalid(
                P::PageTokenInvalid,
                "Not a page token of this service, or of another workspace, campaign or filter.",
            )
        },
        R::ResumeTokenInvalid => Entry {
            repeat: WithoutToken,
            ..invalid(
                P::ResumeTokenInvalid,
                "Not a resume token of this service, or of another workspace, campaign or filter.",
            )
        },
        R::RequestIdReused => invalid(
            P::RequestIdReused,
            "The request_id came before with other items: send those again, or use another one.",
        ),
        R::UpstreamRejected => {
            invalid(P::UpstreamRejected, "The upstream refused with a text that this version does not know.")
        }

        R::CampaignNotEvergreen => {
            state(P::CampaignNotEvergreen, Never, "The campaign is not an evergreen campaign.")
        }
        R::CampaignTerminated => state(P::CampaignTerminated, Never, "The campaign is cancelled or failed."),
        R::CampaignPaused => state(P::CampaignPaused, AfterChange, "The campaign is paused."),
        R::ContactIdentityConflict => state(
            P::ContactIdentityConflict,
            AfterChange,
            "The contact found by email already has a different identifier on this channel.",
        ),
        R::ContactChannelIdentifierMissing => state(
            P::ContactChannelIdentifierMissing,
            AfterChange,
            "The contact has no valid identifier for the campaign's channel.",
        ),
        R::MessageNotCancellable => state(
            P::MessageNotCancellable,
            WhereDelayIsGiven,
            "The message is not QUEUED; its status is in the metadata.",
        ),
        R::UpstreamKeyRefused => state(
            P::UpstreamKeyRefused,
            AfterOperator,
            "The upstream refused the key that this server holds.",
        ),
        R::DoubtLimitReached => state(
            P::DoubtLimitReached,
            AfterOperator,
            "Too many items of this campaign are in doubt: sending stops until they are resolved.",
        ),

        R::ApiKeyInvalid => row(
            P::ApiKeyInvalid,
            Code::Unauthenticated,
            AfterMending,
            "There is no API key, or the upstream refused the caller's.",
        ),
        R::CredentialsInvalid => row(
            P::CredentialsInvalid,
            Code::Unauthenticated,
            AfterMending,
            "The caller's token or certificate is missing or wrong.",
        ),
        R::CampaignsFeatureUnavailable => row(
            P::CampaignsFeatureUnavailable,
            Code::PermissionDenied,
            AfterChange,
            "The workspace's plan has no Campaigns feature.",
        ),
        R::WorkspaceForbidden => row(
            P::WorkspaceForbidden,
            Code::PermissionDenied,
            AfterOperator,
            "The caller may not use this workspace, or not in this way.",
        ),

        R::CampaignNotFound => row(
            P::CampaignNotFound,
            Code::NotFound,
            AfterMending,
            "The workspace has no campaign of that id.",
        ),
        R::MessageNotFound => {
            row(P::MessageNotFound, Code::NotFound, AfterMending, "The campaign has no message of that id.")
        }
        R::IngestionNotFound => row(
            P::IngestionNotFound,
            Code::NotFound,
            AfterMending,
            "This server never saw an ingestion of that request_id, or has forgotten it since.",
        ),

        R::UpstreamRateLimited => waits(
            1,
            row(
                P::UpstreamRateLimited,
                Code::ResourceExhausted,
                AfterWaiting,
                "The upstream's rate limit is reached.",
            ),
        ),
        R::Overloaded => waits(
            1,
            row(
                P::Overloaded,
                Code::ResourceExhausted,
                AfterWaiting,
                "This server sheds load, or the workspace's own quota here is used up.",
            ),
        ),
        R::WatcherTooSlow => row(
            P::WatcherTooSlow,
            Code::ResourceExhausted,
            FromResumeToken,
            "The reader of a watch accepted no byte for too long.",
        ),
        R::RequestIdInUse => waits(
            1,
            row(
                P::RequestIdInUse,
                Code::Aborted,
                AfterWaiting,
                "Another call with this request_id is running.",
            ),
        ),
        R::MessageTooLarge => row(
            P::MessageTooLarge,
            Code::ResourceExhausted,
            AfterMending,
            "A message to this service has more than 4 MiB.",
        ),

        R::UpstreamUnavailable => waits(
            1,
            row(
                P::UpstreamUnavailable,
                Code::Unavailable,
                AfterWaiting,
                "The upstream cannot be reached, or answers with failures; nothing was changed there.",
            ),
        ),
        R::UpstreamCircuitOpen => waits(
            5,
            row(
                P::UpstreamCircuitOpen,
                Code::Unavailable,
                AfterWaiting,
                "The upstream failed so often that this server gives it a rest; nothing was sent.",
            ),
        ),
        R::DeadlineExceeded => {
            row(P::DeadlineExceeded, Code::DeadlineExceeded, SameRequestId, "The caller's deadline passed.")
        }
        R::UpstreamResponseInvalid => row(
            P::UpstreamResponseInvalid,
            Code::Internal,
            SameRequestId,
            "A read was answered with a redirect, or with something that could not be understood.",
        ),
        R::OutcomeUnknown => row(
            P::OutcomeUnknown,
            Code::Unknown,
            SameRequestId,
            "A write was sent and no trustworthy answer came back: it may have taken effect.",
        ),
        R::ServerDraining => waits(
            1,
            row(
                P::ServerDraining,
                Code::Unavailable,
                AfterWaiting,
                "This server, or the connection to it, is going away; another will take the call.",
            ),
        ),
        R::LedgerUnavailable => waits(
            5,
            row(
                P::LedgerUnavailable,
                Code::Unavailable,
                AfterWaiting,
                "The record of what was sent cannot be written, so nothing is sent.",
            ),
        ),
        R::Internal => row(P::Internal, Code::Internal, SameRequestId, "A fault of this server."),
    }
}

/// The code's name, as gRPC's own documentation writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The table as the README prints it.
pub fn markdown() -> String {
    let mut text = String::from("| code | reason | what it means | may I repeat? |\n|---|---|---|---|\n");
    for entry in Reason::ALL.map(entry) {
        let (code, name, repeat) = (code_name(entry.code), entry.name(), entry.repeat.text());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{code}` | `{name}` | {} | {repeat} |", entry.means);
    }
    text
}
