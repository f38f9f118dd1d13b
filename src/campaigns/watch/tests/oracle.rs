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
    /// Anywhere in the list: in front, at the end, in the middle; one, or more than a page.
    Add {
        at: usize,
        count: usize,
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
    /// All of the list, by a seed.
    Shuffle {
        seed: u64,
    },
    Fail(bool),
    Wrote,
    /// One more watches, all of it, or if there is a bit in `named` the messages of that number.
    Join {
        skip: bool,
        named: u16,
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
        4 => (place(), prop_oneof![6 => Just(1), 1 => 2..20_usize], status.clone())
            .prop_map(|(at, count, status)| Step::Add { at, count, status }),
        6 => (n.clone(), status.clone()).prop_map(|(which, status)| Step::Set { which, status }),
        1 => n.clone().prop_map(|which| Step::Remove { which }),
        1 => Just(Step::BringBack),
        1 => n.clone().prop_map(|which| Step::Hide { which }),
        1 => (n.clone(), status).prop_map(|(which, status)| Step::Lie { which, status }),
        1 => Just(Step::Honest),
        1 => n.clone().prop_map(|by| Step::Rotate { by }),
        1 => any::<u64>().prop_map(|seed| Step::Shuffle { seed }),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Wrote),
        1 => (any::<bool>(), prop_oneof![Just(0), any::<u16>()])
            .prop_map(|(skip, named)| Step::Join { skip, named }),
        1 => n.clone().prop_map(|which| Step::Leave { which }),
        3 => (n.clone(), prop_oneof![3 => Just(0), 1 => 0..HISTORY]).prop_map(|(which, back)| Step::Cut { which, back }),
        4 => (n, 1..5_usize).prop_map(|(which, most)| Step::Read { which, most }),
        6 => (1..4_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// A place in the list, in per mille of its length: most often one of its ends.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1_000), 0..=1_000_usize]
}

const WORDS: [&str; 8] = ["PENDING", "QUEUED", "SENDING", "SENT", "FAILED", "CANCELLED", "HELD", "PARKED"];

/// So many of a watcher's tokens are kept.
const HISTORY: usize = 6;

/// What one watcher knows, by what it was told.
struct Mirror {
    watch: Updates,
    options: WatchOptions,
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
    fn new(rig: &Rig, skip: bool, named: u16) -> Self {
        let ids = (0..16).filter(|n| named & 1 << n > 0).map(|n| id(&format!("m{n}")));
        let options = WatchOptions { message_ids: ids.collect(), ..everything() };
        let watch = rig.watch(WatchOptions { snapshot: !skip, ..options.clone() });
        let now = Knowledge { skipped: skip, ..Knowledge::default() };
        Self { watch, options, now, history: VecDeque::new() }
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
        self.watch = rig.resume(self.options.clone(), Some(place));
    }

    /// What it does not know, or knows wrongly.
    fn wrong(&self, rig: &Rig) -> Option<String> {
        let Knowledge { skipped, complete, known } = &self.now;
        if !complete {
            return Some("it was never told all".to_owned());
        }
        let mut truth: BTreeMap<_, _> = rig.world().messages.iter().cloned().collect();
        truth.retain(|known, _| self.options.watches(&id(known)));
        let is_false = |(id, (status, word)): &(&String, &(Status, String))| {
            // A terminal message that goes is not told of; nor need one be that moves on against all custom,
            // where nobody watches more than it.
            let is_named = !self.options.message_ids.is_empty();
            let passes = status.is_terminal() && (is_named || !truth.contains_key(*id));
            truth.get(*id) != Some(word) && !passes
        };
        let lost = truth.keys().find(|id| !skipped && !known.contains_key(*id));
        lost.or(known.iter().find(is_false).map(|(id, _)| id)).cloned()
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

async fn run(steps: Vec<Step>, world: World, config: WatchConfig) {
    let rig = Rig::with(world, config);
    let mut mirrors = vec![Mirror::new(&rig, false, 0)];
    let (mut added, mut gone) = (0, Vec::new());
    for step in steps {
        let pick = |which: usize| {
            let world = rig.world();
            (!world.messages.is_empty()).then(|| world.messages[which % world.messages.len()].0.clone())
        };
        match step {
            Step::Add { at, count, status } => {
                let mut world = rig.world();
                for _ in 0..count {
                    added += 1;
                    let at = at * world.messages.len() / 1_000;
                    world.messages.insert(at, (format!("a{added}"), WORDS[status].to_owned()));
                }
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
            Step::Shuffle { seed } => fastrand::Rng::with_seed(seed).shuffle(&mut rig.world().messages),
            Step::Fail(fail) => rig.world().fault = fail.then_some((503, "down")),
            Step::Wrote => rig.hub.wrote(context(1).workspace.id, &campaign()),
            Step::Join { skip, named } => mirrors.push(Mirror::new(&rig, skip, named)),
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
    mirrors.push(Mirror::new(&rig, false, 0));
    mirrors.push(Mirror::new(&rig, false, 0b1010_0101));
    // Sooner or later all know the truth: 400 s are enough for any back-off, for the client's own attempts,
    // and for full rounds to be paid for.
    for turn in 1.. {
        tokio::time::sleep(Duration::from_secs(20)).await;
        for mirror in &mut mirrors {
            while let Some(update) = mirror.watch.next().now_or_never() {
                mirror.take(update.unwrap().unwrap());
            }
        }
        let Some(wrong) = mirrors.iter().find_map(|mirror| mirror.wrong(&rig)) else { break };
        assert!(turn < 20, "{wrong}");
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
        page_size in 1..12_u32,
        count in prop_oneof![0..6_usize, 0..60_usize],
        open in prop_oneof![Just(1), 2..20_usize],
        tells_total: bool,
        cap in prop::option::of(2..8_usize),
    ) {
        let mut world = World { tells_total, cap, ..World::default() };
        // A few that are open at one of the ends or between, the others terminal.
        (0..count).for_each(|n| world.add(&format!("m{n}"), if n % open == 0 { "PENDING" } else { "SENT" }));
        // These readers dawdle as they please.
        let reader_patience = PATIENT;
        // Slow enough to hold polling back now and then.
        let poll_rate = 4;
        let config =
            WatchConfig { log_capacity, chunk, page_size, poll_rate, reader_patience, ..Default::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(run(steps, world, config));
    }
}
