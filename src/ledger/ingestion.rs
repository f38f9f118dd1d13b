//! The exclusive use of one request id, and the batches of it that are on their way.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    ClaimedItem, Ending, Event, Frozen, FrozenDoubt, Known, Ledger, Refused, Scope,
    logic::{self, Command},
    uses::Turn,
};
use crate::error::{Error, Reason};

/// Exclusive use of one request id, until the last clone is dropped: claims keep it too, so that a batch
/// which outlives its caller keeps a repeat of the call waiting until its fate is known.
#[derive(Debug)]
pub struct Ingestion {
    ledger: Ledger,
    scope: Scope,
    /// Which indexes may be on record: none of a new ingestion but those that this call put there.
    touched: Mutex<Option<Range<u64>>>,
    _turn: Turn,
}

impl Ingestion {
    pub(super) fn new(ledger: Ledger, scope: Scope, fresh: bool, turn: Turn) -> Self {
        let touched = Mutex::new((!fresh).then_some(0..u64::MAX));
        Self { ledger, scope, touched, _turn: turn }
    }

    /// What earlier calls left of the items in this range: settled ones, and invalid ones (which may come
    /// back changed). In order. Nothing is read where nothing can be on record.
    ///
    /// # Errors
    /// `LedgerUnavailable` where the records cannot be read: do not send.
    pub async fn known(&self, range: Range<u64>) -> Result<Vec<Known>, Error> {
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if touched.is_none_or(|touched| range.end <= touched.start || touched.end <= range.start) {
            return Ok(Vec::new());
        }
        let scope = self.scope.clone();
        self.ledger.store().read(move |tables, _| logic::known(tables, &scope, &range)).await
    }

    /// Records items that were refused here. On record before this returns; a later claim of the same index
    /// replaces the record.
    ///
    /// # Errors
    /// `LedgerUnavailable` where the record cannot be made; `Internal` where an item was sent before, which
    /// would be a fault of this program.
    pub async fn refuse(&self, refused: Vec<Refused>) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        self.touch(refused.iter().map(|item| item.index));
        self.ledger.store().run(Command::Refuse { scope: self.scope.clone(), refused }).await.map(drop)
    }

    /// Records that these items are about to be sent, all or none of them. On record before this returns.
    /// `frozen`: the bytes that go out, where the upstream's keys are proven.
    ///
    /// # Errors
    /// `LedgerUnavailable` where the record cannot be made; `Internal` where an item is not free to be
    /// sent, which would be a fault of this program. Either way nothing is claimed: do not send.
    pub async fn claim(
        self: &Arc<Self>,
        items: Vec<ClaimedItem>,
        frozen: Option<Frozen>,
    ) -> Result<Claim, Error> {
        let indexes: Vec<u64> = items.iter().map(|item| item.index).collect();
        self.touch(indexes.iter().copied());
        // If this caller goes away while the claim is on its way to the disk, nobody will send the batch,
        // nor settle it: then it is left in doubt, as everything that nobody can tell of.
        let mut claim = Claim::new(Arc::clone(self), indexes, true);
        let command = Command::Claim { scope: self.scope.clone(), items, frozen };
        match self.ledger.store().run(command).await {
            Ok(_) => Ok(claim),
            Err(error) => {
                claim.open = false;
                Err(error)
            }
        }
    }

    /// Batches in doubt that can be sent again, oldest first: those whose bytes are still kept.
    ///
    /// # Errors
    /// `LedgerUnavailable` where the records cannot be read.
    pub async fn frozen_doubts(self: &Arc<Self>) -> Result<Vec<FrozenDoubt>, Error> {
        let scope = self.scope.clone();
        let found = self.ledger.store().read(move |tables, _| logic::frozen_doubts(tables, &scope)).await?;
        let doubt = |batch: logic::Repeatable| FrozenDoubt {
            bytes: batch.frozen.bytes.into(),
            has_immediate: batch.frozen.has_immediate,
            claimed_at: batch.claimed_at,
            attempts: batch.attempts,
            claim: Claim::new(Arc::clone(self), batch.indexes, false),
        };
        Ok(found.into_iter().map(doubt).collect())
    }

    /// The call read these items (from its first index on) and ended thus. Visible to [`Ledger::read`] when
    /// this returns, durable soon after. Not needed for safety: without it the ingestion is told as
    /// INTERRUPTED.
    ///
    /// # Errors
    /// `LedgerUnavailable` where it cannot be recorded.
    pub async fn end(&self, read: Range<u64>, ending: Ending) -> Result<(), Error> {
        self.ledger.store().run(Command::End { scope: self.scope.clone(), read, ending }).await.map(drop)
    }

    fn touch(&self, indexes: impl Iterator<Item = u64>) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        for index in indexes {
            let range = touched.get_or_insert(index..index);
            range.start = range.start.min(index);
            range.end = range.end.max(index.saturating_add(1));
        }
    }
}

/// Items on their way upstream.
#[derive(Debug)]
#[must_use = "a claim that is dropped leaves its items in doubt"]
pub struct Claim {
    ingestion: Arc<Ingestion>,
    /// In the order in which they were claimed.
    indexes: Vec<u64>,
    /// Whether somebody must still say what became of them.
    open: bool,
}

impl Claim {
    fn new(ingestion: Arc<Ingestion>, indexes: Vec<u64>, open: bool) -> Self {
        Self { ingestion, indexes, open }
    }

    /// Records what became of the items, one event each, in the order in which they were claimed (a
    /// [`FrozenDoubt`]'s: in index order). On record before this returns.
    ///
    /// # Errors
    /// `Internal` where an event is not allowed in the item's state: then nothing is recorded, and the items
    /// are left in doubt. `LedgerUnavailable` where it could not be recorded now: the caller must be told
    /// that the items are in doubt; what became of them is recorded once the ledger works again.
    pub async fn settle(mut self, events: Vec<Event>) -> Result<(), Error> {
        debug_assert_eq!(events.len(), self.indexes.len());
        let mut events: Vec<(u64, Event)> = self.indexes.iter().copied().zip(events).collect();
        events.sort_unstable_by_key(|(index, _)| *index);
        let (scope, pieces) = (self.ingestion.scope.clone(), self.pieces());
        // If this caller goes away meanwhile, what is still in flight then is left in doubt.
        let settled = self.ingestion.ledger.store().run(Command::Settle { scope, pieces, events }).await;
        // What failed for want of the disk is made up for; what was refused changed nothing.
        self.open &= settled.as_ref().is_err_and(|error| error.reason() == Reason::Internal);
        settled.map(drop)
    }

    /// Records that nothing of the batch was applied: the items may be planned again.
    ///
    /// # Errors
    /// As for [`Claim::settle`].
    pub async fn release(self) -> Result<(), Error> {
        let events = vec![Event::NotApplied; self.indexes.len()];
        self.settle(events).await
    }

    /// Records that the batch is about to be sent once more. (The first time is recorded by the claim.) On
    /// record before this returns.
    ///
    /// # Errors
    /// `LedgerUnavailable` where it cannot be recorded: do not send.
    pub async fn attempt(&mut self) -> Result<(), Error> {
        let (scope, pieces) = (self.ingestion.scope.clone(), self.pieces());
        self.ingestion.ledger.store().run(Command::Attempt { scope, pieces }).await.map(drop)
    }

    /// Leaves a [`FrozenDoubt`]'s items in doubt, as they are. (Any other claim's items come to be in doubt.)
    pub fn leave(self) {}

    fn pieces(&self) -> Vec<u64> {
        let mut indexes = self.indexes.clone();
        indexes.sort_unstable();
        logic::pieces(&indexes)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.open {
            // Nothing can be reported from here; the items stay IN_FLIGHT at worst, which never runs again. Until they
            // are in doubt the request id stays in use, so that whoever has it next is told of them.
            let (scope, pieces) = (self.ingestion.scope.clone(), self.pieces());
            let ingestion = Arc::clone(&self.ingestion);
            self.ingestion.ledger.store().run_later(Command::Lose { scope, pieces }, ingestion);
        }
    }
}
