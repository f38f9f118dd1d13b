#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::{AddedItem, MessageId};

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

async fn open(ledger: &Ledger, name: &str) -> Arc<Ingestion> {
    ledger.open(scope(name), None).await.unwrap()
}

#[tokio::test]
async fn a_settled_item_is_remembered_and_cannot_be_claimed_again() {
    let ledger = Ledger::in_memory(Config::default());
    let ingestion = open(&ledger, "r").await;
    let claim = ingestion.claim(vec![(0, F), (3, F)]).await.unwrap();
    assert!(ingestion.settled(0).is_none(), "in flight is not settled");
    claim
        .settle(vec![added("m0"), Event::Rejected(Error::new(Reason::IdentifierInvalid, "no"))])
        .await
        .unwrap();
    drop(ingestion);

    let again = open(&ledger, "r").await;
    assert!(matches!(again.settled(0), Some((F, State::Added(item))) if item.message_id.as_str() == "m0"));
    assert!(matches!(again.settled(3), Some((_, State::Rejected(_)))));
    assert_eq!(again.claim(vec![(1, F), (3, F)]).await.unwrap_err().reason(), Reason::Internal);
    assert!(again.claim(vec![(1, F)]).await.is_ok(), "a refused claim claims nothing");
}

#[tokio::test]
async fn a_claim_that_is_dropped_leaves_its_items_in_doubt() {
    let ledger = Ledger::in_memory(Config::default());
    let ingestion = open(&ledger, "r").await;
    drop(ingestion.claim(vec![(0, F)]).await.unwrap());
    let Some((_, State::InDoubt(error))) = ingestion.settled(0) else { panic!("not in doubt") };
    assert_eq!(error.reason(), Reason::OutcomeUnknown);
    assert!(ingestion.claim(vec![(0, F)]).await.is_err());
}

#[tokio::test]
async fn a_released_item_may_be_claimed_again_with_other_content() {
    let ledger = Ledger::in_memory(Config::default());
    let ingestion = open(&ledger, "r").await;
    ingestion.claim(vec![(0, F)]).await.unwrap().release().await.unwrap();
    assert!(ingestion.claim(vec![(0, [8; 16])]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_second_call_waits_for_the_first_and_for_its_batches_and_is_then_turned_away() {
    let ledger = Ledger::in_memory(Config::default());
    let first = open(&ledger, "r").await;
    let claim = first.claim(vec![(0, F)]).await.unwrap();
    drop(first);

    let began = Instant::now();
    let turned_away = ledger.open(scope("r"), None).await.unwrap_err();
    assert_eq!(turned_away.reason(), Reason::RequestIdInUse);
    assert_eq!(turned_away.retry_delay(), Some(Duration::from_secs(1)));
    assert_eq!(began.elapsed(), IN_USE_PATIENCE);

    let deadline = Instant::now() + Duration::from_millis(200);
    assert!(ledger.open(scope("r"), Some(deadline)).await.is_err());
    assert!(Instant::now() <= deadline + Duration::from_millis(1), "waits past the deadline");

    let (second, ()) = tokio::join!(ledger.open(scope("r"), None), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        claim.settle(vec![added("m")]).await.unwrap();
    });
    assert!(matches!(second.unwrap().settled(0), Some((_, State::Added(_)))));
}

#[tokio::test]
async fn neither_workspaces_nor_campaigns_share_a_request_id() {
    let ledger = Ledger::in_memory(Config::default());
    let _first = open(&ledger, "r").await;
    let elsewhere = Scope { workspace: WorkspaceId([2; 16]), ..scope("r") };
    assert!(ledger.open(elsewhere, None).await.is_ok());
    let other = Scope { campaign: CampaignId::parse("other").unwrap(), ..scope("r") };
    assert!(ledger.open(other, None).await.is_ok());
}

#[tokio::test]
async fn a_full_ledger_refuses_to_claim() {
    let ledger = Ledger::in_memory(Config { max_bytes: 2_000, ..Config::default() });
    let ingestion = open(&ledger, "r").await;
    let items = |from: u64| (from..from + 5).map(|index| (index, F)).collect::<Vec<_>>();
    let claim = ingestion.claim(items(0)).await.unwrap();
    assert_eq!(ingestion.claim(items(5)).await.unwrap_err().reason(), Reason::LedgerUnavailable);
    claim.release().await.unwrap();
    assert!(ingestion.claim(items(5)).await.is_ok(), "a release gives room back");
}

#[tokio::test(start_paused = true)]
async fn an_ingestion_is_forgotten_after_its_retention_counted_from_its_last_use() {
    let retention = Duration::from_secs(100);
    let ledger = Ledger::in_memory(Config { retention, max_bytes: 2_000 });
    let claim = open(&ledger, "r").await.claim(vec![(0, F)]).await.unwrap();
    claim.settle(vec![added("m")]).await.unwrap();

    tokio::time::advance(retention - Duration::from_secs(1)).await;
    assert!(open(&ledger, "r").await.settled(0).is_some());
    tokio::time::advance(retention - Duration::from_secs(1)).await;
    let in_use = open(&ledger, "r").await;
    assert!(in_use.settled(0).is_some(), "its retention began anew");
    tokio::time::advance(retention).await;
    drop(open(&ledger, "other").await);
    assert!(in_use.settled(0).is_some(), "forgotten while a call uses it");
    drop(in_use);
    tokio::time::advance(retention).await;
    drop(open(&ledger, "other").await);
    assert!(open(&ledger, "r").await.settled(0).is_none());
}
