//! The memory of what was sent: a record before the first byte, and an outcome before the caller hears it.
//!
//! An [`Ingestion`] is the exclusive use of one request id. A [`Claim`] is a frozen batch of it on its way:
//! it must be settled or released, and one that is merely dropped (a crash of the task that held it)
//! leaves its items in doubt, because nobody can say any more what became of them.
//!
//! One logic (`logic`) over rows by key, and stores that hold the rows (`store`). Every transition goes through one
//! pure machine (`state`).

mod codec;
mod fingerprint;
mod ingestion;
mod key;
mod logic;
mod record;
mod state;
mod store;
mod tables;
mod types;
mod uses;

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;

pub use fingerprint::{Fingerprint, Fingerprinter};
pub use ingestion::{Claim, Ingestion};
pub use state::{Event, Forbidden, State};
pub use store::OpenFault;
pub use types::{
    Audit, ClaimedItem, DoubtCursor, DoubtPage, Doubted, Ending, Frozen, FrozenDoubt, IngestionPage, Known,
    KnownState, Refused, Scope, Shown, ShownItem, ShownState, Verdict,
};

use self::{
    logic::{Answer, Command},
    store::Store,
};
use crate::{
    clock::Clock,
    error::{Error, Reason},
    model::{CampaignId, MessageId, RequestId, ResultView, WorkspaceId},
};

/// How much the ledger keeps, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How long after its last use an ingestion is remembered. 7 days by default.
    pub retention: Duration,
    /// The most room for records, in bytes: of memory, or of the file's pages. 256 MiB by default: a million
    /// items and more. A full ledger refuses new claims, and so nothing is sent. (The file is longer than what
    /// is used of it: it grows by doubling, with holes.)
    pub max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { retention: Duration::from_secs(7 * 24 * 3600), max_bytes: 256 << 20 }
    }
}

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Store>);

impl Ledger {
    /// A ledger that lives and dies with this process.
    pub fn in_memory(config: Config, clock: Clock) -> Self {
        Self(Arc::new(Store::in_memory(config, clock)))
    }

    /// Opens the ledger in this file, which is made if nothing is there (mode 0600, its folder 0700). One process at a
    /// time may have it open. What a former process left on its way is in doubt from here on.
    ///
    /// `sealing_key`: 32 secret bytes that serve nothing else; without them nobody can read the file.
    ///
    /// # Errors
    /// [`OpenFault`], which says what to do. What exists is never replaced.
    pub fn in_file(
        path: &Path,
        sealing_key: &[u8; 32],
        config: Config,
        clock: Clock,
    ) -> Result<Self, OpenFault> {
        Store::in_file(path, sealing_key, config, clock).map(|store| Self(Arc::new(store)))
    }

    /// The same ledger over any storage that redb can use (an empty one becomes a ledger), written by whoever asks
    /// and not by a thread: for simulations, which need every run of a seed to be the same.
    ///
    /// # Errors
    /// As for [`Ledger::in_file`].
    pub fn on_disk(
        disk: impl redb::StorageBackend,
        sealing_key: &[u8; 32],
        config: Config,
        clock: Clock,
    ) -> Result<Self, OpenFault> {
        Store::on_disk(disk, sealing_key, config, clock).map(|store| Self(Arc::new(store)))
    }

    /// Brings to the disk what is not there yet, and closes the file, so that the next process can open it. Every use
    /// must have ended: what comes later is refused. May be called again.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Takes exclusive use of a request id. Waits a little (never past `deadline`) while another call has it.
    ///
    /// # Errors
    /// `RequestIdInUse`, with the time after which to try again; `LedgerUnavailable` where the ledger is down,
    /// or too full for one more.
    pub async fn open(&self, scope: Scope, deadline: Option<Instant>) -> Result<Arc<Ingestion>, Error> {
        let turn = self.0.uses().turn(scope.clone(), deadline).await.ok_or_else(in_use)?;
        let opened = self.0.run(Command::Open { scope: scope.clone() }).await?;
        let fresh = opened == Answer::Opened { fresh: true };
        Ok(Arc::new(Ingestion::new(self.clone(), scope, fresh, turn)))
    }

    /// How much it holds, and the most that it may, in bytes, as its limit counts them.
    pub fn bytes(&self) -> (usize, usize) {
        self.0.bytes()
    }

    /// What became of an ingestion's items: up to `limit` results from index `from` on, in order, that `view`
    /// lets through. `None`: never seen, or forgotten.
    ///
    /// # Errors
    /// `LedgerUnavailable` where the records cannot be read.
    pub async fn read(
        &self,
        scope: &Scope,
        from: u64,
        limit: usize,
        view: ResultView,
    ) -> Result<Option<IngestionPage>, Error> {
        let (scope, in_use) = (scope.clone(), self.0.uses().is_used(scope));
        self.0
            .read(move |tables, moment| logic::page(tables, &scope, from, limit, view, moment, in_use))
            .await
    }

    /// How many items of a campaign are in doubt and not resolved.
    ///
    /// # Errors
    /// As for [`Ledger::read`].
    pub async fn doubts(&self, workspace: WorkspaceId, campaign: &CampaignId) -> Result<u64, Error> {
        let campaign = campaign.clone();
        self.0.read(move |tables, _| logic::doubts(tables, workspace, &campaign)).await
    }

    /// Batches with items in doubt, over all workspaces.
    ///
    /// # Errors
    /// As for [`Ledger::read`].
    pub async fn list_doubts(&self, after: Option<DoubtCursor>, limit: usize) -> Result<DoubtPage, Error> {
        self.0.read(move |tables, _| logic::list_doubts(tables, after.as_ref(), limit)).await
    }

    /// The ingestions of this name, one a workspace at most: a request id means something only within one.
    ///
    /// # Errors
    /// As for [`Ledger::read`].
    pub async fn scopes(&self, campaign: &CampaignId, request_id: &RequestId) -> Result<Vec<Scope>, Error> {
        let (campaign, request_id) = (campaign.clone(), request_id.clone());
        self.0.read(move |tables, _| logic::scopes(tables, &campaign, &request_id)).await
    }

    /// Up to `limit` recorded items of an ingestion from index `from` on, with what was done to them. `None`:
    /// never seen, or forgotten.
    ///
    /// # Errors
    /// As for [`Ledger::read`].
    pub async fn show(&self, scope: &Scope, from: u64, limit: usize) -> Result<Option<Shown>, Error> {
        let (scope, in_use) = (scope.clone(), self.0.uses().is_used(scope));
        self.0.read(move |tables, moment| logic::show(tables, &scope, from, limit, moment, in_use)).await
    }

    /// Takes an operator's word for what became of an item in doubt: `by` and `note` are kept with it. On
    /// record before this returns. The rest of the item's batch can then be resolved by such words only.
    ///
    /// # Errors
    /// `IngestionNotFound` for an unknown ingestion or item, `FieldInvalid` for an item that is not in doubt,
    /// `RequestIdInUse` while a call uses the ingestion, `LedgerUnavailable` where it cannot be recorded.
    pub async fn resolve(
        &self,
        scope: &Scope,
        index: u64,
        verdict: Verdict,
        by: &str,
        note: &str,
    ) -> Result<(), Error> {
        // Not while a call may be finding out by itself.
        let _turn = self.0.uses().turn(scope.clone(), None).await.ok_or_else(in_use)?;
        let (scope, by, note) = (scope.clone(), by.to_owned(), note.to_owned());
        self.0.run(Command::Resolve { scope, index, verdict, by, note }).await.map(drop)
    }

    /// Every message that is on record as added to a campaign.
    ///
    /// # Errors
    /// As for [`Ledger::read`].
    pub async fn known_messages(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
    ) -> Result<HashSet<MessageId>, Error> {
        let campaign = campaign.clone();
        self.0.read(move |tables, _| logic::known_messages(tables, workspace, &campaign)).await
    }

    fn store(&self) -> &Store {
        &self.0
    }
}

fn in_use() -> Error {
    Error::new(
        Reason::RequestIdInUse,
        "another call with this request_id is running: repeat this one when it has ended",
    )
    .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests;
