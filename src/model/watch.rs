//! A watch: what a caller wants to see of a campaign's messages, and what it is told.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{Message, MessageId, Status, StatusSet, WatchPlace};
use crate::error::Error;

/// What a caller wants to see: the contract's `WatchMessagesRequest`, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchOptions {
    /// Only these messages; empty: the whole campaign.
    pub message_ids: HashSet<MessageId>,
    /// Only messages in, and changes into, one of these.
    pub statuses: StatusSet,
    /// Whether the present state is told first, or only what changes from now on.
    pub snapshot: bool,
    /// How often a heartbeat comes while there is nothing to tell: 1 s to 5 min.
    pub heartbeat_interval: Duration,
    /// Whether the watch ends once every watched message is terminal or removed.
    pub complete_when_terminal: bool,
}

impl WatchOptions {
    /// Whether this message is one of those that the watch names.
    pub fn watches(&self, id: &MessageId) -> bool {
        self.message_ids.is_empty() || self.message_ids.contains(id)
    }
}

/// One thing told to a watcher.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchUpdate {
    /// When the poll behind it began.
    pub observe_time: DateTime<Utc>,
    /// What is told.
    pub event: WatchEvent,
    /// Where the watch stands after it.
    pub place: WatchPlace,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The present state of some messages, or what changed in them.
    Changes(Vec<MessageChange>),
    /// All of the present state has been told.
    SnapshotComplete {
        /// How many messages the snapshot told of.
        message_count: u64,
    },
    /// Nothing to tell, and still here.
    Heartbeat {
        /// When the upstream last answered in full.
        last_poll_time: Option<DateTime<Utc>>,
        /// The present pace of polling.
        poll_interval: Duration,
        /// Why polling fails, while it does.
        failure: Option<Error>,
    },
    /// Too far behind the history kept: forget what was told, a full snapshot follows.
    Reset,
}

/// One message's change.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageChange {
    /// The message as it is now, or as last seen.
    pub message: Arc<Message>,
    /// What the watch last knew; `None`: it meets the message for the first time.
    pub previous: Option<Status>,
    /// The upstream no longer has it.
    pub removed: bool,
}
