//! A bit that flips on the disk is found, or does not matter: never is an item free again.

use super::{disk::Survivors, *};

const COUNT: u64 = 300;

/// A disk with records of every kind, left as a close leaves it or as a crash does.
async fn filled(crash: bool) -> Vec<u8> {
    let disk = SimDisk::new();
    let ledger = Ledger::on_disk(disk.clone(), &KEY, Config::default(), clock()).unwrap();
    let ingestion = open(&ledger, "r").await;
    for first in (0..COUNT).step_by(50) {
        let indexes: Vec<u64> = (first..first + 50).collect();
        let batch = claim(&ingestion, &indexes).await.unwrap();
        batch.settle(indexes.iter().map(|n| added(&format!("m{n}"))).collect()).await.unwrap();
    }
    ingestion.refuse(vec![refused(COUNT)]).await.unwrap();
    drop(ingestion);
    if !crash {
        ledger.close().await;
    }
    disk.power_cut(Survivors::Nothing).image()
}

/// Whether the flip was found.
async fn meets(image: Vec<u8>, at: usize, bit: u8) -> bool {
    let disk = SimDisk::holding(image);
    let Ok(ledger) = Ledger::on_disk(disk, &KEY, Config::default(), clock()) else { return true };
    let Ok(ingestion) = ledger.open(scope("r"), None).await else { return true };
    let mut found = false;
    match ingestion.known(0..COUNT + 1).await {
        Err(_) => found = true,
        Ok(known) => {
            assert_eq!(known.len() as u64, COUNT + 1, "byte {at}, bit {bit}: items are forgotten");
            assert!((0..).zip(&known).all(|(index, known)| known.index == index), "byte {at}, bit {bit}");
        }
    }
    for index in (0..COUNT).step_by(13) {
        assert!(claim(&ingestion, &[index]).await.is_err(), "byte {at}, bit {bit}: {index} is free again");
    }
    found
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_harmless_and_never_frees_an_item() {
    for crash in [false, true] {
        let image = filled(crash).await;
        let mut rng = fastrand::Rng::with_seed(5);
        let header = 0..320;
        let used: Vec<usize> = (4_096..image.len()).filter(|at| image[*at] != 0).collect();
        let (mut flips, mut found) = (0, 0);
        let mut flip = async |at: usize, bit: u8| {
            let mut flipped = image.clone();
            flipped[at] ^= 1 << bit;
            flips += 1;
            found += usize::from(meets(flipped, at, bit).await);
        };
        // The flags have no checksum, and by the commits' numbers a slot is chosen: all of their bits. Elsewhere one
        // bit of a byte stands for the others.
        for at in [9].into_iter().chain(168..176).chain(296..304) {
            for bit in 0..8 {
                flip(at, bit).await;
            }
        }
        for at in header {
            flip(at, rng.u8(..8)).await;
        }
        for _ in 0..400 {
            flip(used[rng.usize(..used.len())], rng.u8(..8)).await;
        }
        println!("crash {crash}: {found} of {flips} flipped bits were found, the others did not matter");
        assert!(found > 100);
    }
}
