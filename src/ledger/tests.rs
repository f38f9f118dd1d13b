//! What the ledger promises, over every store that must keep it.
#![allow(clippy::unwrap_used)]

mod claims;
mod codec;
mod crash;
#[path = "../../tests/support/disk.rs"]
mod disk;
mod failing;
mod files;
mod flips;
mod frozen;
mod model;
mod operator;
mod reading;
mod retention;
mod scale;

use disk::SimDisk;

use super::*;
use crate::model::{AddedItem, Disposition, ItemResult, RequestId};

const F: Fingerprint = [7; 16];
const KEY: [u8; 32] = [3; 32];

fn clock() -> Clock {
    Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap())
}

fn scope(name: &str) -> Scope {
    Scope {
        workspace: WorkspaceId([1; 16]),
        campaign: CampaignId::parse("camp").unwrap(),
        request_id: RequestId::parse(name).unwrap(),
    }
}

/// Runs a test over the store in memory, and over the one on a disk.
async fn over_both(config: Config, test: impl AsyncFn(Ledger)) {
    test(Ledger::in_memory(config, clock())).await;
    test(Ledger::on_disk(SimDisk::new(), &KEY, config, clock()).unwrap()).await;
}

async fn open(ledger: &Ledger, name: &str) -> Arc<Ingestion> {
    ledger.open(scope(name), None).await.unwrap()
}

fn item(index: u64) -> ClaimedItem {
    ClaimedItem { index, fingerprint: F, item_id: format!("item-{index}") }
}

async fn claim(ingestion: &Arc<Ingestion>, indexes: &[u64]) -> Result<Claim, Error> {
    ingestion.claim(indexes.iter().copied().map(item).collect(), None).await
}

fn refused(index: u64) -> Refused {
    let error = Error::invalid_field("name", "is too long");
    Refused { index, item_id: format!("item-{index}"), error }
}

fn added_item(id: &str) -> AddedItem {
    AddedItem { message_id: MessageId::parse(id).unwrap(), contact_id: "c".into(), schedule: None }
}

fn added(id: &str) -> Event {
    Event::Added(std::sync::Arc::new(added_item(id)))
}

fn rejection() -> Error {
    Error::new(Reason::IdentifierInvalid, "no").with("upstream_status", "400")
}

fn doubt() -> Error {
    Error::new(Reason::OutcomeUnknown, "no answer").maybe_applied()
}

/// What is settled of an item.
async fn settled(ingestion: &Arc<Ingestion>, index: u64) -> Option<State> {
    match ingestion.known(index..index + 1).await.unwrap().pop()?.state {
        KnownState::Settled(state) => Some(state),
        KnownState::Invalid => None,
    }
}

async fn page(ledger: &Ledger, name: &str) -> IngestionPage {
    ledger.read(&scope(name), 0, usize::MAX, ResultView::All).await.unwrap().unwrap()
}

/// Each result as its index and its disposition's first letters.
fn told(results: &[ItemResult]) -> String {
    let word = |result: &ItemResult| {
        let word = match &result.disposition {
            Disposition::Added(_) => "added",
            Disposition::Invalid(_) => "invalid",
            Disposition::Rejected(_) => "rejected",
            Disposition::NotAttempted(_) => "not attempted",
            Disposition::InDoubt(_) => "in doubt",
            Disposition::Pending => "pending",
            Disposition::Valid => "valid",
        };
        format!("{} {word}", result.index)
    };
    results.iter().map(word).collect::<Vec<_>>().join(", ")
}
