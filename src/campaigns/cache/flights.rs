//! Reads on their way upstream: one at a time for each name, however many wait for it. Each is a task of its
//! own, so that a caller who leaves does not end it for the others. Whoever cannot use the one that is on its
//! way, because it began too early, waits with all others like it for the next.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::key::{Entry, ReadStart, Value};
use crate::error::Error;

/// What a read comes to.
pub(super) type Landed = Result<Entry, Error>;

/// A read that has not begun.
pub(super) type Fetch = BoxFuture<'static, Result<Value, Error>>;

/// Where somebody waits for a read to land.
pub(super) type Gate = watch::Receiver<Option<Landed>>;

/// All reads on their way.
pub(super) struct Flights<K>(Arc<Mutex<HashMap<K, Slot>>>);

impl<K> Clone for Flights<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Slot {
    start: ReadStart,
    gate: Gate,
    next: Option<Next>,
}

struct Next {
    fetch: Fetch,
    lands: watch::Sender<Option<Landed>>,
    gate: Gate,
}

impl<K: Clone + Eq + Hash + Send + 'static> Flights<K> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// A gate to wait at: of the read on its way, if it is `fresh`, else of the next one. Where none is on its
    /// way, it is what has landed since the caller looked (`known`), or a read that begins now.
    pub(super) fn board(
        &self,
        key: &K,
        known: impl FnOnce() -> Option<Value>,
        fresh: impl FnOnce(&ReadStart) -> bool,
        fetch: impl FnOnce() -> Fetch,
        pilot: impl Pilot<K>,
    ) -> Result<Gate, Value> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(key) {
            if fresh(&slot.start) {
                return Ok(slot.gate.clone());
            }
            let next = slot.next.get_or_insert_with(|| {
                let (lands, gate) = watch::channel(None);
                Next { fetch: fetch(), lands, gate }
            });
            return Ok(next.gate.clone());
        }
        // One that lands is put away before its slot is given up.
        if let Some(value) = known() {
            return Err(value);
        }
        let (lands, gate) = watch::channel(None);
        let start = pilot.start();
        slots.insert(key.clone(), Slot { start, gate: gate.clone(), next: None });
        drop(slots);
        let flying = Flying { flights: self.clone(), key: key.clone(), is_over: false };
        // A read holds up no drain: nothing is lost with it.
        tokio::spawn(flying.fly(start, fetch(), lands, pilot));
        Ok(gate)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Slot>> {
        // Nothing under this lock leaves the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes on around the reads.
pub(super) trait Pilot<K>: Send + 'static {
    /// Says that a read begins.
    fn start(&self) -> ReadStart;
    /// Takes what has landed.
    fn landed(&self, key: &K, landed: &Landed);
}

/// The task of one name. Dropped by a panic, too, it leaves nobody waiting at a gate that never opens.
struct Flying<K: Clone + Eq + Hash + Send + 'static> {
    flights: Flights<K>,
    key: K,
    is_over: bool,
}

impl<K: Clone + Eq + Hash + Send + 'static> Flying<K> {
    async fn fly(
        mut self,
        mut start: ReadStart,
        mut fetch: Fetch,
        mut lands: watch::Sender<Option<Landed>>,
        pilot: impl Pilot<K>,
    ) {
        loop {
            let landed = fetch.await.map(|value| Entry { value, start });
            pilot.landed(&self.key, &landed);
            let next = self.turn_around(&pilot);
            lands.send_replace(Some(landed));
            let Some((at, next)) = next else { return };
            (start, fetch, lands) = (at, next.fetch, next.lands);
        }
    }

    /// Makes the next read, if anybody waits for one, the one that is on its way.
    fn turn_around(&mut self, pilot: &impl Pilot<K>) -> Option<(ReadStart, Next)> {
        let mut slots = self.flights.slots();
        let Some(next) = slots.get_mut(&self.key).and_then(|slot| slot.next.take()) else {
            slots.remove(&self.key);
            self.is_over = true;
            return None;
        };
        let start = pilot.start();
        slots.insert(self.key.clone(), Slot { start, gate: next.gate.clone(), next: None });
        Some((start, next))
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Drop for Flying<K> {
    fn drop(&mut self) {
        // Once it is over, the slot may be another's.
        if !self.is_over {
            self.flights.slots().remove(&self.key);
        }
    }
}
