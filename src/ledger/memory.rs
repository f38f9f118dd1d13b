//! The ledger in memory: bounded, and gone with the process.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{Config, Event, Fingerprint, Scope, State, state::step};
use crate::error::{Error, Reason};

/// What one record weighs beside its strings: the tree's node, the boxed item, the allocator's rounding.
/// An estimate: a run of 240,000 items took about twice what it counts (BENCHMARKS.md).
const RECORD_BYTES: usize = 160;

/// What an ingestion weighs beside its records.
const INGESTION_BYTES: usize = 512;

#[derive(Debug)]
pub(super) struct Memory {
    config: Config,
    bytes: AtomicUsize,
    ingestions: Mutex<Ingestions>,
}

#[derive(Debug, Default)]
struct Ingestions {
    by_scope: HashMap<Scope, Arc<Records>>,
    /// Every use of an ingestion, oldest first. One that was used again since stands here twice, and is
    /// forgotten only by its last entry.
    uses: VecDeque<(Instant, Scope)>,
}

/// The records of one ingestion.
#[derive(Debug)]
pub(super) struct Records {
    turn: Arc<tokio::sync::Mutex<()>>,
    items: Mutex<Items>,
}

#[derive(Debug)]
struct Items {
    by_index: BTreeMap<u64, (Fingerprint, State)>,
    last_use: Instant,
    bytes: usize,
}

impl Records {
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    pub(super) fn get(&self, index: u64) -> Option<(Fingerprint, State)> {
        lock(&self.items).by_index.get(&index).cloned()
    }
}

impl Memory {
    pub(super) fn new(config: Config) -> Self {
        Self { config, bytes: AtomicUsize::new(0), ingestions: Mutex::default() }
    }

    /// The records of an ingestion, new ones if it is not known. Forgets those whose time is over.
    pub(super) fn records(&self, scope: &Scope) -> Arc<Records> {
        let mut ingestions = lock(&self.ingestions);
        self.forget(&mut ingestions);
        let records = ingestions.by_scope.entry(scope.clone()).or_insert_with(|| {
            self.bytes.fetch_add(INGESTION_BYTES, Ordering::Relaxed);
            Arc::new(Records {
                turn: Arc::default(),
                items: Mutex::new(Items {
                    by_index: BTreeMap::new(),
                    last_use: Instant::now(),
                    bytes: INGESTION_BYTES,
                }),
            })
        });
        Arc::clone(records)
    }

    /// Starts an ingestion's retention anew.
    pub(super) fn touch(&self, scope: &Scope, records: &Records) {
        let now = Instant::now();
        lock(&records.items).last_use = now;
        lock(&self.ingestions).uses.push_back((now, scope.clone()));
    }

    fn forget(&self, ingestions: &mut Ingestions) {
        let now = Instant::now();
        let over = |used: Instant, retention: Duration| now.duration_since(used) >= retention;
        while let Some((used, _)) = ingestions.uses.front()
            && over(*used, self.config.retention)
        {
            let Some((_, scope)) = ingestions.uses.pop_front() else { break };
            let Some(records) = ingestions.by_scope.get(&scope) else { continue };
            // Beyond the map's own reference there is a call that still uses it.
            if Arc::strong_count(records) > 1 {
                ingestions.uses.push_back((now, scope));
                break;
            }
            let (last_use, bytes) = {
                let items = lock(&records.items);
                (items.last_use, items.bytes)
            };
            if over(last_use, self.config.retention) {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                ingestions.by_scope.remove(&scope);
            }
        }
    }

    pub(super) fn claim(&self, records: &Records, claimed: &[(u64, Fingerprint)]) -> Result<(), Error> {
        let added = claimed.len() * RECORD_BYTES;
        if self.bytes.load(Ordering::Relaxed) + added > self.config.max_bytes {
            return Err(Error::new(
                Reason::LedgerUnavailable,
                "the ledger in memory is full, so nothing is sent: give it more room (--ledger-max-bytes)",
            )
            .retry_after(Duration::from_secs(60)));
        }
        let mut items = lock(&records.items);
        // First look at all, then change all: a batch is claimed whole or not at all.
        for (index, _) in claimed {
            step(items.by_index.get(index).map(|(_, state)| state), Event::Claim).map_err(fault)?;
        }
        for (index, fingerprint) in claimed {
            items.by_index.insert(*index, (*fingerprint, State::InFlight));
        }
        items.bytes += added;
        self.bytes.fetch_add(added, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn settle(&self, records: &Records, indexes: &[u64], events: Vec<Event>) -> Result<(), Error> {
        let mut items = lock(&records.items);
        let before = items.bytes;
        for (index, event) in indexes.iter().zip(events) {
            let record = items.by_index.get(index);
            let next = step(record.map(|(_, state)| state), event).map_err(fault)?;
            match next {
                Some(state) => {
                    items.bytes += strings(&state);
                    if let Some((_, slot)) = items.by_index.get_mut(index) {
                        *slot = state;
                    }
                }
                None => {
                    items.by_index.remove(index);
                    items.bytes -= RECORD_BYTES;
                }
            }
        }
        let after = items.bytes;
        self.bytes.fetch_add(after, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
        Ok(())
    }
}

/// The bytes of a state's strings. Errors are shared between the items of a batch and count for nothing.
fn strings(state: &State) -> usize {
    match state {
        State::InFlight | State::Rejected(_) | State::InDoubt(_) => 0,
        State::Added(item) => {
            let schedule = item.schedule.as_ref();
            let schedule = schedule.map_or(0, |s| s.local_datetime.len() + s.time_zone.len() + 64);
            item.message_id.as_str().len() + item.contact_id.len() + schedule
        }
    }
}

/// A forbidden transition is a fault of this program: it must be seen, and nothing may be sent on it.
fn fault(forbidden: super::Forbidden) -> Error {
    tracing::error!(%forbidden, "forbidden ledger transition");
    Error::new(Reason::Internal, forbidden.to_string())
}

/// A panic while the lock was held cannot leave a half-made record: each change is one insert or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
