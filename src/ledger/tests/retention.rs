//! Forgetting, in time and not before.

use super::*;
use crate::model::Summary;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn week() -> Config {
    Config { retention: 7 * DAY, ..Config::default() }
}

/// Any call makes a store look for what is over.
async fn elsewhere(ledger: &Ledger) {
    drop(open(ledger, "elsewhere").await);
}

#[tokio::test(start_paused = true)]
async fn an_ingestion_is_forgotten_after_its_retention_counted_from_its_last_use() {
    over_both(week(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        claim(&ingestion, &[0]).await.unwrap().settle(vec![added("m")]).await.unwrap();
        drop(ingestion);
        let expire = page(&ledger, "r").await.expire_time;

        tokio::time::advance(6 * DAY).await;
        elsewhere(&ledger).await;
        assert_eq!(page(&ledger, "r").await.expire_time, expire, "to look is not to use");
        let again = open(&ledger, "r").await;
        assert!(settled(&again, 0).await.is_some());
        drop(again);
        assert_eq!(page(&ledger, "r").await.expire_time, expire + 6 * DAY);

        tokio::time::advance(7 * DAY - Duration::from_secs(1)).await;
        elsewhere(&ledger).await;
        assert_eq!(page(&ledger, "r").await.summary.added, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(ledger.read(&scope("r"), 0, 9, ResultView::All).await.unwrap().is_none());
        let anew = open(&ledger, "r").await;
        assert!(settled(&anew, 0).await.is_none());
        let again = claim(&anew, &[0]).await.unwrap();
        again.settle(vec![added("n")]).await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_used_or_on_its_way_is_never_forgotten() {
    over_both(week(), async |ledger| {
        let used = open(&ledger, "used").await;
        claim(&used, &[0]).await.unwrap().settle(vec![added("m")]).await.unwrap();
        let flying = open(&ledger, "flying").await;
        let batch = claim(&flying, &[0]).await.unwrap();
        for _ in 0..3 {
            tokio::time::advance(7 * DAY).await;
            elsewhere(&ledger).await;
        }
        assert!(settled(&used, 0).await.is_some());
        batch.settle(vec![added("n")]).await.unwrap();
        assert_eq!(page(&ledger, "flying").await.summary.added, 1);
        assert!(claim(&used, &[0]).await.is_err());
        drop((used, flying));
        tokio::time::advance(7 * DAY).await;
        for name in ["used", "flying"] {
            assert!(ledger.read(&scope(name), 0, 9, ResultView::All).await.unwrap().is_none());
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_takes_its_doubts_along_and_gives_its_room_back() {
    let config = Config { max_bytes: 400_000, ..week() };
    over_both(config, async |ledger| {
        let (workspace, campaign) = (scope("r").workspace, scope("r").campaign);
        for round in 0..20 {
            for n in 0..20 {
                let ingestion = open(&ledger, &format!("r{round}-{n}")).await;
                ingestion.refuse(vec![refused(50)]).await.unwrap();
                for first in [0, 10, 20] {
                    let indexes: Vec<u64> = (first..first + 10).collect();
                    let batch = claim(&ingestion, &indexes).await.expect("the room is given back");
                    let events = (0..10).map(|n| if n < 2 { Event::Doubt(doubt()) } else { added("m") });
                    batch.settle(events.collect()).await.unwrap();
                }
                ingestion.end(0..60, Ending::Complete).await.unwrap();
            }
            assert_eq!(ledger.doubts(workspace, &campaign).await.unwrap(), 120);
            tokio::time::advance(7 * DAY).await;
            // As often as there are parts to take away, and once more.
            for _ in 0..10 {
                elsewhere(&ledger).await;
            }
            assert_eq!(ledger.doubts(workspace, &campaign).await.unwrap(), 0);
            assert_eq!(ledger.list_doubts(None, 9).await.unwrap().entries, []);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_ingestion_that_is_half_taken_away_is_gone_for_everyone() {
    over_both(week(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        for index in 0..1_000 {
            // Small batches make many rows.
            let batch = claim(&ingestion, &[index]).await.unwrap();
            batch.settle(vec![Event::Doubt(doubt())]).await.unwrap();
        }
        drop(ingestion);
        tokio::time::advance(7 * DAY).await;
        elsewhere(&ledger).await;
        assert!(ledger.read(&scope("r"), 0, 9, ResultView::All).await.unwrap().is_none());
        assert_eq!(ledger.doubts(scope("r").workspace, &scope("r").campaign).await.unwrap(), 0);
        let anew = open(&ledger, "r").await;
        assert_eq!(anew.known(0..2_000).await.unwrap(), []);
        let batch = claim(&anew, &[999]).await.unwrap();
        batch.settle(vec![Event::Doubt(doubt())]).await.unwrap();
        drop(anew);
        for _ in 0..10 {
            elsewhere(&ledger).await;
        }
        let expected = Summary { received: 1, in_doubt: 1, ..Summary::default() };
        assert_eq!(page(&ledger, "r").await.summary, expected);
        assert_eq!(ledger.doubts(scope("r").workspace, &scope("r").campaign).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_file_in_which_as_much_is_forgotten_as_is_added_stays_as_large_as_it_is() {
    let disk = SimDisk::new();
    let ledger = Ledger::on_disk(disk.clone(), &KEY, week(), clock()).unwrap();
    let mut sizes = Vec::new();
    for round in 0..40 {
        for n in 0..5 {
            let ingestion = open(&ledger, &format!("r{round}-{n}")).await;
            for first in (0..500).step_by(100) {
                let batch = claim(&ingestion, &(first..first + 100).collect::<Vec<_>>()).await.unwrap();
                batch.settle(vec![added("0f3b1c2d-0000-4000-8000-00000000000a"); 100]).await.unwrap();
            }
        }
        tokio::time::advance(7 * DAY).await;
        elsewhere(&ledger).await;
        sizes.push(disk.image().len());
    }
    assert_eq!(sizes[5], sizes[39], "{sizes:?}");
}
