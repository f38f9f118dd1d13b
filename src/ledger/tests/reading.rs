//! What is told of an ingestion.

use super::*;
use crate::model::IngestionState;

#[tokio::test]
async fn every_item_that_was_read_has_one_disposition_also_without_a_record() {
    over_both(Config::default(), async |ledger| {
        assert!(ledger.read(&scope("r"), 0, 9, ResultView::All).await.unwrap().is_none());
        let ingestion = open(&ledger, "r").await;
        let batch = claim(&ingestion, &[0, 1, 4]).await.unwrap();
        ingestion.refuse(vec![refused(2)]).await.unwrap();
        let running = page(&ledger, "r").await;
        assert_eq!(running.state, IngestionState::Running);
        assert_eq!(told(&running.results), "0 pending, 1 pending, 2 invalid, 4 pending");
        assert_eq!((running.summary.received, running.summary.pending), (4, 3));

        batch.settle(vec![added("a"), Event::Doubt(doubt()), Event::Rejected(rejection())]).await.unwrap();
        let cause = Error::new(Reason::CampaignTerminated, "it is over").with("k", "v");
        ingestion.end(0..6, Ending::Terminated(cause.clone())).await.unwrap();
        drop(ingestion);
        let ended = page(&ledger, "r").await;
        assert_eq!(ended.state, IngestionState::Ended);
        assert_eq!(
            told(&ended.results),
            "0 added, 1 in doubt, 2 invalid, 3 not attempted, 4 rejected, 5 not attempted"
        );
        assert_eq!(ended.results[5].disposition, Disposition::NotAttempted(cause));
        assert_eq!((ended.results[0].item_id.as_str(), ended.results[5].item_id.as_str()), ("item-0", ""));
        let s = ended.summary;
        assert_eq!(
            (s.received, s.added, s.in_doubt, s.invalid, s.rejected, s.not_attempted),
            (6, 1, 1, 1, 1, 2)
        );
    })
    .await;
}

#[tokio::test]
async fn a_call_that_ends_without_a_word_is_told_as_interrupted_also_after_one_that_ended() {
    over_both(Config::default(), async |ledger| {
        let first = open(&ledger, "r").await;
        first.end(0..2, Ending::Complete).await.unwrap();
        assert_eq!(page(&ledger, "r").await.state, IngestionState::Running, "its user is still there");
        drop(first);
        assert_eq!(page(&ledger, "r").await.state, IngestionState::Ended);

        let second = open(&ledger, "r").await;
        let batch = claim(&second, &[1]).await.unwrap();
        drop(second);
        assert_eq!(page(&ledger, "r").await.state, IngestionState::Running, "a batch is on its way");
        batch.release().await.unwrap();
        let page = page(&ledger, "r").await;
        assert_eq!(page.state, IngestionState::Interrupted);
        assert_eq!(told(&page.results), "0 not attempted, 1 not attempted");
    })
    .await;
}

#[tokio::test]
async fn pages_of_any_size_tell_the_same_as_one() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        for first in (0..3_000).step_by(100) {
            let indexes: Vec<u64> = (first..first + 100).filter(|n| n % 7 != 0).collect();
            let batch = claim(&ingestion, &indexes).await.unwrap();
            let event = |n: &u64| match n % 50 {
                0 | 1 => Event::Rejected(rejection()),
                2 => Event::NotApplied,
                _ => added(&format!("m{n}")),
            };
            batch.settle(indexes.iter().map(event).collect()).await.unwrap();
        }
        ingestion.refuse((0..3_000).step_by(14).map(refused).collect()).await.unwrap();
        ingestion.end(0..3_100, Ending::Complete).await.unwrap();
        drop(ingestion);
        let all = page(&ledger, "r").await;
        assert_eq!((all.results.len(), all.next), (3_100, None));
        assert!(all.results.iter().zip(0..).all(|(result, index)| result.index == index));
        let mut summary = crate::model::Summary::default();
        all.results.iter().for_each(|result| summary.count(result));
        assert_eq!(summary, all.summary);

        for (view, limit) in [(ResultView::All, 1_000), (ResultView::All, 997), (ResultView::Failures, 100)] {
            let (mut paged, mut from) = (Vec::new(), 0);
            loop {
                let page = ledger.read(&scope("r"), from, limit, view).await.unwrap().unwrap();
                assert!(page.results.len() <= limit);
                assert_eq!(page.summary, all.summary);
                paged.extend(page.results);
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
            let expected: Vec<_> =
                all.results.iter().filter(|result| view.shows(&result.disposition)).cloned().collect();
            assert_eq!(paged, expected, "{view:?} by {limit}");
        }
        let counted = ledger.read(&scope("r"), 0, 100, ResultView::Summary).await.unwrap().unwrap();
        assert_eq!((counted.results.len(), counted.next, counted.summary), (0, None, all.summary));
    })
    .await;
}

#[tokio::test]
async fn what_a_new_ingestion_knows_costs_no_look_and_what_it_did_itself_is_known() {
    let disk = SimDisk::new();
    let ledger = Ledger::on_disk(disk.clone(), &KEY, Config::default(), clock()).unwrap();
    let ingestion = open(&ledger, "r").await;
    claim(&ingestion, &[5, 6]).await.unwrap().settle(vec![added("a"), added("b")]).await.unwrap();
    disk.power_cut(disk::Survivors::Nothing);
    // The disk is dead: only what needs no look can be answered.
    assert_eq!(ingestion.known(7..1_000).await.unwrap(), []);
    assert_eq!(ingestion.known(0..5).await.unwrap(), []);
}

#[tokio::test]
async fn the_messages_of_a_campaign_are_known() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        let uuid = "0f3b1c2d-0000-4000-8000-00000000000a";
        let batch = claim(&ingestion, &[0, 1, 2]).await.unwrap();
        batch.settle(vec![added("m0"), added(uuid), Event::Doubt(doubt())]).await.unwrap();
        let known = ledger.known_messages(scope("r").workspace, &scope("r").campaign).await.unwrap();
        let ids = ["m0", uuid].map(|id| MessageId::parse(id).unwrap());
        assert_eq!(known, HashSet::from(ids));
        assert!(ledger.known_messages(WorkspaceId([9; 16]), &scope("r").campaign).await.unwrap().is_empty());
    })
    .await;
}
