//! Random schedules of changes, faults, reading, cuts and resumes, against the one truth.
//! `PROPTEST_CASES=10000 cargo test --lib watch::tests::oracle` runs as many as an issue or a release asks for.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use proptest::prelude::*;

use super::{super::WatchConfig, harness::*};
use crate::model::{Status, WatchEvent, WatchOptions, WatchPlace, WatchUpdate};

#[derive(Clone, Debug)]
enum Step {
    Add {
        first: bool,
        status: usize,
    },
    /// Any status: forwards, or back.
    Set {
        which: usize,
        status: usize,
    },
    Remove {
        which: usize,
    },
    BringBack,
    Hide {
        which: usize,
    },
    Lie {
        which: usize,
        status: usize,
    },
    Honest,
    Rotate {
        by: usize,
    },
    Fail(bool),
    Wrote,
    Join {
        skip: bool,
    },
    Leave {
        which: usize,
    },
    /// One watcher loses its stream, and goes on from its last token, or from one that came so many
    /// updates before.
    Cut {
        which: usize,
        back: usize,
    },
    /// One watcher reads what there is, up to so many updates.
    Read {
        which: usize,
        most: usize,
    },
    Wait {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (n, status) = (0..1_000_usize, 0..WORDS.len());
    prop_oneof![
        3 => (any::<bool>(), status.clone()).prop_map(|(first, status)| Step::Add { first, status }),
        6 => (n.clone(), status.clone()).prop_map(|(which, status)| Step::Set { which, status }),
        1 => n.clone().prop_map(|which| Step::Remove { which }),
        1 => Just(Step::BringBack),
        1 => n.clone().prop_map(|which| Step::Hide { which }),
        1 => (n.clone(), status).prop_map(|(which, status)| Step::Lie { which, status }),
        1 => Just(Step::Honest),
        1 => n.clone().prop_map(|by| Step::Rotate { by }),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Wrote),
        1 => any::<bool>().prop_map(|skip| Step::Join { skip }),
        1 => n.clone().prop_map(|which| Step::Leave { which }),
        3 => (n.clone(), prop_oneof![3 => Just(0), 1 => 0..HISTORY]).prop_map(|(which, back)| Step::Cut { which, back }),
        4 => (n, 1..5_usize).prop_map(|(which, most)| Step::Read { which, most }),
        6 => (1..4_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

const WORDS: [&str; 8] = ["PENDING", "QUEUED", "SENDING", "SENT", "FAILED", "CANCELLED", "HELD", "PARKED"];

/// So many of a watcher's tokens are kept.
const HISTORY: usize = 6;

/// What one watcher knows, by what it was told.
struct Mirror {
    watch: Updates,
    now: Knowledge,
    /// What it knew after its last updates, with the place that each of them named.
    history: VecDeque<(WatchPlace, Knowledge)>,
}

#[derive(Clone, Default)]
struct Knowledge {
    /// A watch that skipped the present state cannot check what was before.
    skipped: bool,
    complete: bool,
    known: BTreeMap<String, (Status, String)>,
}

impl Mirror {
    fn new(rig: &Rig, skip: bool) -> Self {
        let watch = rig.watch(WatchOptions { snapshot: !skip, ..everything() });
        let now = Knowledge { skipped: skip, ..Knowledge::default() };
        Self { watch, now, history: VecDeque::new() }
    }

    /// Loses the stream. The new one says nothing of whether the first one skipped the present state: the
    /// token knows.
    fn cut(&mut self, rig: &Rig, back: usize) {
        let Some((place, knowledge)) = self.history.get(back).or(self.history.back()).cloned() else {
            return;
        };
        self.history.drain(..back.min(self.history.len() - 1));
        self.now = knowledge;
        // The old stream goes first: if it was the only one, polling stops.
        self.watch = stream::empty().boxed();
        self.watch = rig.resume(everything(), Some(place));
    }

    fn take(&mut self, update: WatchUpdate) {
        self.now.take(update.event);
        self.history.push_front((update.place, self.now.clone()));
        self.history.truncate(HISTORY);
    }
}

impl Knowledge {
    fn take(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Changes(changes) => {
                assert!(!changes.is_empty());
                for change in changes {
                    let id = change.message.id.to_string();
                    let now = (change.message.status, change.message.upstream_status.clone());
                    let had = self.known.get(&id);
                    if !self.skipped || had.is_some() {
                        assert_eq!(change.previous, had.map(|(status, _)| *status), "{}", short(&change));
                    }
                    if change.removed {
                        assert!(self.skipped || had.is_some(), "told of the end of what it never knew");
                        assert!(!now.0.is_terminal());
                        self.known.remove(&id);
                    } else {
                        assert_ne!(had, Some(&now), "told twice: {}", short(&change));
                        assert!(self.complete || change.previous.is_none(), "a snapshot has no before");
                        self.known.insert(id, now);
                    }
                }
            }
            WatchEvent::SnapshotComplete { message_count } => {
                assert!(!self.complete);
                assert_eq!(message_count, self.known.len() as u64);
                self.complete = true;
            }
            WatchEvent::Reset => {
                self.known.clear();
                (self.skipped, self.complete) = (false, false);
            }
            WatchEvent::Heartbeat { .. } => {}
        }
    }
}

async fn run(steps: Vec<Step>, config: WatchConfig) {
    let rig = Rig::with(messages(5, "PENDING"), config);
    let mut mirrors = vec![Mirror::new(&rig, false)];
    let (mut added, mut gone) = (0, Vec::new());
    for step in steps {
        let pick = |which: usize| {
            let world = rig.world();
            (!world.messages.is_empty()).then(|| world.messages[which % world.messages.len()].0.clone())
        };
        match step {
            Step::Add { first, status } => {
                added += 1;
                let id = format!("a{added}");
                let mut world = rig.world();
                if first { world.add_first(&id, WORDS[status]) } else { world.add(&id, WORDS[status]) }
            }
            Step::Set { which, status } => {
                if let Some(id) = pick(which) {
                    rig.world().set(&id, WORDS[status]);
                }
            }
            Step::Remove { which } => {
                if let Some(id) = pick(which) {
                    rig.world().remove(&id);
                    gone.push(id);
                }
            }
            Step::BringBack => {
                if let Some(id) = gone.pop() {
                    rig.world().add(&id, "QUEUED");
                }
            }
            Step::Hide { which } => {
                if let Some(id) = pick(which) {
                    rig.world().hidden.insert(id);
                }
            }
            Step::Lie { which, status } => {
                if let Some(id) = pick(which) {
                    rig.world().stale.insert(id, WORDS[status].to_owned());
                }
            }
            Step::Honest => honest(&rig),
            Step::Rotate { by } => {
                let mut world = rig.world();
                let by = by % world.messages.len().max(1);
                world.messages.rotate_left(by);
            }
            Step::Fail(fail) => rig.world().fault = fail.then_some((503, "down")),
            Step::Wrote => rig.hub.wrote(context(1).workspace.id, &campaign()),
            Step::Join { skip } => mirrors.push(Mirror::new(&rig, skip)),
            Step::Leave { which } => {
                if !mirrors.is_empty() {
                    mirrors.swap_remove(which % mirrors.len());
                }
            }
            Step::Cut { which, back } => {
                let count = mirrors.len().max(1);
                if let Some(mirror) = mirrors.get_mut(which % count) {
                    mirror.cut(&rig, back);
                }
            }
            Step::Read { which, most } => {
                let count = mirrors.len().max(1);
                if let Some(mirror) = mirrors.get_mut(which % count) {
                    for _ in 0..most {
                        let Some(update) = mirror.watch.next().now_or_never() else { break };
                        mirror.take(update.unwrap().unwrap());
                    }
                }
            }
            Step::Wait { millis } => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
    }
    honest(&rig);
    rig.world().fault = None;
    mirrors.push(Mirror::new(&rig, false));
    // Long enough for any back-off and for the client's own attempts.
    tokio::time::sleep(Duration::from_secs(200)).await;
    for mut mirror in mirrors {
        while let Ok(update) = tokio::time::timeout(Duration::from_secs(10), mirror.watch.next()).await {
            mirror.take(update.unwrap().unwrap());
        }
        let mirror = mirror.now;
        assert!(mirror.complete);
        let truth: BTreeMap<_, _> = rig.world().messages.iter().cloned().collect();
        for (id, (status, word)) in &mirror.known {
            // A terminal message that goes is not told of.
            assert!(truth.get(id) == Some(word) || status.is_terminal() && !truth.contains_key(id), "{id}");
        }
        if !mirror.skipped {
            assert!(truth.keys().all(|id| mirror.known.contains_key(id)));
        }
    }
}

fn honest(rig: &Rig) {
    let mut world = rig.world();
    world.stale.clear();
    world.hidden.clear();
}

proptest! {
    #[test]
    fn replaying_what_a_watch_told_yields_the_upstreams_state(
        steps in prop::collection::vec(step(), 1..80),
        log_capacity in prop_oneof![2..12_usize, Just(10_000)],
        chunk in prop_oneof![1..4_usize, Just(500)],
        page_size in 1..6_u32,
    ) {
        // These readers dawdle as they please.
        let reader_patience = PATIENT;
        let config = WatchConfig { log_capacity, chunk, page_size, reader_patience, ..Default::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(steps, config));
    }
}
