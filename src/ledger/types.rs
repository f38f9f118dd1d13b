//! What goes into the ledger and comes out of it.

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Claim, Fingerprint, State};
use crate::{
    error::Error,
    model::{CampaignId, IngestionState, ItemResult, MessageId, RequestId, Summary, WorkspaceId},
};

/// Which ingestion: a request id means something only within its workspace and campaign.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Under which name.
    pub request_id: RequestId,
}

/// What an earlier call left of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The item's place in the ingestion.
    pub index: u64,
    /// By what a repeat of it is known; `None` for an invalid item, which may come back changed.
    pub fingerprint: Option<Fingerprint>,
    /// Where it stands.
    pub state: KnownState,
}

/// Where an item stands that an earlier call had.
#[derive(Clone, Debug, PartialEq)]
pub enum KnownState {
    /// It must not be sent again. Never [`State::InFlight`].
    Settled(State),
    /// It was refused here.
    Invalid,
}

/// An item that was refused here.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its place in the ingestion.
    pub index: u64,
    /// The caller's own key for it.
    pub item_id: String,
    /// What is wrong with it.
    pub error: Error,
}

/// An item that is about to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedItem {
    /// Its place in the ingestion.
    pub index: u64,
    /// By what it is known again.
    pub fingerprint: Fingerprint,
    /// The caller's own key for it.
    pub item_id: String,
}

/// The bytes by which exactly this batch can be sent again (the upstream module makes and reads them).
/// Given only where the upstream's keys are declared proven; kept until the batch is settled.
#[derive(Clone, PartialEq)]
pub struct Frozen {
    /// Opaque here.
    pub bytes: Bytes,
    /// Whether an item of it is sent at once, and so must not be sent late.
    pub has_immediate: bool,
}

/// The bytes hold what the caller said of people.
impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frozen({} bytes)", self.bytes.len())
    }
}

/// A batch in doubt that can be sent again.
#[derive(Debug)]
pub struct FrozenDoubt {
    /// Opaque here.
    pub bytes: Bytes,
    /// Whether an item of it is sent at once, and so must not be sent late.
    pub has_immediate: bool,
    /// When it was claimed: its first attempt came right after.
    pub claimed_at: DateTime<Utc>,
    /// How often it was sent, the first time included.
    pub attempts: u32,
    /// Its items, in index order. Dropped or left, they stay in doubt.
    pub claim: Claim,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It came to its last item.
    Complete,
    /// It ended before: items that it read and that have no record were not attempted, for this cause.
    Terminated(Error),
    /// The same, but its caller may not have heard of it: a repeat finishes it.
    Interrupted(Error),
}

/// A page of what became of an ingestion's items.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestionPage {
    /// In order. An item that was not attempted has no record, so its `item_id` is empty.
    pub results: Vec<ItemResult>,
    /// The index from which the next page goes on. A page may have fewer results than it might, and even
    /// none, and still have a next one: a filter that shows few looks at a bounded number of items.
    pub next: Option<u64>,
    /// All items, counted. Those without a record only where no call runs.
    pub summary: Summary,
    /// Where the ingestion stands.
    pub state: IngestionState,
    /// When it will be forgotten, if it is not used again.
    pub expire_time: DateTime<Utc>,
}

/// An operator's word on an item in doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It was added, as this message.
    Added(MessageId),
    /// It was not added.
    Rejected,
}

/// A place in the list of doubts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtCursor {
    /// The ingestion of the last entry.
    pub scope: Scope,
    /// The last entry's [`Doubted::first`].
    pub first: u64,
}

/// A part of the list of doubts.
#[derive(Clone, Debug, PartialEq)]
pub struct DoubtPage {
    /// One a batch record, in no order that means something.
    pub entries: Vec<Doubted>,
    /// Where the list goes on.
    pub next: Option<DoubtCursor>,
}

/// Items of one batch that are in doubt.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubted {
    /// Whose.
    pub scope: Scope,
    /// The batch record's first index, in doubt or not.
    pub first: u64,
    /// Those in doubt, ascending.
    pub indexes: Vec<u64>,
    /// When the batch was claimed.
    pub claimed_at: DateTime<Utc>,
    /// How often it was sent.
    pub attempts: u32,
    /// Why the first of them is in doubt.
    pub cause: Error,
}

/// An ingestion as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The recorded items, in order.
    pub items: Vec<ShownItem>,
    /// The index from which the next page goes on.
    pub next: Option<u64>,
    /// All items, counted.
    pub summary: Summary,
    /// Where it stands.
    pub state: IngestionState,
    /// When it was first used.
    pub create_time: DateTime<Utc>,
    /// When it will be forgotten.
    pub expire_time: DateTime<Utc>,
}

/// An item as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownItem {
    /// Its place in the ingestion.
    pub index: u64,
    /// The caller's own key for it.
    pub item_id: String,
    /// Where it stands.
    pub state: ShownState,
    /// When its batch was claimed; `None` for an item that was refused here.
    pub claimed_at: Option<DateTime<Utc>>,
    /// How often its batch was sent, or was about to be.
    pub attempts: u32,
    /// What operators decided of it.
    pub audit: Vec<Audit>,
}

/// Where an item stands, as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum ShownState {
    /// It was claimed, and this is its state.
    Sent(State),
    /// It was refused here.
    Invalid(Error),
}

/// What an operator decided of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub by: String,
    /// Why.
    pub note: String,
    /// What.
    pub verdict: Verdict,
}
