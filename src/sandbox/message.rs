//! A message and its life. Nothing is stored when time passes: a status is a function of the clock, so a million messages at rest
//! cost nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    clock::{Millis, iso},
    resolve::Recipient,
    schedule::Plan,
};

// How long each state lasts is a guess: short enough to watch, long enough to cancel.
const PENDING_FOR: Millis = 1_000;
const QUEUED_FOR: Millis = 5_000;
const SENDING_FOR: Millis = 4_000;

/// A failed message's `error`: a guess.
const FAILURE: &str = "Recipient could not be reached on this channel";

/// [page]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Pending,
    Queued,
    Sending,
    Sent,
    Failed,
    Cancelled,
}

/// What becomes of a message if nobody cancels it.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    Delivered,
    Undeliverable,
    /// Stays as it is for ever: seeded messages only.
    Pinned(Status),
}

/// What the caller said of the contact; kept for the ground truth of `/_sandbox/messages` only.
#[derive(Clone, Default, Serialize)]
pub(super) struct Given {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custom_fields: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tags: Option<Vec<String>>,
}

pub(super) struct Message {
    pub(super) id: Arc<str>,
    pub(super) to: Recipient,
    pub(super) plan: Plan,
    pub(super) created: Millis,
    pub(super) fate: Fate,
    pub(super) cancelled: Option<Millis>,
    /// The request that made it, by its number in the request log; 0 for a seeded one.
    pub(super) request: u64,
    pub(super) given: Option<Box<Given>>,
}

/// Where a message stands, and since when.
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) updated: Millis,
}

impl Message {
    pub(super) fn standing(&self, now: Millis) -> Standing {
        let at = |status, updated| Standing { status, updated };
        if let Some(cancelled) = self.cancelled {
            return at(Status::Cancelled, cancelled);
        }
        let outcome = match self.fate {
            Fate::Pinned(status) => return at(status, self.created),
            Fate::Delivered => Status::Sent,
            Fate::Undeliverable => Status::Failed,
        };
        let queued = self.created + PENDING_FOR;
        let sending = match self.plan.instant() {
            Some(instant) if instant > self.created => instant.max(queued),
            // An instant in the past counts as immediate: a guess.
            _ => queued + QUEUED_FOR,
        };
        let done = sending + SENDING_FOR;
        match now {
            now if now >= done => at(outcome, done),
            now if now >= sending => at(Status::Sending, sending),
            now if now >= queued => at(Status::Queued, queued),
            _ => at(Status::Pending, self.created),
        }
    }

    /// The message as the list and get show it. The page has no example of either, so the shape is a guess: the names of the add
    /// answer, and the house style's camel case for the rest.
    pub(super) fn view(&self, now: Millis) -> View<'_> {
        let Standing { status, updated } = self.standing(now);
        View {
            id: &self.id,
            contact_id: &self.to.id,
            status,
            scheduled_at: self.plan.scheduled_at(),
            scheduled_at_utc: self.plan.scheduled_at_utc(),
            timezone: self.plan.zone(),
            created_at: iso(self.created),
            updated_at: iso(updated),
            sent_at: (status == Status::Sent).then(|| iso(updated)),
            failed_at: (status == Status::Failed).then(|| iso(updated)),
            error: (status == Status::Failed).then_some(FAILURE),
        }
    }
}

#[derive(Serialize)]
pub(super) struct View<'a> {
    id: &'a str,
    #[serde(rename = "contactId")]
    contact_id: &'a str,
    status: Status,
    scheduled_at: Option<String>,
    scheduled_at_utc: Option<String>,
    timezone: Option<&'static str>,
    #[serde(rename = "createdAt")]
    created_at: String,
    #[serde(rename = "updatedAt")]
    updated_at: String,
    #[serde(rename = "sentAt")]
    sent_at: Option<String>,
    #[serde(rename = "failedAt")]
    failed_at: Option<String>,
    error: Option<&'static str>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::options::UtcOffset;
    use super::*;

    const CREATED: Millis = 1_772_323_200_000; // 2026-03-01T00:00:00Z

    fn message(schedule: Value) -> Message {
        Message {
            id: "m".into(),
            to: Recipient { id: "c".into(), identifier: None },
            plan: Plan::parse(Some(&schedule), None, UtcOffset::Iana).unwrap(),
            created: CREATED,
            fate: Fate::Delivered,
            cancelled: None,
            request: 0,
            given: None,
        }
    }

    fn statuses(message: &Message, seconds: &[i64]) -> Vec<Status> {
        seconds.iter().map(|s| message.standing(CREATED + s * 1000).status).collect()
    }

    #[test]
    fn an_immediate_message_is_sent_within_ten_seconds() {
        use Status::*;
        let message = message(json!({"type": "immediate"}));
        assert_eq!(
            statuses(&message, &[-5, 0, 1, 5, 6, 9, 10]),
            [Pending, Pending, Queued, Queued, Sending, Sending, Sent]
        );
    }

    #[test]
    fn a_message_for_later_stays_queued_until_its_instant() {
        use Status::*;
        let later = message(json!({"type": "absolute", "datetime": "2026-03-01T01:00:00Z"}));
        assert_eq!(statuses(&later, &[0, 1, 3599, 3600, 3604]), [Pending, Queued, Queued, Sending, Sent]);
        let soon = message(json!({"type": "absolute", "datetime": "2026-03-01T00:00:00.100Z"}));
        assert_eq!(statuses(&soon, &[0, 1, 5]), [Pending, Sending, Sent]);
        let past = message(json!({"type": "absolute", "datetime": "2020-03-01T00:00:00Z"}));
        assert_eq!(statuses(&past, &[0, 1, 6, 10]), [Pending, Queued, Sending, Sent]);
    }

    #[test]
    fn updated_at_moves_with_the_status_and_not_otherwise() {
        let message = message(json!({"type": "immediate"}));
        let updates: Vec<_> = [0, 500, 1000, 5999, 6000, 99_000]
            .map(|ms| message.standing(CREATED + ms).updated - CREATED)
            .into();
        assert_eq!(updates, [0, 0, 1000, 1000, 6000, 10_000]);
    }

    #[test]
    fn cancelling_fixes_the_status() {
        let mut message = message(json!({"type": "immediate"}));
        message.cancelled = Some(CREATED + 2000);
        let standing = message.standing(CREATED + 99_000);
        assert_eq!((standing.status, standing.updated), (Status::Cancelled, CREATED + 2000));
    }

    #[test]
    fn a_failed_message_says_why() {
        let mut message = message(json!({"type": "immediate"}));
        message.fate = Fate::Undeliverable;
        let view = serde_json::to_value(message.view(CREATED + 99_000)).unwrap();
        assert_eq!(view["status"], "FAILED");
        assert_eq!(view["failedAt"], "2026-03-01T00:00:10.000Z");
        assert_eq!((&view["error"], &view["sentAt"]), (&json!(FAILURE), &Value::Null));
    }
}
