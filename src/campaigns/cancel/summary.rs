//! What became of each of many messages, and of how many in which way.

use super::one::{Cancelled, not_cancellable};
use crate::{
    error::{Applied, Error, Reason},
    model::{Message, MessageId, Status},
};

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Which.
    pub id: MessageId,
    /// What it is now, as far as is known.
    pub status: Status,
    /// Why it is not cancelled (or would not be); `None` if and only if it is.
    pub failure: Option<Error>,
}

/// How many messages met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Documented where callers read it: the contract's `CancelSummary`.
pub struct Summary {
    pub cancelled: u64,
    pub already_cancelled: u64,
    pub not_cancellable: u64,
    pub not_found: u64,
    pub failed: u64,
    pub unknown: u64,
}

impl Summary {
    /// Counts what came of a cancellation, and words it.
    pub(super) fn tell(&mut self, id: MessageId, ended: Result<Cancelled, Error>) -> Told {
        match ended {
            Ok(cancelled) => {
                *(if cancelled.already { &mut self.already_cancelled } else { &mut self.cancelled }) += 1;
                Told { id, status: Status::Cancelled, failure: None }
            }
            Err(error) => {
                let (count, status) = match error.reason() {
                    Reason::MessageNotCancellable => (&mut self.not_cancellable, status_in(&error)),
                    Reason::MessageNotFound => (&mut self.not_found, Status::Unknown),
                    _ if error.applied() == Applied::Maybe => (&mut self.unknown, Status::Unknown),
                    _ => (&mut self.failed, Status::Unknown),
                };
                *count += 1;
                Told { id, status, failure: Some(error) }
            }
        }
    }

    /// Counts what would come of one, by what the message was seen to be.
    pub(super) fn foretell(&mut self, id: MessageId, seen: Result<Message, Error>) -> Told {
        let cancelled = seen.and_then(|message| match message.status {
            Status::Queued => Ok(Cancelled { message, already: false }),
            Status::Cancelled => Ok(Cancelled { message, already: true }),
            Status::Unknown | Status::Pending | Status::Sending | Status::Sent | Status::Failed => {
                Err(not_cancellable(&message))
            }
        });
        let status = cancelled.as_ref().ok().map(|cancelled| cancelled.message.status);
        let told = self.tell(id, cancelled);
        Told { status: status.unwrap_or(told.status), ..told }
    }

    /// Whether something was cancelled, or may have been.
    pub(super) fn may_have_acted(&self) -> bool {
        self.cancelled + self.unknown > 0
    }

    /// Whether nothing was learned of any message.
    pub(super) fn is_blank(&self) -> bool {
        Self { failed: 0, ..*self } == Self::default()
    }
}

/// What the message is, by the refusal to cancel it.
fn status_in(error: &Error) -> Status {
    let fact = error.metadata().iter().find(|(key, _)| key == "message_status");
    fact.map_or(Status::Unknown, |(_, word)| Status::from_upstream(word))
}
