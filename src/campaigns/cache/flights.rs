//! Reads on their way upstream: one at a time for each name, however many wait for it. Who asks first carries
//! it on; when that caller leaves, it becomes a task of its own, so that it does not end for the others. Whoever
//! cannot use the one that is on its way, because it began too early, waits with all others like it for the next.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{
    Cache,
    key::{Entry, Key, ReadStart, Value},
};
use crate::error::Error;

/// What a read comes to.
pub(super) type Landed = Result<Entry, Error>;

/// A read that has not begun.
pub(super) type Fetch = BoxFuture<'static, Result<Value, Error>>;

/// Where somebody waits for a read to land.
type Gate = watch::Receiver<Option<Landed>>;

/// What a caller gets who asks for a read.
pub(super) enum Boarded {
    /// It has landed meanwhile.
    Landed(Value),
    /// It is another's, and will land here.
    Waits(Gate),
    /// It is this caller's to carry on.
    Flies(Flight),
}

/// A read that its caller carries on. Dropped before it has landed, it goes on by itself.
pub(super) struct Flight(Option<BoxFuture<'static, Landed>>);

impl Future for Flight {
    type Output = Landed;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Landed> {
        let Some(flying) = &mut self.0 else { return Poll::Pending };
        let landed = flying.as_mut().poll(cx);
        if landed.is_ready() {
            self.0 = None;
        }
        landed
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // One that is dropped by its own panic must not be polled again; one that is dropped with its runtime
        // has nobody left to land for.
        if let (Some(flying), false, Ok(runtime)) =
            (self.0.take(), std::thread::panicking(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(flying);
        }
    }
}

/// All reads on their way.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, Slot>>>);

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

impl Flights {
    /// The read on its way, if it is `fresh`, else the next one. Where none is on its way: what has landed since
    /// the caller looked (`known`), or a read that begins now.
    pub(super) fn board(
        &self,
        key: &Key,
        known: impl FnOnce() -> Option<Value>,
        fresh: impl FnOnce(&ReadStart) -> bool,
        fetch: impl FnOnce() -> Fetch,
        cache: &Cache,
    ) -> Boarded {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(key) {
            if fresh(&slot.start) {
                return Boarded::Waits(slot.gate.clone());
            }
            let next = slot.next.get_or_insert_with(|| {
                let (lands, gate) = watch::channel(None);
                Next { fetch: fetch(), lands, gate }
            });
            return Boarded::Waits(next.gate.clone());
        }
        // One that lands is put away before its slot is given up.
        if let Some(value) = known() {
            return Boarded::Landed(value);
        }
        let (lands, gate) = watch::channel(None);
        let start = cache.start();
        slots.insert(key.clone(), Slot { start, gate, next: None });
        drop(slots);
        let flying = Flying { flights: self.clone(), cache: cache.clone(), key: key.clone(), is_over: false };
        let fetch = fetch();
        Boarded::Flies(Flight(Some(flying.fly(start, fetch, lands))))
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        // Nothing under this lock leaves the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reads of one name. Dropped by a panic, too, it leaves nobody waiting at a gate that never opens.
struct Flying {
    flights: Flights,
    cache: Cache,
    key: Key,
    is_over: bool,
}

impl Flying {
    /// Lands one read. The next one, if anybody waits for it, is nobody's to carry on but a task's.
    fn fly(
        mut self,
        start: ReadStart,
        fetch: Fetch,
        lands: watch::Sender<Option<Landed>>,
    ) -> BoxFuture<'static, Landed> {
        Box::pin(async move {
            let landed = fetch.await.map(|value| Entry { value, start });
            self.cache.landed(&self.key, &landed);
            let next = self.turn_around();
            lands.send_replace(Some(landed.clone()));
            if let Some((start, next)) = next {
                tokio::spawn(self.fly(start, next.fetch, next.lands));
            }
            landed
        })
    }

    /// Makes the next read, if anybody waits for one, the one that is on its way.
    fn turn_around(&mut self) -> Option<(ReadStart, Next)> {
        let mut slots = self.flights.slots();
        let Some(next) = slots.get_mut(&self.key).and_then(|slot| slot.next.take()) else {
            slots.remove(&self.key);
            self.is_over = true;
            return None;
        };
        let start = self.cache.start();
        slots.insert(self.key.clone(), Slot { start, gate: next.gate.clone(), next: None });
        Some((start, next))
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        // Once it is over, the slot may be another's.
        if !self.is_over {
            self.flights.slots().remove(&self.key);
        }
    }
}
