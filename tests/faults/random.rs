//! Faults by chance. A seed is one life of an ingestion: its size, its faults, its callers' patience. What
//! the sockets make of it is not repeatable to the microsecond, so that the oracles alone decide.
//!
//! `SEEDS=500 FIRST_SEED=0 cargo test --test faults by_chance` runs more of them.

use std::{collections::BTreeMap, time::Duration};

use blubash_grpc::pb::{AddAudienceResponse, Disposition};
use fastrand::Rng;
use futures_util::{StreamExt as _, stream};

use crate::{
    harness::{App, IMPATIENT, person},
    support::seeds::Seeds,
    upstream::{
        Ending::{Close, Reset},
        Fault, Goodbye, Lie, Point,
    },
};

const DEFAULT_SEEDS: u64 = 40;

fn fault(rng: &mut Rng) -> Fault {
    let points = [
        Point::BeforeReading,
        Point::WhileReading,
        Point::BeforeApplying,
        Point::AfterApplying,
        Point::InTheAnswersHead,
        Point::InTheAnswersBody,
    ];
    let lies = [
        Lie::LengthTooLong,
        Lie::LengthTooShort,
        Lie::LengthGarbage,
        Lie::TwoLengths,
        Lie::BrokenChunk,
        Lie::ChunksWithoutEnd,
        Lie::NotJson,
        Lie::OneTooFew,
        Lie::OneTooMany,
        Lie::RepeatedIds,
        Lie::EmptyIds,
    ];
    let applied = rng.bool();
    match rng.u8(0..20) {
        0..4 => Fault::None,
        4..8 => Fault::Cut(*rng.choice(&points).unwrap(), if rng.bool() { Reset } else { Close }),
        8..10 => Fault::Lie(*rng.choice(&lies).unwrap()),
        10 => Fault::Hang { applied },
        11 => Fault::Drip(Duration::from_micros(rng.u64(0..3_000))),
        12 => Fault::ContinueThenClose { applied },
        13 => Fault::InterimThenAnswer,
        14 => Fault::Gibberish { applied },
        15 => {
            let goodbye = *rng.choice(&[Goodbye::Echo, Goodbye::Added, Goodbye::TooMany]).unwrap();
            Fault::Stray(goodbye, Duration::from_micros(rng.u64(0..500)))
        }
        16 => Fault::Redirect(*rng.choice(&[301, 302, 307, 308]).unwrap()),
        17 => Fault::Status { status: *rng.choice(&[408, 409, 500, 502, 503, 504]).unwrap(), applied },
        _ => Fault::Status { status: *rng.choice(&[421, 425, 429]).unwrap(), applied: false },
    }
}

/// What was told of each item, and how many messages it had by then.
#[derive(Default)]
struct Told(BTreeMap<usize, (Disposition, String, usize)>);

impl Told {
    /// What is settled stays as it was told, and whoever is in doubt is not sent again.
    fn hear(&mut self, app: &App, answer: &AddAudienceResponse) {
        for result in &answer.results {
            let index = usize::try_from(result.index).unwrap();
            let id = result.added.clone().unwrap_or_default().message_id;
            let messages = app.upstream.state.truth.of(&person(index)).len();
            let now = (result.disposition(), id, messages);
            if let Some(before) = self.0.get(&index) {
                assert_eq!(now, *before, "item {index}: the second is what was told before");
            }
            if matches!(now.0, Disposition::Added | Disposition::Rejected | Disposition::InDoubt) {
                self.0.insert(index, now);
            }
        }
    }
}

async fn live(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let faults: Vec<_> = (0..rng.usize(1..10)).map(|_| fault(&mut rng)).collect();
    let (count, batch) = (rng.usize(1..12), rng.i32(1..5));
    let story = format!("{count} items by {batch}, {faults:?}");
    let app = App::start(IMPATIENT, faults).await;
    let mut told = Told::default();
    for _ in 0..rng.usize(1..4) {
        let timeout = Duration::from_millis(rng.u64(50..3_000));
        // Two callers at once, at times, and a caller who hangs up.
        let first = app.add_within("seeded", count, batch, timeout);
        let answers = match rng.u8(0..4) {
            0 => {
                let (first, second) = tokio::join!(first, app.add("seeded", count, batch));
                // What one did not attempt, the other may have by now.
                let settled = |mut answer: AddAudienceResponse| {
                    answer.results.retain(|result| result.disposition() != Disposition::NotAttempted);
                    answer
                };
                vec![first.map(settled), second.map(settled)]
            }
            1 => {
                let patience = Duration::from_millis(rng.u64(1..100));
                tokio::time::timeout(patience, first).await.into_iter().collect()
            }
            _ => vec![first.await],
        };
        for answer in answers.iter().flatten() {
            app.hold_against_the_truth(answer, &story);
            told.hear(&app, answer);
        }
    }
    app.upstream.mend();
    // Longer than the circuit breaker is open.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(if told.0.is_empty() { 250 } else { 1 })).await;
        let Ok(answer) = app.add("seeded", count, batch).await else { continue };
        app.hold_against_the_truth(&answer, &story);
        told.hear(&app, &answer);
        assert_eq!(answer.results.len(), count, "{story}");
        if told.0.len() == count {
            assert_eq!(app.upstream.led_astray(), 0, "{story}");
            return;
        }
    }
    panic!("with the upstream well again the ingestion found no end: {story}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_by_chance_message_nobody_twice_and_nothing_untrue_is_told() {
    let seeds = Seeds::from_env(DEFAULT_SEEDS);
    let lives = stream::iter(seeds.all()).map(|seed| async move { (seed, tokio::spawn(live(seed)).await) });
    let mut lives = lives.buffer_unordered(8);
    while let Some((seed, lived)) = lives.next().await {
        assert!(
            lived.is_ok(),
            "seed {seed}; repeat it with: FIRST_SEED={seed} SEEDS=1 cargo test --test faults by_chance"
        );
    }
}
