//! A million items: too long for every run. `cargo test --release --lib ledger::tests::scale -- --ignored --nocapture`

use super::*;

const ITEMS: u64 = 1_000_000;

fn uuid(of: u64) -> String {
    uuid::Uuid::from_u128(u128::from(of) << 64 | u128::from(!of)).to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_ledger_with_a_million_items_is_open_within_two_seconds_of_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("ledger"), folder.path().join("copy"));
    let open_file = |path| Ledger::in_file(path, &KEY, Config::default(), Clock::System).unwrap();
    let ledger = open_file(&path);
    let ingestion = open(&ledger, "r").await;
    let began = std::time::Instant::now();
    for first in (0..ITEMS).step_by(100) {
        let items = (first..first + 100).map(|index| ClaimedItem { item_id: uuid(index), ..item(index) });
        let batch = ingestion.claim(items.collect(), None).await.unwrap();
        let added = |index| AddedItem { contact_id: uuid(index ^ 1), ..added_item(&uuid(index)) };
        let events = (first..first + 100).map(|index| Event::Added(std::sync::Arc::new(added(index))));
        batch.settle(events.collect()).await.unwrap();
    }
    let _flying = claim(&ingestion, &[ITEMS]).await.unwrap();
    println!("{:?} a batch, one at a time", began.elapsed() / (ITEMS / 100) as u32);

    // A copy of the file at this moment is what a process that is killed here leaves behind.
    std::fs::copy(&path, &copy).unwrap();
    let began = std::time::Instant::now();
    let after = open_file(&copy);
    let opened = began.elapsed();
    println!("open after {opened:?}, {} MiB", std::fs::metadata(&copy).unwrap().len() >> 20);
    let summary = after.read(&scope("r"), 0, 0, ResultView::Summary).await.unwrap().unwrap().summary;
    assert_eq!((summary.added, summary.in_doubt), (ITEMS, 1));
    assert!(opened < Duration::from_secs(2), "{opened:?}");
}
