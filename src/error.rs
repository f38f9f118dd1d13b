//! The one error of the service: why something failed, whether the upstream may have acted, and when
//! to try again. Whether an attempt may be repeated follows from these facts, never from a status code
//! read a second time.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

/// Whether the upstream may have done what a failed request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Proven: nothing was changed upstream. (Always so for a read.)
    No,
    /// Not proven: a write was on its way when the trail ended.
    Maybe,
}

macro_rules! reasons {
    ($($reason:ident = $name:literal,)*) => {
        /// Why something failed: the contract's `ErrorReason`, value for value. What each means to a caller
        /// stands in one table, `grpc/status.rs`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)] // Documented where callers read it: proto/blubash/campaigns/v1/failure.proto.
        pub enum Reason {
            $($reason,)*
        }

        impl Reason {
            /// Every reason, in the contract's order. (Tested against the contract itself: none is missing.)
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$reason),*];

            /// Its name in the contract. Never change one: records on disk hold it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }

            /// The reason of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$reason),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    FieldInvalid = "FIELD_INVALID",
    RecipientRequired = "RECIPIENT_REQUIRED",
    IdentifierInvalid = "IDENTIFIER_INVALID",
    TimeZoneRequired = "TIME_ZONE_REQUIRED",
    TimeZoneUnknown = "TIME_ZONE_UNKNOWN",
    DatetimeInvalid = "DATETIME_INVALID",
    LocalTimeNonexistent = "LOCAL_TIME_NONEXISTENT",
    LocalTimeAmbiguous = "LOCAL_TIME_AMBIGUOUS",
    DuplicateRecipient = "DUPLICATE_RECIPIENT",
    TooManyItems = "TOO_MANY_ITEMS",
    PageTokenInvalid = "PAGE_TOKEN_INVALID",
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID",
    RequestIdReused = "REQUEST_ID_REUSED",
    UpstreamRejected = "UPSTREAM_REJECTED",
    CampaignNotEvergreen = "CAMPAIGN_NOT_EVERGREEN",
    CampaignTerminated = "CAMPAIGN_TERMINATED",
    CampaignPaused = "CAMPAIGN_PAUSED",
    ContactIdentityConflict = "CONTACT_IDENTITY_CONFLICT",
    ContactChannelIdentifierMissing = "CONTACT_CHANNEL_IDENTIFIER_MISSING",
    MessageNotCancellable = "MESSAGE_NOT_CANCELLABLE",
    UpstreamKeyRefused = "UPSTREAM_KEY_REFUSED",
    DoubtLimitReached = "DOUBT_LIMIT_REACHED",
    ApiKeyInvalid = "API_KEY_INVALID",
    CredentialsInvalid = "CREDENTIALS_INVALID",
    CampaignsFeatureUnavailable = "CAMPAIGNS_FEATURE_UNAVAILABLE",
    WorkspaceForbidden = "WORKSPACE_FORBIDDEN",
    CampaignNotFound = "CAMPAIGN_NOT_FOUND",
    MessageNotFound = "MESSAGE_NOT_FOUND",
    IngestionNotFound = "INGESTION_NOT_FOUND",
    UpstreamRateLimited = "UPSTREAM_RATE_LIMITED",
    Overloaded = "OVERLOADED",
    WatcherTooSlow = "WATCHER_TOO_SLOW",
    RequestIdInUse = "REQUEST_ID_IN_USE",
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE",
    UpstreamCircuitOpen = "UPSTREAM_CIRCUIT_OPEN",
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    UpstreamResponseInvalid = "UPSTREAM_RESPONSE_INVALID",
    OutcomeUnknown = "OUTCOME_UNKNOWN",
    ServerDraining = "SERVER_DRAINING",
    LedgerUnavailable = "LEDGER_UNAVAILABLE",
    Internal = "INTERNAL",
}

/// A fact for programs: its name in the contract, and its value.
pub type Fact = (Cow<'static, str>, String);

/// One thing that is wrong with one field of the caller's request. It never holds the field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path from the item or request, as in `schedule.datetime.time_zone`.
    pub field: String,
    /// What kind of wrong.
    pub reason: Reason,
    /// For people: what is wrong and what would be right.
    pub message: Cow<'static, str>,
    /// Facts that the reason's comment in the contract names, such as `earlier` and `later`.
    pub metadata: Vec<Fact>,
}

impl Violation {
    /// A violation without metadata.
    pub fn new(field: impl Into<String>, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), reason, message: message.into(), metadata: Vec::new() }
    }
}

/// A failure, cheap to clone: one cause may have to be told to many items and many callers.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Arc<Facts>);

#[derive(Clone, PartialEq, Eq)]
struct Facts {
    reason: Reason,
    message: Cow<'static, str>,
    applied: Applied,
    retry_after: Option<Duration>,
    metadata: Vec<Fact>,
    violations: Vec<Violation>,
}

impl Error {
    /// An error by which nothing was changed upstream. `message` is for people: no personal data, no key.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Facts {
            reason,
            message: message.into(),
            applied: Applied::No,
            retry_after: None,
            metadata: Vec::new(),
            violations: Vec::new(),
        }))
    }

    /// The caller's request is wrong in these ways (at least one).
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let (reason, message) = match violations.as_slice() {
            [] => (Reason::FieldInvalid, Cow::Borrowed("the request is invalid")),
            [only] => (only.reason, Cow::Owned(format!("{}: {}", only.field, only.message))),
            [first, rest @ ..] => (
                first.reason,
                Cow::Owned(format!("{}: {} (and {} more)", first.field, first.message, rest.len())),
            ),
        };
        let mut error = Self::new(reason, message);
        let facts = error.facts();
        facts.metadata = violations.iter().flat_map(|v| v.metadata.iter().cloned()).collect();
        facts.violations = violations;
        error
    }

    /// The request is wrong in one field.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::invalid(vec![Violation::new(field, Reason::FieldInvalid, message)])
    }

    /// An error as it was, by the facts that a record of it kept.
    pub fn recalled(
        reason: Reason,
        message: String,
        applied: Applied,
        retry_after: Option<Duration>,
        metadata: Vec<Fact>,
        violations: Vec<Violation>,
    ) -> Self {
        let message = Cow::Owned(message);
        Self(Arc::new(Facts { reason, message, applied, retry_after, metadata, violations }))
    }

    /// The same, but the upstream may have acted.
    #[must_use]
    pub fn maybe_applied(mut self) -> Self {
        self.facts().applied = Applied::Maybe;
        self
    }

    /// The same, with the time after which another try may help.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.facts().retry_after = Some(after);
        self
    }

    /// The same, with one more fact for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.facts().metadata.push((key.into(), value.into()));
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Whether the upstream may have acted.
    pub fn applied(&self) -> Applied {
        self.0.applied
    }

    /// When another try may help, where that is known.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// For people; holds no personal data.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Facts for programs, by the names that the contract gives them.
    pub fn metadata(&self) -> &[Fact] {
        &self.0.metadata
    }

    /// All that is wrong with the request, where the request is what is wrong.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    fn facts(&mut self) -> &mut Facts {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?}): {}", self.0.reason, self.0.applied, self.0.message)
    }
}

impl std::error::Error for Error {}
