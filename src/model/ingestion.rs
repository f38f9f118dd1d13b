//! An ingestion: what a caller asks of it, and what became of each item.

use std::sync::Arc;

use chrono_tz::Tz;

use super::{AddedItem, LocalTimePolicy, RequestId};
use crate::error::Error;

/// What governs one ingestion: the contract's `AudienceOptions`, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IngestionOptions {
    /// The caller's name for the ingestion. `None`: the server makes one up, and a repeat is a new one.
    pub request_id: Option<RequestId>,
    /// The zone for wall-clock times whose item names none.
    pub default_zone: Option<Tz>,
    /// What a wall-clock time means that clocks skip or show twice.
    pub local_time_policy: LocalTimePolicy,
    /// Which results the caller wants to see.
    pub result_view: ResultView,
    /// The most items in one upstream call, at least 1. `None`: the server's maximum.
    pub max_batch_size: Option<u32>,
    /// Check every item, send nothing, remember nothing.
    pub validate_only: bool,
    /// The index of this stream's first item.
    pub first_index: u64,
    /// Whether a recipient that stood earlier in the stream makes an item invalid.
    pub reject_duplicate_recipients: bool,
}

/// Which results a call returns. The summary always counts all items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultView {
    /// All.
    #[default]
    All,
    /// Only items that were not added.
    Failures,
    /// None.
    Summary,
}

impl ResultView {
    /// Whether a caller with this view is shown an item that met this end.
    pub fn shows(self, disposition: &Disposition) -> bool {
        match self {
            Self::All => true,
            Self::Failures => !matches!(disposition, Disposition::Added(_) | Disposition::Valid),
            Self::Summary => false,
        }
    }
}

/// Where an ingestion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestionState {
    /// A call works on it, or items of it are on their way.
    Running,
    /// Its last call ended, whatever became of its items.
    Ended,
    /// Its last call broke off, or the server stopped: a repeat finishes it.
    Interrupted,
}

/// The one fact that a caller needs before it sends an item again.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// The upstream took it.
    Added(Arc<AddedItem>),
    /// This service refused it; it was never sent.
    Invalid(Error),
    /// The upstream refused this very item.
    Rejected(Error),
    /// It was not added: the ingestion ended first, or the upstream refused the call as a whole.
    NotAttempted(Error),
    /// It was sent and no trustworthy answer came back.
    InDoubt(Error),
    /// It is on its way.
    Pending,
    /// Validation only: nothing is wrong with it.
    Valid,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemResult {
    /// Its zero-based position in the ingestion.
    pub index: u64,
    /// The caller's own key for it.
    pub item_id: String,
    /// What became of it.
    pub disposition: Disposition,
    /// Whether an earlier call with the same request id had settled it.
    pub replayed: bool,
}

/// How many items met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The dispositions' own names; see `Disposition`.
pub struct Summary {
    pub received: u64,
    pub added: u64,
    pub invalid: u64,
    pub rejected: u64,
    pub not_attempted: u64,
    pub in_doubt: u64,
    pub pending: u64,
    pub valid: u64,
    pub replayed: u64,
}

impl Summary {
    /// How many items met which end, by the end's name.
    pub fn by_disposition(&self) -> [(&'static str, u64); 7] {
        [
            ("added", self.added),
            ("invalid", self.invalid),
            ("rejected", self.rejected),
            ("not_attempted", self.not_attempted),
            ("in_doubt", self.in_doubt),
            ("pending", self.pending),
            ("valid", self.valid),
        ]
    }

    /// Counts one more result.
    pub fn count(&mut self, result: &ItemResult) {
        self.received += 1;
        self.replayed += u64::from(result.replayed);
        *match result.disposition {
            Disposition::Added(_) => &mut self.added,
            Disposition::Invalid(_) => &mut self.invalid,
            Disposition::Rejected(_) => &mut self.rejected,
            Disposition::NotAttempted(_) => &mut self.not_attempted,
            Disposition::InDoubt(_) => &mut self.in_doubt,
            Disposition::Pending => &mut self.pending,
            Disposition::Valid => &mut self.valid,
        } += 1;
    }

    /// Whether any item is one that a bare status could not tell the truth about: then the call is
    /// answered with results, whatever ended it.
    pub fn has_told_items(&self) -> bool {
        self.added + self.rejected + self.in_doubt + self.pending > 0
    }
}

/// The end of an ingestion.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingested {
    /// Its name, given or made up.
    pub request_id: RequestId,
    /// Every item of the stream, counted.
    pub summary: Summary,
    /// In item order; what the result view leaves out is left out.
    pub results: Vec<ItemResult>,
    /// Why it ended before its last item, where it did.
    pub termination: Option<Error>,
}
