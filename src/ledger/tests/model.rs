//! Any sequence of commands, against the simplest thing that could be right.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{disk::Survivors, *};

const NAMES: [&str; 2] = ["r", "s"];

#[derive(Clone, Debug)]
enum Act {
    Claim(usize, Vec<u64>),
    /// Of the claim at this place, these outcomes, over and over.
    Settle(usize, Vec<u8>),
    Drop(usize),
    Refuse(usize, Vec<u64>),
    Resolve(usize, u64, bool),
    End(usize, u64, u64),
    /// Everybody lets go, and the ledger is closed and opened again.
    Restart,
    /// The power goes.
    Crash(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    // Near each other, and now and then far apart.
    let index = prop_oneof![8 => 0_u64..30, 1 => 9_000_u64..9_003];
    let indexes = move || prop::collection::btree_set(index.clone(), 1..8);
    let name = || 0..NAMES.len();
    prop_oneof![
        6 => (name(), indexes().prop_shuffle_set()).prop_map(|(n, i)| Act::Claim(n, i)),
        6 => (0_usize..8, prop::collection::vec(0_u8..5, 1..5)).prop_map(|(c, e)| Act::Settle(c, e)),
        1 => (0_usize..8).prop_map(Act::Drop),
        3 => (name(), indexes().prop_shuffle_set()).prop_map(|(n, i)| Act::Refuse(n, i)),
        2 => (name(), 0_u64..30, any::<bool>()).prop_map(|(n, i, a)| Act::Resolve(n, i, a)),
        1 => (name(), 0_u64..20, 0_u64..20).prop_map(|(n, from, length)| Act::End(n, from, from + length)),
        1 => Just(Act::Restart),
        1 => any::<u64>().prop_map(Act::Crash),
    ]
}

/// Sets as vectors in any order.
trait Shuffled: Strategy {
    fn prop_shuffle_set(self) -> BoxedStrategy<Vec<u64>>;
}

impl<S: Strategy<Value = std::collections::BTreeSet<u64>> + 'static> Shuffled for S {
    fn prop_shuffle_set(self) -> BoxedStrategy<Vec<u64>> {
        self.prop_map(|set| set.into_iter().collect::<Vec<_>>()).prop_shuffle().boxed()
    }
}

/// What is recorded of each item: nothing more.
type Model = [BTreeMap<u64, &'static str>; 2];

struct Run {
    disk: Option<SimDisk>,
    ledger: Ledger,
    ingestions: [Option<Arc<Ingestion>>; 2],
    claims: Vec<(usize, Vec<u64>, Claim)>,
    model: Model,
}

impl Run {
    fn new(on_disk: bool) -> Self {
        let disk = on_disk.then(SimDisk::new);
        let ledger = Self::start(disk.as_ref());
        Self { disk, ledger, ingestions: [None, None], claims: Vec::new(), model: Model::default() }
    }

    fn start(disk: Option<&SimDisk>) -> Ledger {
        match disk {
            Some(disk) => Ledger::on_disk(disk.clone(), &KEY, Config::default(), clock()).unwrap(),
            None => Ledger::in_memory(Config::default(), clock()),
        }
    }

    async fn ingestion(&mut self, name: usize) -> Arc<Ingestion> {
        if self.ingestions[name].is_none() {
            self.ingestions[name] = Some(open(&self.ledger, NAMES[name]).await);
        }
        self.ingestions[name].clone().unwrap()
    }

    fn doubt(&mut self, name: usize, indexes: &[u64]) {
        for index in indexes {
            self.model[name].insert(*index, "in doubt");
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Claim(name, indexes) => {
                let ingestion = self.ingestion(name).await;
                let free = |index| matches!(self.model[name].get(index), None | Some(&"invalid"));
                let allowed = indexes.iter().all(free);
                let claimed = claim(&ingestion, &indexes).await;
                assert_eq!(claimed.is_ok(), allowed, "{indexes:?} of {:?}", self.model[name]);
                if let Ok(claim) = claimed {
                    for index in &indexes {
                        self.model[name].insert(*index, "in flight");
                    }
                    self.claims.push((name, indexes, claim));
                }
            }
            Act::Settle(at, outcomes) if at < self.claims.len() => {
                let (name, indexes, claim) = self.claims.remove(at);
                let mut events = Vec::new();
                for (index, outcome) in indexes.iter().zip(outcomes.iter().cycle()) {
                    let (event, word) = match outcome {
                        0 | 1 => (added("m"), Some("added")),
                        2 => (Event::Rejected(rejection()), Some("rejected")),
                        3 => (Event::Doubt(doubt()), Some("in doubt")),
                        _ => (Event::NotApplied, None),
                    };
                    events.push(event);
                    match word {
                        Some(word) => self.model[name].insert(*index, word),
                        None => self.model[name].remove(index),
                    };
                }
                claim.settle(events).await.unwrap();
            }
            Act::Drop(at) if at < self.claims.len() => {
                let (name, indexes, claim) = self.claims.remove(at);
                drop(claim);
                self.doubt(name, &indexes);
            }
            Act::Settle(..) | Act::Drop(_) => {}
            Act::Refuse(name, indexes) => {
                let ingestion = self.ingestion(name).await;
                let free = |index| matches!(self.model[name].get(index), None | Some(&"invalid"));
                let allowed = indexes.iter().all(free);
                let done = ingestion.refuse(indexes.iter().copied().map(refused).collect()).await;
                assert_eq!(done.is_ok(), allowed);
                if allowed {
                    self.model[name].extend(indexes.into_iter().map(|index| (index, "invalid")));
                }
            }
            Act::Resolve(name, index, as_added) => {
                if self.claims.iter().any(|(of, ..)| *of == name) {
                    return;
                }
                self.ingestions[name] = None;
                let verdict = match as_added {
                    true => Verdict::Added(MessageId::parse("m").unwrap()),
                    false => Verdict::Rejected,
                };
                let done = self.ledger.resolve(&scope(NAMES[name]), index, verdict, "ann", "").await;
                let allowed = self.model[name].get(&index) == Some(&"in doubt");
                assert_eq!(done.is_ok(), allowed);
                if allowed {
                    self.model[name].insert(index, if as_added { "added" } else { "rejected" });
                }
            }
            Act::End(name, from, to) => {
                let ingestion = self.ingestion(name).await;
                ingestion.end(from..to, Ending::Complete).await.unwrap();
            }
            Act::Restart => {
                for (name, indexes, claim) in std::mem::take(&mut self.claims) {
                    drop(claim);
                    self.doubt(name, &indexes);
                }
                self.ingestions = [None, None];
                self.ledger.close().await;
                if let Some(disk) = &self.disk {
                    self.ledger = Self::start(Some(disk));
                }
            }
            Act::Crash(seed) => {
                let Some(disk) = self.disk.take() else { return };
                let disk = disk.power_cut(Survivors::Some(seed));
                for (name, indexes, claim) in std::mem::take(&mut self.claims) {
                    drop(claim);
                    self.doubt(name, &indexes);
                }
                self.ingestions = [None, None];
                self.ledger = Self::start(Some(&disk));
                self.disk = Some(disk);
            }
        }
    }

    async fn check(&mut self) {
        let mut doubts = 0;
        for (model, name) in self.model.iter().zip(NAMES) {
            doubts += model.values().filter(|word| **word == "in doubt").count() as u64;
            let Some(page) = self.ledger.read(&scope(name), 0, 99, ResultView::All).await.unwrap() else {
                assert_eq!(*model, BTreeMap::new());
                continue;
            };
            let recorded = page
                .results
                .iter()
                .filter(|result| !matches!(result.disposition, Disposition::NotAttempted(_)));
            let recorded: Vec<_> = recorded.cloned().collect();
            let expected: Vec<String> = (model.iter())
                .map(|(index, word)| {
                    format!("{index} {}", if *word == "in flight" { "pending" } else { word })
                })
                .collect();
            assert_eq!(told(&recorded), expected.join(", "));
            let count = |word: &str| model.values().filter(|known| **known == word).count() as u64;
            let s = page.summary;
            assert_eq!(
                (s.added, s.rejected, s.in_doubt, s.invalid, s.pending),
                (count("added"), count("rejected"), count("in doubt"), count("invalid"), count("in flight"))
            );
            assert_eq!(
                s.received,
                s.added + s.rejected + s.in_doubt + s.invalid + s.pending + s.not_attempted
            );
        }
        let (workspace, campaign) = (scope("r").workspace, scope("r").campaign);
        assert_eq!(self.ledger.doubts(workspace, &campaign).await.unwrap(), doubts);
        let listed = self.ledger.list_doubts(None, 999).await.unwrap().entries;
        assert_eq!(listed.iter().map(|entry| entry.indexes.len() as u64).sum::<u64>(), doubts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_commands_leaves_what_the_model_says(
        acts in prop::collection::vec(acts(), 1..60), on_disk in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let mut run = Run::new(on_disk);
            for act in acts {
                run.act(act).await;
                run.check().await;
            }
        });
    }
}
