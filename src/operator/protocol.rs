//! The words between an operator's command and the server: one JSON line a request, one a reply.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Both sides must mean the same by the words below.
pub(super) const VERSION: u32 = 1;

/// A request's line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) version: u32,
    /// Read only once the version is known to be ours.
    pub(super) request: serde_json::Value,
}

/// A reply's line: an error, or an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replied {
    pub(super) version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) answer: serde_json::Value,
}

/// What an operator can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Batches with items in doubt, oldest first; answered with [`Doubts`].
    Doubts {
        /// Of this campaign only.
        campaign: Option<String>,
        /// The most batches.
        limit: usize,
    },
    /// Which workspaces' ingestions have this name; answered with a list of [`IngestionName`].
    Find {
        /// The campaign's id.
        campaign: String,
        /// The request id.
        request_id: String,
    },
    /// Recorded items of an ingestion; answered with [`Shown`].
    Show {
        /// Which.
        of: IngestionName,
        /// From this index.
        from: u64,
        /// The most items.
        limit: usize,
    },
    /// What became of an item in doubt; answered with null.
    Resolve {
        /// Of which ingestion.
        of: IngestionName,
        /// Which item.
        index: u64,
        /// What became of it.
        verdict: Verdict,
        /// Who says so.
        by: String,
        /// How they know.
        note: String,
    },
    /// Those of these messages that no record names; answered with a list of ids.
    Unnamed {
        /// The workspace, as in [`IngestionName`].
        workspace: String,
        /// The campaign's id.
        campaign: String,
        /// The messages' ids.
        messages: Vec<String>,
    },
}

/// Which ingestion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestionName {
    /// The workspace's digest, as 32 hex digits. Log lines show the first 12.
    pub workspace: String,
    /// The campaign's id.
    pub campaign: String,
    /// The request id.
    pub request_id: String,
}

/// What became of an item in doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It became this message.
    Added(String),
    /// It was not added.
    Rejected,
}

/// What is in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doubts {
    /// Oldest first.
    pub batches: Vec<Doubt>,
    /// How many items are in doubt in all, listed or not.
    pub items: u64,
    /// How many batches they are in.
    pub in_batches: u64,
}

/// A batch with items in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// Of which ingestion.
    #[serde(flatten)]
    pub of: IngestionName,
    /// How many items.
    pub items: u64,
    /// Which, ascending.
    pub indexes: Vec<u64>,
    /// When they were claimed, just before they were sent.
    pub claim_time: DateTime<Utc>,
    /// How often they were sent.
    pub attempts: u32,
    /// Why nobody knows what became of them.
    pub cause: Cause,
}

/// An error on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The contract's name for it.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// An ingestion's records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// RUNNING, ENDED or INTERRUPTED.
    pub state: String,
    /// When it was first seen.
    pub create_time: DateTime<Utc>,
    /// When it will be forgotten, if it is not used again. Only a server knows how long it remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<DateTime<Utc>>,
    /// All its items, counted by what became of them.
    pub summary: Counts,
    /// Those asked for, in order.
    pub items: Vec<Item>,
    /// The index of the next one.
    pub next: Option<u64>,
}

/// An ingestion's items, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The contract's dispositions.
pub struct Counts {
    pub received: u64,
    pub added: u64,
    pub rejected: u64,
    pub in_doubt: u64,
    pub pending: u64,
    pub invalid: u64,
    pub not_attempted: u64,
}

/// A recorded item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its place in the ingestion.
    pub index: u64,
    /// The caller's own name for it.
    pub item_id: String,
    /// The contract's disposition.
    pub disposition: String,
    /// The message that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The contact, where the upstream told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_id: Option<String>,
    /// Why it was refused or is in doubt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// When it was claimed, just before it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_time: Option<DateTime<Utc>>,
    /// How often it was sent.
    pub attempts: u32,
    /// What operators decided.
    pub audit: Vec<Audit>,
}

/// An operator's decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// What.
    pub verdict: Verdict,
    /// How they knew.
    pub note: String,
}
