//! The memory of what was sent: a record before the first byte, and an outcome before the caller hears it.
//!
//! An [`Ingestion`] is the exclusive use of one request id. A [`Claim`] is a frozen batch of it on its way:
//! it must be settled or released, and one that is merely dropped (a crash of the task that held it)
//! leaves its items in doubt, because nobody can say any more what became of them.

mod fingerprint;
mod memory;
mod state;

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedMutexGuard, time::Instant};

pub use fingerprint::{Fingerprint, Fingerprinter};
use memory::{Memory, Records};
pub use state::{Event, Forbidden, State};

use crate::{
    error::{Error, Reason},
    model::{CampaignId, RequestId, WorkspaceId},
};

/// How long a call waits for another one that uses the same request id, before it is turned away.
const IN_USE_PATIENCE: Duration = Duration::from_secs(5);

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

/// How much the ledger keeps, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long after its last use an ingestion is remembered. 7 days by default.
    pub retention: Duration,
    /// The most memory for records, in bytes, roughly. 256 MiB by default: about a million items. A full
    /// ledger refuses new claims, and so nothing is sent.
    pub max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { retention: Duration::from_secs(7 * 24 * 3600), max_bytes: 256 << 20 }
    }
}

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Memory>);

impl Ledger {
    /// A ledger that lives and dies with this process.
    pub fn in_memory(config: Config) -> Self {
        Self(Arc::new(Memory::new(config)))
    }

    /// Takes exclusive use of a request id. Waits a little (never past `deadline`) while another call has it.
    ///
    /// # Errors
    /// `RequestIdInUse`, with the time after which to try again.
    pub async fn open(&self, scope: Scope, deadline: Option<Instant>) -> Result<Arc<Ingestion>, Error> {
        let patience = Instant::now() + IN_USE_PATIENCE;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let records = self.0.records(&scope);
        let waited = tokio::time::timeout_at(until, records.turn()).await;
        let turn = waited.map_err(|_| {
            Error::new(
                Reason::RequestIdInUse,
                "another call with this request_id is running: repeat this one when it has ended",
            )
            .retry_after(Duration::from_secs(1))
        })?;
        self.0.touch(&scope, &records);
        Ok(Arc::new(Ingestion { ledger: self.clone(), records, _turn: turn }))
    }
}

/// Exclusive use of one request id, until the last clone is dropped: claims keep it too, so that a batch
/// which outlives its caller keeps a repeat of the call waiting until its fate is known.
#[derive(Debug)]
pub struct Ingestion {
    ledger: Ledger,
    records: Arc<Records>,
    _turn: OwnedMutexGuard<()>,
}

impl Ingestion {
    /// What is known of an item, if it is settled: its fingerprint and its state.
    pub fn settled(&self, index: u64) -> Option<(Fingerprint, State)> {
        self.records.get(index).filter(|(_, state)| state.is_settled())
    }

    /// Records that these items are about to be sent. What is recorded is there before this returns.
    ///
    /// # Errors
    /// `LedgerUnavailable` where the record cannot be made; `Internal` where an item is not free to be
    /// sent, which would be a fault of this program. Either way nothing is claimed: do not send.
    pub async fn claim(self: &Arc<Self>, items: Vec<(u64, Fingerprint)>) -> Result<Claim, Error> {
        self.ledger.0.claim(&self.records, &items)?;
        let indexes = items.into_iter().map(|(index, _)| index).collect();
        Ok(Claim { ingestion: Arc::clone(self), indexes, open: true })
    }
}

/// Items on their way upstream.
#[derive(Debug)]
#[must_use = "a claim that is dropped leaves its items in doubt"]
pub struct Claim {
    ingestion: Arc<Ingestion>,
    indexes: Vec<u64>,
    open: bool,
}

impl Claim {
    /// Records what became of the items, one event each, in the order in which they were claimed.
    ///
    /// # Errors
    /// `Internal` where an event is not allowed in the item's state.
    pub async fn settle(mut self, events: Vec<Event>) -> Result<(), Error> {
        debug_assert_eq!(events.len(), self.indexes.len());
        self.open = false;
        self.ingestion.ledger.0.settle(&self.ingestion.records, &self.indexes, events)
    }

    /// Records that nothing of the batch was applied: the items may be planned again.
    ///
    /// # Errors
    /// As for [`Claim::settle`].
    pub async fn release(self) -> Result<(), Error> {
        let events = vec![Event::NotApplied; self.indexes.len()];
        self.settle(events).await
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.open {
            let lost = Error::new(
                Reason::OutcomeUnknown,
                "the server lost track of this item while it was being sent",
            )
            .maybe_applied();
            let events = vec![Event::Doubt(lost); self.indexes.len()];
            // Nothing can be reported from here; the items stay IN_FLIGHT at worst, which never runs again.
            let _ = self.ingestion.ledger.0.settle(&self.ingestion.records, &self.indexes, events);
        }
    }
}

#[cfg(test)]
mod tests;
