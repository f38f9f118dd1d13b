#![allow(clippy::unwrap_used)]

use super::{uses::PATIENCE, *};
use crate::model::{AddedItem, RequestId};

const F: Fingerprint = [7; 16];

fn scope(name: &str) -> Scope {
    Scope {
        workspace: WorkspaceId([1; 16]),
        campaign: CampaignId::parse("camp").unwrap(),
        request_id: RequestId::parse(name).unwrap(),
    }
}

fn added(id: &str) -> Event {
    let message_id = MessageId::parse(id).unwrap();
    Event::Added(Box::new(AddedItem { message_id, contact_id: "c".into(), schedule: None }))
}

fn memory(config: Config) -> Ledger {
    Ledger::in_memory(config, Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap()))
}

fn item(index: u64, fingerprint: Fingerprint) -> ClaimedItem {
    ClaimedItem { index, fingerprint, item_id: format!("item-{index}") }
}

async fn take(ingestion: &Arc<Ingestion>, indexes: &[u64]) -> Result<Claim, Error> {
    ingestion.claim(indexes.iter().map(|index| item(*index, F)).collect(), None).await
}

async fn settled(ingestion: &Arc<Ingestion>, index: u64) -> Option<(Fingerprint, State)> {
    let known = ingestion.known(index..index + 1).await.unwrap().pop()?;
    match known.state {
        KnownState::Settled(state) => Some((known.fingerprint.unwrap(), state)),
        KnownState::Invalid => None,
    }
}

async fn open(ledger: &Ledger, name: &str) -> Arc<Ingestion> {
    ledger.open(scope(name), None).await.unwrap()
}

#[tokio::test]
async fn a_settled_item_is_remembered_and_cannot_be_claimed_again() {
    let ledger = memory(Config::default());
    let ingestion = open(&ledger, "r").await;
    let claim = take(&ingestion, &[0, 3]).await.unwrap();
    assert!(settled(&ingestion, 0).await.is_none(), "in flight is not settled");
    claim
        .settle(vec![added("m0"), Event::Rejected(Error::new(Reason::IdentifierInvalid, "no"))])
        .await
        .unwrap();
    drop(ingestion);

    let again = open(&ledger, "r").await;
    assert!(
        matches!(settled(&again, 0).await, Some((F, State::Added(item))) if item.message_id.as_str() == "m0")
    );
    assert!(matches!(settled(&again, 3).await, Some((_, State::Rejected(_)))));
    assert_eq!(take(&again, &[1, 3]).await.unwrap_err().reason(), Reason::Internal);
    assert!(take(&again, &[1]).await.is_ok(), "a refused claim claims nothing");
}

#[tokio::test]
async fn a_claim_that_is_dropped_leaves_its_items_in_doubt() {
    let ledger = memory(Config::default());
    let ingestion = open(&ledger, "r").await;
    drop(take(&ingestion, &[0]).await.unwrap());
    let Some((_, State::InDoubt(error))) = settled(&ingestion, 0).await else { panic!("not in doubt") };
    assert_eq!(error.reason(), Reason::OutcomeUnknown);
    assert!(take(&ingestion, &[0]).await.is_err());
}

#[tokio::test]
async fn a_released_item_may_be_claimed_again_with_other_content() {
    let ledger = memory(Config::default());
    let ingestion = open(&ledger, "r").await;
    take(&ingestion, &[0]).await.unwrap().release().await.unwrap();
    assert!(ingestion.claim(vec![item(0, [8; 16])], None).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_second_call_waits_for_the_first_and_for_its_batches_and_is_then_turned_away() {
    let ledger = memory(Config::default());
    let first = open(&ledger, "r").await;
    let claim = take(&first, &[0]).await.unwrap();
    drop(first);

    let began = Instant::now();
    let turned_away = ledger.open(scope("r"), None).await.unwrap_err();
    assert_eq!(turned_away.reason(), Reason::RequestIdInUse);
    assert_eq!(turned_away.retry_delay(), Some(Duration::from_secs(1)));
    assert_eq!(began.elapsed(), PATIENCE);

    let deadline = Instant::now() + Duration::from_millis(200);
    assert!(ledger.open(scope("r"), Some(deadline)).await.is_err());
    assert!(Instant::now() <= deadline + Duration::from_millis(1), "waits past the deadline");

    let (second, ()) = tokio::join!(ledger.open(scope("r"), None), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        claim.settle(vec![added("m")]).await.unwrap();
    });
    assert!(matches!(settled(&second.unwrap(), 0).await, Some((_, State::Added(_)))));
}

#[tokio::test]
async fn neither_workspaces_nor_campaigns_share_a_request_id() {
    let ledger = memory(Config::default());
    let _first = open(&ledger, "r").await;
    let elsewhere = Scope { workspace: WorkspaceId([2; 16]), ..scope("r") };
    assert!(ledger.open(elsewhere, None).await.is_ok());
    let other = Scope { campaign: CampaignId::parse("other").unwrap(), ..scope("r") };
    assert!(ledger.open(other, None).await.is_ok());
}

#[tokio::test]
async fn a_full_ledger_refuses_to_claim() {
    let ledger = memory(Config { max_bytes: 2_000, ..Config::default() });
    let ingestion = open(&ledger, "r").await;
    let items = |from: u64| (from..from + 5).collect::<Vec<_>>();
    let first = take(&ingestion, &items(0)).await.unwrap();
    assert_eq!(take(&ingestion, &items(5)).await.unwrap_err().reason(), Reason::LedgerUnavailable);
    first.release().await.unwrap();
    assert!(take(&ingestion, &items(5)).await.is_ok(), "a release gives room back");
}

#[tokio::test(start_paused = true)]
async fn an_ingestion_is_forgotten_after_its_retention_counted_from_its_last_use() {
    let retention = Duration::from_secs(100);
    let ledger = memory(Config { retention, max_bytes: 4_000 });
    let claim = take(&open(&ledger, "r").await, &[0]).await.unwrap();
    claim.settle(vec![added("m")]).await.unwrap();

    tokio::time::advance(retention - Duration::from_secs(1)).await;
    assert!(settled(&open(&ledger, "r").await, 0).await.is_some());
    tokio::time::advance(retention - Duration::from_secs(1)).await;
    let in_use = open(&ledger, "r").await;
    assert!(settled(&in_use, 0).await.is_some(), "its retention began anew");
    tokio::time::advance(retention).await;
    drop(open(&ledger, "other").await);
    assert!(settled(&in_use, 0).await.is_some(), "forgotten while a call uses it");
    drop(in_use);
    tokio::time::advance(retention).await;
    drop(open(&ledger, "other").await);
    assert!(settled(&open(&ledger, "r").await, 0).await.is_none());
}
