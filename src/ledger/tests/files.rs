//! The ledger in a real file: who may open it, and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use redb::{Database, ReadableDatabase as _, TableDefinition};
use tempfile::TempDir;

use super::*;

const THEIRS: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/blubash/ledger");
    (folder, path)
}

fn in_file(path: &Path) -> Result<Ledger, OpenFault> {
    Ledger::in_file(path, &KEY, Config::default(), Clock::System)
}

/// A ledger with one added item, closed.
async fn filled(path: &Path) {
    let ledger = in_file(path).unwrap();
    let ingestion = open(&ledger, "r").await;
    let batch = claim(&ingestion, &[0]).await.unwrap();
    batch.settle(vec![added("message-0")]).await.unwrap();
    drop(ingestion);
    ledger.close().await;
}

#[tokio::test]
async fn what_was_recorded_is_there_after_a_restart_and_the_end_of_a_call_too() {
    let (_folder, path) = place();
    filled(&path).await;
    let ledger = in_file(&path).unwrap();
    let ingestion = open(&ledger, "r").await;
    assert_eq!(
        settled(&ingestion, 0).await,
        Some(State::Added(std::sync::Arc::new(added_item("message-0"))))
    );
    ingestion.end(0..3, Ending::Complete).await.unwrap();
    drop(ingestion);
    ledger.close().await;
    ledger.close().await;
    let refused = ledger.open(scope("r"), None).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::LedgerUnavailable, "a closed ledger takes nothing more");

    let ledger = in_file(&path).unwrap();
    let page = page(&ledger, "r").await;
    assert_eq!(page.state, crate::model::IngestionState::Ended);
    assert_eq!(told(&page.results), "0 added, 1 not attempted, 2 not attempted");
    ledger.close().await;
}

#[tokio::test]
async fn a_killed_process_leaves_its_batches_in_doubt_and_everything_else_as_it_was_told() {
    let (folder, path) = place();
    let ledger = in_file(&path).unwrap();
    let ingestion = open(&ledger, "r").await;
    claim(&ingestion, &[0, 1]).await.unwrap().settle(vec![added("a"), added("b")]).await.unwrap();
    let flying = claim(&ingestion, &[2, 3]).await.unwrap();
    // A copy of the file at this moment is what a process that is killed here leaves behind.
    let copy = folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    flying.settle(vec![added("c"), added("d")]).await.unwrap();

    let after = in_file(&copy).unwrap();
    assert_eq!(told(&page(&after, "r").await.results), "0 added, 1 added, 2 in doubt, 3 in doubt");
    assert_eq!(page(&after, "r").await.state, crate::model::IngestionState::Interrupted);
    assert_eq!(after.doubts(scope("r").workspace, &scope("r").campaign).await.unwrap(), 2);
    let again = open(&after, "r").await;
    for index in 0..4 {
        assert!(claim(&again, &[index]).await.is_err());
    }
}

#[tokio::test]
async fn many_calls_at_once_are_all_recorded() {
    let (_folder, path) = place();
    let ledger = in_file(&path).unwrap();
    let call = |n: u32| {
        let ledger = ledger.clone();
        async move {
            let ingestion = open(&ledger, &format!("r{n}")).await;
            for index in 0..5 {
                let batch = claim(&ingestion, &[index]).await.unwrap();
                match index {
                    3 => drop(batch),
                    _ => batch.settle(vec![added(&format!("m{n}-{index}"))]).await.unwrap(),
                }
            }
            ingestion.end(0..5, Ending::Complete).await.unwrap();
        }
    };
    futures_util::future::join_all((0..60).map(call)).await;
    ledger.close().await;
    let ledger = in_file(&path).unwrap();
    for n in 0..60 {
        let page = page(&ledger, &format!("r{n}")).await;
        assert_eq!(told(&page.results), "0 added, 1 added, 2 added, 3 in doubt, 4 added");
    }
}

#[tokio::test]
async fn a_second_process_is_turned_away_and_told_why() {
    let (_folder, path) = place();
    let ledger = in_file(&path).unwrap();
    let fault = in_file(&path).unwrap_err();
    assert!(matches!(fault, OpenFault::Locked { .. }), "{fault:?}");
    let text = fault.to_string();
    assert!(text.contains("another blubash-grpc uses the ledger") && text.contains("stop it"), "{text}");
    ledger.close().await;
    in_file(&path).unwrap().close().await;
}

#[tokio::test]
async fn what_is_not_a_whole_ledger_is_refused_and_left_as_it_is() {
    let (_folder, path) = place();
    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    let foreign = path.with_extension("redb");
    let database = Database::create(&foreign).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(THEIRS).unwrap();
    write.commit().unwrap();
    drop(database);
    let damaged: fn(&OpenFault) -> bool = |fault| matches!(fault, OpenFault::Damaged { .. });
    let not_one: fn(&OpenFault) -> bool = |fault| matches!(fault, OpenFault::NotALedger { .. });
    for (content, expected) in [
        (Vec::new(), damaged),
        (b"a list of things to buy".to_vec(), not_one),
        (vec![0; 4096], not_one),
        (fs::read(&foreign).unwrap(), not_one),
        (whole[..whole.len() / 2].to_vec(), damaged),
        (whole[..4096].to_vec(), damaged),
        (whole[..100].to_vec(), damaged),
        ([&whole[..], &[0; 100]].concat(), damaged),
    ] {
        let other = path.with_extension("other");
        fs::write(&other, &content).unwrap();
        let fault = in_file(&other).unwrap_err();
        assert!(expected(&fault), "{} bytes: {fault:?}", content.len());
        let left = fs::read(&other).unwrap();
        if content.starts_with(b"redb") && not_one(&fault) {
            // Another program's database was looked into, as that program itself looks into it.
            assert!(Database::open(&other).unwrap().begin_read().unwrap().open_table(THEIRS).is_ok());
        } else {
            assert!(left == content, "{fault:?}: {} bytes are not as they were", content.len());
        }
    }
    let folder = in_file(path.parent().unwrap()).unwrap_err();
    assert!(matches!(folder, OpenFault::NotALedger { .. }), "{folder:?}");
}

#[tokio::test]
async fn a_ledger_of_another_secret_or_another_format_is_refused() {
    let (_folder, path) = place();
    filled(&path).await;
    let other = Ledger::in_file(&path, &[4; 32], Config::default(), Clock::System).unwrap_err();
    assert!(matches!(other, OpenFault::OtherSecret { .. }), "{other:?}");
    assert!(other.to_string().contains("--secret-file"));
    in_file(&path).unwrap().close().await;

    let database = Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    let rows = TableDefinition::<&[u8], &[u8]>::new("ledger");
    write.open_table(rows).unwrap().insert(&b"\0f"[..], &[9][..]).unwrap();
    write.commit().unwrap();
    drop(database);
    let later = in_file(&path).unwrap_err();
    assert!(matches!(later, OpenFault::OtherFormat { found: 9, known: 1, .. }), "{later:?}");
}

#[tokio::test]
async fn a_new_ledger_is_its_owners_alone_and_leaves_nothing_beside_it() {
    let (_folder, path) = place();
    filled(&path).await;
    let beside: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["ledger"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }
    let under_a_file = in_file(&path.join("ledger")).unwrap_err();
    assert!(matches!(under_a_file, OpenFault::Io { .. }), "{under_a_file:?}");
}

#[tokio::test]
async fn no_item_contact_or_message_can_be_read_off_the_disk() {
    let (_folder, path) = place();
    let ledger = in_file(&path).unwrap();
    let ingestion = open(&ledger, "r").await;
    let secret = |word: &str| format!("{word}-canary-5511999999999");
    let items = vec![ClaimedItem { item_id: secret("item"), ..item(0) }];
    let frozen = Frozen { bytes: secret("frozen").into(), has_immediate: false };
    let batch = ingestion.claim(items, Some(frozen)).await.unwrap();
    batch.settle(vec![Event::Doubt(Error::new(Reason::OutcomeUnknown, secret("why")))]).await.unwrap();
    let batch = claim(&ingestion, &[1]).await.unwrap();
    let added = AddedItem { contact_id: secret("contact"), ..added_item(&secret("message")) };
    batch.settle(vec![Event::Added(std::sync::Arc::new(added))]).await.unwrap();
    let invalid = Refused { item_id: secret("refused"), ..refused(2) };
    ingestion.refuse(vec![invalid]).await.unwrap();
    drop(ingestion);
    ledger.resolve(&scope("r"), 0, Verdict::Rejected, &secret("by"), &secret("note")).await.unwrap();
    ledger.close().await;
    let bytes = fs::read(&path).unwrap();
    let found = bytes.windows(6).filter(|part| part == b"canary").count();
    assert_eq!(found, 0);
}

#[tokio::test]
async fn a_call_that_goes_away_while_it_claims_leaves_its_items_in_doubt_for_the_next_one() {
    let (_folder, path) = place();
    let ledger = in_file(&path).unwrap();
    for round in 0..50 {
        let name = format!("r{round}");
        let ingestion = open(&ledger, &name).await;
        let mut claiming = Box::pin(claim(&ingestion, &[0]));
        // Polled once: the claim is on its way to the disk. Then nobody wants it any more.
        assert!(futures_util::poll!(claiming.as_mut()).is_pending());
        drop(claiming);
        drop(ingestion);
        let next = open(&ledger, &name).await;
        assert!(matches!(settled(&next, 0).await, Some(State::InDoubt(_))), "round {round}");
        assert!(claim(&next, &[0]).await.is_err());
    }
    ledger.close().await;
}
