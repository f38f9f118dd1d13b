//! Many seeds, and what they met together.

use std::{
    panic,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use crate::{coverage::Coverage, run::run, support::seeds::Seeds};

const DEFAULT_SEEDS: u64 = 200;
/// Each simulation has one thread.
const THREADS: usize = 2;
/// From so many seeds on, each row and each crash point must have been met so often.
const ENOUGH_SEEDS: u64 = 10_000;
const ENOUGH: u64 = 100;
/// From so many on, each at least once.
const SOME_SEEDS: u64 = 200;

#[test]
fn whatever_fails_nobody_is_messaged_twice_or_lost_and_what_is_told_is_true() {
    let seeds = Seeds::from_env(DEFAULT_SEEDS).all();
    let count = seeds.end - seeds.start;
    let next = AtomicU64::new(seeds.start);
    let (coverage, failed) = (Mutex::new(Coverage::default()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end || failed.lock().unwrap().len() >= 5 {
                        return;
                    }
                    match panic::catch_unwind(|| run(seed)) {
                        Ok(outcome) if outcome.faults.is_empty() => coverage.lock().unwrap().add(outcome.met),
                        Ok(outcome) => {
                            if count == 1 {
                                println!("{}", outcome.events.join("\n"));
                            }
                            failed.lock().unwrap().push((seed, outcome.faults));
                        }
                        Err(_) => failed.lock().unwrap().push((seed, vec!["a panic".to_owned()])),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    for (seed, faults) in &failed {
        println!("seed {seed}: {}", faults.join("\n  "));
        println!("  repeat it with: FIRST_SEED={seed} SEEDS=1 cargo test --test simulation -- --nocapture");
    }
    assert!(failed.is_empty(), "{} seeds failed", failed.len());

    let coverage = coverage.into_inner().unwrap();
    let least = match count {
        ENOUGH_SEEDS.. => ENOUGH,
        SOME_SEEDS.. => 1,
        _ => 0,
    };
    for (row, met) in coverage.rows() {
        println!("{met:>8}  {row}");
    }
    assert_eq!(coverage.unknown(), [""; 0]);
    let missed: Vec<_> = coverage.rows().filter(|(_, met)| *met < least).collect();
    assert!(missed.is_empty(), "met less than {least} times in {count} seeds: {missed:?}");
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in Seeds::from_env(8).all().take(200) {
        let (first, second) = (run(seed), run(seed));
        let differ = first.events.iter().zip(&second.events).position(|(a, b)| a != b);
        if let Some(at) = differ {
            panic!(
                "seed {seed}: {:#?} became {:#?}",
                &first.events[at.saturating_sub(5)..=at],
                &second.events[at]
            );
        }
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
}
