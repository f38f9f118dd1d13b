//! A disk that fails and comes back: nothing is sent meanwhile, and nothing is forgotten.

use super::{disk::Survivors, *};

const WHILE: Duration = Duration::from_millis(1_100);

fn on(disk: &SimDisk) -> Ledger {
    Ledger::on_disk(disk.clone(), &KEY, Config::default(), clock()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_claims_and_heals_by_itself() {
    for read_only in [false, true] {
        let disk = SimDisk::new();
        let set = |on| if read_only { disk.set_read_only(on) } else { disk.set_full(on) };
        let ledger = on(&disk);
        let ingestion = open(&ledger, "r").await;
        let flying = claim(&ingestion, &[0, 1]).await.unwrap();
        let dropped = claim(&ingestion, &[2]).await.unwrap();
        set(true);
        let refused = claim(&ingestion, &[3]).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::LedgerUnavailable);
        assert!(refused.retry_delay().is_some());
        let unrecorded = flying.settle(vec![added("a"), Event::NotApplied]).await.unwrap_err();
        assert_eq!(unrecorded.reason(), Reason::LedgerUnavailable);
        drop(dropped);
        tokio::time::advance(WHILE).await;
        assert!(claim(&ingestion, &[3]).await.is_err(), "it is still full");
        assert!(ledger.open(scope("other"), None).await.is_err());

        set(false);
        assert!(claim(&ingestion, &[3]).await.is_err(), "it is let alone a while");
        tokio::time::advance(WHILE).await;
        let works = claim(&ingestion, &[3]).await.unwrap();
        works.settle(vec![added("d")]).await.unwrap();
        drop(ingestion);
        // What became of items while nothing could be recorded was kept, and is on record now.
        assert_eq!(told(&page(&ledger, "r").await.results), "0 added, 1 not attempted, 2 in doubt, 3 added");
    }
}

#[tokio::test]
async fn a_ledger_does_not_start_on_a_disk_that_cannot_be_written() {
    let disk = SimDisk::new();
    on(&disk).close().await;
    let config = Config::default();
    disk.set_full(true);
    let full = Ledger::on_disk(disk.clone(), &KEY, config, clock()).unwrap_err();
    assert!(matches!(full, OpenFault::NoSpace { .. }), "{full:?}");
    disk.set_full(false);
    disk.set_read_only(true);
    let read_only = Ledger::on_disk(disk.clone(), &KEY, config, clock()).unwrap_err();
    assert!(matches!(read_only, OpenFault::NotWritable { .. }), "{read_only:?}");
    disk.set_read_only(false);
    on(&disk).close().await;
}

/// Claims, settles, drops and refuses; whatever fails is tried no second time. Returns what may be told of each item.
async fn run(ledger: &Ledger) -> Vec<&'static [&'static str]> {
    let ingestion = ledger.open(scope("r"), None).await;
    let Ok(ingestion) = ingestion else { return vec![&["free"]; 4] };
    let mut told: Vec<&'static [&'static str]> = Vec::new();
    for index in 0..4 {
        told.push(match claim(&ingestion, &[index]).await {
            // Nothing was sent, so nothing may be left of it.
            Err(_) => &["free"],
            Ok(batch) if index == 1 => {
                drop(batch);
                &["in doubt"]
            }
            Ok(batch) if index == 2 => {
                let _ = batch.release().await;
                &["free"]
            }
            Ok(batch) => {
                let _ = batch.settle(vec![added("m")]).await;
                &["added"]
            }
        });
    }
    told
}

#[tokio::test(start_paused = true)]
async fn whichever_operation_fails_once_everything_is_told_rightly_when_the_disk_works_again() {
    let mut refusals = 0;
    for operation in 0.. {
        let disk = SimDisk::new();
        let ledger = on(&disk);
        let begun = disk.operations();
        disk.fail_at(begun + operation);
        let expected = run(&ledger).await;
        if disk.operations() <= begun + operation {
            assert!(refusals > 10, "{refusals} of {operation} failures were felt");
            break;
        }
        refusals += usize::from(expected.iter().any(|told| *told == ["free"].as_slice()));
        tokio::time::advance(WHILE).await;
        let again = ledger.open(scope("r"), None).await.unwrap();
        for (index, expected) in (0..).zip(&expected) {
            let now = word(settled(&again, index).await);
            assert!(
                expected.contains(&now),
                "operation {operation}: item {index} is {now}, not {expected:?}"
            );
            assert_eq!(claim(&again, &[index]).await.is_ok(), now == "free", "operation {operation}");
        }
        drop(again);
        // And so it is on the disk.
        ledger.close().await;
        let ledger = on(&disk.power_cut(Survivors::Nothing));
        let again = open(&ledger, "r").await;
        for (index, expected) in (0..).zip(&expected) {
            let now = word(settled(&again, index).await);
            assert!(now == "in doubt" || expected.contains(&now), "operation {operation}: {index} is {now}");
        }
    }
}

fn word(state: Option<State>) -> &'static str {
    match state {
        None => "free",
        Some(State::InFlight) => "in flight",
        Some(State::Added(_)) => "added",
        Some(State::Rejected(_)) => "rejected",
        Some(State::InDoubt(_)) => "in doubt",
    }
}
