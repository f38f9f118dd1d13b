//! A message of a campaign, as the upstream last reported it.

use chrono::{DateTime, Utc};

use super::{JsonObject, MessageId};

/// A message of a campaign. Which campaign is the asker's to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The upstream's id.
    pub id: MessageId,
    /// The contact's id, where reported.
    pub contact_id: Option<String>,
    /// Where it is in its life.
    pub status: Status,
    /// The upstream's own word for that.
    pub upstream_status: String,
    /// When it is to be sent; `None` for an immediate message, or where not reported.
    pub schedule: Option<ResolvedSchedule>,
    /// When it was created.
    pub create_time: Option<DateTime<Utc>>,
    /// When it last changed.
    pub update_time: Option<DateTime<Utc>>,
    /// When it was sent.
    pub sent_time: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_time: Option<DateTime<Utc>>,
    /// The upstream's text for a failed message.
    pub failure_reason: Option<String>,
    /// Every field of the upstream's object that the contract does not model.
    pub upstream_fields: JsonObject,
}

impl Message {
    /// Roughly how many bytes it takes in an answer: an upper bound for what it holds beside `upstream_fields`.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let schedule = self.schedule.as_ref().map_or(0, |s| s.local_datetime.len() + s.time_zone.len() + 40);
        let texts = self.id.as_str().len() + text(&self.contact_id) + text(&self.failure_reason);
        let fields = self.upstream_fields.iter().map(|(key, value)| key.len() + weigh(value) + 8);
        200 + texts + self.upstream_status.len() + schedule + fields.sum::<usize>()
    }

    /// A message of which only the id and the status are known.
    pub fn bare(id: MessageId, status: Status) -> Self {
        Self {
            id,
            contact_id: None,
            status,
            upstream_status: status.upstream_word().to_owned(),
            schedule: None,
            create_time: None,
            update_time: None,
            sent_time: None,
            failed_time: None,
            failure_reason: None,
            upstream_fields: JsonObject::new(),
        }
    }
}

/// Roughly what a JSON value takes as a protobuf `Value`. The upstream's nesting is bounded by its parser.
fn weigh(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        Value::String(text) => text.len() + 8,
        Value::Array(values) => 8 + values.iter().map(weigh).sum::<usize>(),
        Value::Object(fields) => {
            8 + fields.iter().map(|(key, value)| key.len() + weigh(value) + 8).sum::<usize>()
        }
    }
}

/// A message's place in the delivery life cycle:
/// `PENDING -> QUEUED -> SENDING -> SENT | FAILED`, and `QUEUED -> CANCELLED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// A word that this version does not know. Not terminal.
    Unknown,
    /// Awaiting processing.
    Pending,
    /// Queued for delivery: the only status in which a message can be cancelled.
    Queued,
    /// Being sent now.
    Sending,
    /// Delivered. Terminal.
    Sent,
    /// Delivery failed. Terminal.
    Failed,
    /// Cancelled before it was sent. Terminal.
    Cancelled,
}

impl Status {
    /// Every status, the unknown one first.
    pub const ALL: [Self; 7] = [
        Self::Unknown,
        Self::Pending,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Reads the upstream's word, in any case; `CANCELED` is `CANCELLED`.
    pub fn from_upstream(word: &str) -> Self {
        const WORDS: [(&str, Status); 7] = [
            ("PENDING", Status::Pending),
            ("QUEUED", Status::Queued),
            ("SENDING", Status::Sending),
            ("SENT", Status::Sent),
            ("FAILED", Status::Failed),
            ("CANCELLED", Status::Cancelled),
            ("CANCELED", Status::Cancelled),
        ];
        WORDS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(word))
            .map_or(Self::Unknown, |(_, status)| *status)
    }

    /// The upstream's word for it, empty for the unknown one.
    pub fn upstream_word(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Pending => "PENDING",
            Self::Queued => "QUEUED",
            Self::Sending => "SENDING",
            Self::Sent => "SENT",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether it never changes again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Cancelled)
    }

    /// Whether going from `self` to `next` runs against the life cycle. An unknown word proves nothing.
    pub fn is_step_back(self, next: Self) -> bool {
        let rank = |status| match status {
            Self::Unknown => None,
            Self::Pending => Some(1),
            Self::Queued => Some(2),
            Self::Sending => Some(3),
            Self::Sent | Self::Failed | Self::Cancelled => Some(4),
        };
        if self.is_terminal() {
            return self != next;
        }
        matches!((rank(self), rank(next)), (Some(from), Some(to)) if to < from)
    }
}

/// A filter of statuses. Empty keeps all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(u8);

impl StatusSet {
    /// Whether messages in this status pass.
    pub fn keeps(self, status: Status) -> bool {
        self.0 == 0 || self.0 & (1 << status as u8) != 0
    }

    /// The set as one byte, the same for equal sets: what a token is bound to.
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl FromIterator<Status> for StatusSet {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Self {
        Self(statuses.into_iter().fold(0, |bits, status| bits | 1 << status as u8))
    }
}

/// When the upstream says that it will send a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSchedule {
    /// The instant, where one could be read.
    pub time: Option<DateTime<Utc>>,
    /// The upstream's `scheduled_at`, verbatim; empty where it sent none.
    pub local_datetime: String,
    /// The IANA zone's name: the upstream's, else the caller's; empty where neither named one.
    pub time_zone: String,
    /// What `time` should be, only where it is not.
    pub expected_time: Option<DateTime<Utc>>,
}
