//! Every crash point of a scripted run: the power goes at each single operation of the disk.

use std::collections::BTreeMap;

use super::{disk::Survivors, *};

/// What may be told of an item after a crash. What was acknowledged is told; of what was on its way to the disk
/// when the power went, before and after are both true.
#[derive(Default)]
struct May(BTreeMap<u64, Vec<&'static str>>);

impl May {
    /// Something is about to be recorded.
    fn begin(&mut self, told: &[(u64, &'static str)]) {
        for (index, word) in told {
            self.0.entry(*index).or_insert_with(|| vec!["free"]).push(word);
        }
    }

    /// It was acknowledged.
    fn acknowledge(&mut self, told: &[(u64, &'static str)]) {
        for (index, word) in told {
            self.0.insert(*index, vec![word]);
        }
    }
}

/// Does the whole script, or as much as the disk lets it. `true`: all of it.
async fn script(ledger: &Ledger, may: &mut May) -> Result<bool, Error> {
    let ingestion = ledger.open(scope("r"), None).await?;
    // Mixed outcomes of one batch.
    let claimed = [0, 1, 2, 3].map(|index| (index, "in doubt"));
    may.begin(&claimed);
    let batch = claim(&ingestion, &[0, 1, 2, 3]).await?;
    may.acknowledge(&claimed);
    let told = [(0, "added"), (1, "rejected"), (2, "in doubt"), (3, "free")];
    may.begin(&told);
    let events = vec![added("m0"), Event::Rejected(rejection()), Event::Doubt(doubt()), Event::NotApplied];
    batch.settle(events).await?;
    may.acknowledge(&told);
    // Refused here, then one of them mended.
    let told = [(4, "invalid"), (5, "invalid"), (6, "invalid")];
    may.begin(&told);
    ingestion.refuse(vec![refused(4), refused(5), refused(6)]).await?;
    may.acknowledge(&told);
    let claimed = [(5, "in doubt"), (7, "in doubt"), (3, "in doubt")];
    may.begin(&claimed);
    let second = claim(&ingestion, &[5, 7, 3]).await?;
    may.acknowledge(&claimed);
    // Two batches on their way at once, one with bytes that are kept.
    let claimed = [(20, "in doubt"), (21, "in doubt")];
    may.begin(&claimed);
    let frozen = Frozen { bytes: "frozen".into(), has_immediate: false };
    let items = vec![item(20), item(21)];
    let mut third = ingestion.claim(items, Some(frozen)).await?;
    may.acknowledge(&claimed);
    third.attempt().await?;
    let told = [(5, "added"), (7, "added"), (3, "added")];
    may.begin(&told);
    second.settle(vec![added("m5"), added("m7"), added("m3")]).await?;
    may.acknowledge(&told);
    third.settle(vec![Event::Doubt(doubt()); 2]).await?;
    ingestion.end(0..22, Ending::Complete).await?;
    drop(ingestion);
    // An operator's word.
    let told = [(2, "rejected")];
    may.begin(&told);
    ledger.resolve(&scope("r"), 2, Verdict::Rejected, "ann", "").await?;
    may.acknowledge(&told);
    // A second call finishes the doubt, and drops a claim.
    let ingestion = ledger.open(scope("r"), None).await?;
    let Some(again) = ingestion.frozen_doubts().await?.pop() else { return Ok(false) };
    let told = [(20, "added"), (21, "added")];
    may.begin(&told);
    again.claim.settle(vec![added("m20"), added("m21")]).await?;
    may.acknowledge(&told);
    let claimed = [(8, "in doubt")];
    may.begin(&claimed);
    drop(claim(&ingestion, &[8]).await?);
    may.acknowledge(&claimed);
    Ok(true)
}

fn on(disk: &SimDisk) -> Result<Ledger, OpenFault> {
    Ledger::on_disk(disk.clone(), &KEY, Config::default(), clock())
}

async fn check(ledger: &Ledger, may: &May, point: &str) {
    let ingestion = open(ledger, "r").await;
    let known = ingestion.known(0..1_000).await.unwrap();
    let mut told: BTreeMap<u64, &str> = BTreeMap::new();
    for known in known {
        let word = match known.state {
            KnownState::Invalid => "invalid",
            KnownState::Settled(State::Added(_)) => "added",
            KnownState::Settled(State::Rejected(_)) => "rejected",
            KnownState::Settled(State::InDoubt(_)) => "in doubt",
            KnownState::Settled(State::InFlight) => panic!("{point}: in flight after a crash"),
        };
        told.insert(known.index, word);
    }
    for (index, word) in &told {
        assert!(may.0.contains_key(index), "{point}: {index} is {word}, and was never claimed");
    }
    for (index, may) in &may.0 {
        let word = told.get(index).copied().unwrap_or("free");
        assert!(may.contains(&word), "{point}: {index} is {word}, not one of {may:?}");
        let free = matches!(word, "free" | "invalid");
        if !free {
            assert!(claim(&ingestion, &[*index]).await.is_err(), "{point}: {index} could be sent twice");
        }
    }
    let doubts = told.values().filter(|word| **word == "in doubt").count() as u64;
    assert_eq!(ledger.doubts(scope("r").workspace, &scope("r").campaign).await.unwrap(), doubts, "{point}");
    let page = page(ledger, "r").await;
    let summary = page.summary;
    let count = |word: &str| told.values().filter(|told| **told == word).count() as u64;
    assert_eq!(
        (summary.added, summary.rejected, summary.in_doubt, summary.invalid, summary.pending),
        (count("added"), count("rejected"), count("in doubt"), count("invalid"), 0),
        "{point}"
    );
    for doubt in ingestion.frozen_doubts().await.unwrap() {
        assert_eq!(
            (&doubt.bytes[..], doubt.attempts),
            (&b"frozen"[..], doubt.attempts.clamp(1, 2)),
            "{point}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn at_every_crash_point_what_was_acknowledged_is_told_and_nothing_can_be_sent_twice() {
    let founded = SimDisk::new();
    on(&founded).unwrap().close().await;
    let image = founded.image();
    let mut points = 0;
    for at in 0.. {
        let mut whole = false;
        for survivors in
            [Survivors::Nothing, Survivors::Everything, Survivors::Some(at), Survivors::Some(at + 7_000)]
        {
            let point = format!("operation {at}, {survivors:?}");
            let disk = SimDisk::holding(image.clone());
            disk.cut_at(at);
            let mut may = May::default();
            if let Ok(ledger) = on(&disk) {
                whole = script(&ledger, &mut may).await.is_ok_and(|whole| whole);
            }
            let mut disk = disk.power_cut(survivors);
            points += 1;
            // The power goes again while the ledger recovers, and then no more.
            if let Survivors::Some(seed) = survivors {
                disk.cut_at(disk.operations() + seed % 23);
                let recovered = on(&disk).is_ok();
                disk = disk.power_cut(Survivors::Some(seed + 1));
                points += usize::from(!recovered);
            }
            let ledger = on(&disk).unwrap_or_else(|fault| panic!("{point}: {fault}"));
            check(&ledger, &may, &point).await;
            ledger.close().await;
            check(&on(&disk).unwrap(), &may, &format!("{point}, once more")).await;
        }
        if whole {
            println!("{points} crash points");
            assert!(at > 100, "the script had {at} operations");
            break;
        }
    }
}
