//! Bytes that are kept to be sent again, where the upstream's keys are proven.

use super::*;

fn frozen(text: &'static str) -> Frozen {
    Frozen { bytes: text.into(), has_immediate: true }
}

async fn freeze(ingestion: &Arc<Ingestion>, indexes: &[u64], text: &'static str) -> Claim {
    ingestion.claim(indexes.iter().copied().map(item).collect(), Some(frozen(text))).await.unwrap()
}

async fn texts(ingestion: &Arc<Ingestion>) -> Vec<String> {
    let doubts = ingestion.frozen_doubts().await.unwrap();
    doubts.into_iter().map(|doubt| String::from_utf8(doubt.bytes.to_vec()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_keeps_its_bytes_until_it_is_settled() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        // Far enough apart to take two records.
        let mut first = freeze(&ingestion, &[0, 1, 9_000], "first").await;
        first.attempt().await.unwrap();
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = freeze(&ingestion, &[3, 2], "second").await;
        assert!(texts(&ingestion).await.is_empty(), "what is on its way is not in doubt");
        drop(first);
        second.settle(vec![Event::Doubt(doubt()); 2]).await.unwrap();
        freeze(&ingestion, &[4], "added").await.settle(vec![added("m")]).await.unwrap();
        freeze(&ingestion, &[5], "released").await.release().await.unwrap();

        assert_eq!(texts(&ingestion).await, ["first", "second"]);
        assert_eq!(texts(&ingestion).await, ["first", "second"], "to look at a doubt leaves it");
        let mut doubts = ingestion.frozen_doubts().await.unwrap();
        assert!(doubts[0].claimed_at < doubts[1].claimed_at && doubts[0].has_immediate);
        assert_eq!((doubts[0].attempts, doubts[1].attempts), (2, 1));
        doubts[1].claim.attempt().await.unwrap();
        let again = doubts.remove(1);
        again.claim.settle(vec![added("m2"), added("m3")]).await.unwrap();
        doubts.remove(0).claim.leave();
        assert_eq!(texts(&ingestion).await, ["first"]);
        for (index, id) in [(2, "m2"), (3, "m3")] {
            let Some(State::Added(item)) = settled(&ingestion, index).await else { panic!() };
            assert_eq!(item.message_id.as_str(), id, "outcomes of a repeat come in index order");
        }
        assert_eq!(ledger.doubts(scope("r").workspace, &scope("r").campaign).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_which_an_item_is_settled_or_released_is_not_sent_again() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        for (indexes, other) in [([0, 1], added("m")), ([2, 3], Event::NotApplied)] {
            let batch = freeze(&ingestion, &indexes, "mixed").await;
            batch.settle(vec![Event::Doubt(doubt()), other]).await.unwrap();
        }
        let batch = freeze(&ingestion, &[4, 5], "resolved").await;
        batch.settle(vec![Event::Doubt(doubt()); 2]).await.unwrap();
        assert_eq!(texts(&ingestion).await, ["resolved"]);
        drop(ingestion);
        ledger.resolve(&scope("r"), 5, Verdict::Rejected, "ann", "").await.unwrap();
        assert!(texts(&open(&ledger, "r").await).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn without_proven_keys_nothing_is_kept_to_be_sent() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        drop(claim(&ingestion, &[0]).await.unwrap());
        assert!(texts(&ingestion).await.is_empty());
    })
    .await;
}
