//! Where every item of a call stands, shared between the engine that sends and the handler that answers.
//! One lock makes the two agree: an item is either begun before the end, or not sent at all.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    error::{Error, Reason},
    model::{Disposition, Ingested, ItemResult, RequestId, ResultView, Summary},
};

/// Where an item stands.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Not sent.
    Planned,
    /// On its way.
    InFlight,
    /// This call's own verdict.
    Told(Disposition),
    /// What an earlier call had settled.
    Replayed(Disposition),
}

#[derive(Debug)]
pub(super) struct Progress {
    first_index: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: Vec<(String, Slot)>,
    end: Option<Error>,
}

impl Inner {
    /// After the report there is nobody left to tell: the ledger alone keeps what comes in later.
    fn put(&mut self, slot: usize, now: Slot) {
        if let Some((_, state)) = self.slots.get_mut(slot) {
            *state = now;
        }
    }
}

impl Progress {
    pub(super) fn new(first_index: u64, slots: Vec<(String, Slot)>) -> Self {
        Self { first_index, inner: Mutex::new(Inner { slots, end: None }) }
    }

    /// Marks these items as on their way, unless the ingestion has ended: then they must not be sent.
    pub(super) fn begin(&self, slots: impl Iterator<Item = usize>) -> bool {
        let mut inner = self.lock();
        if inner.end.is_some() {
            return false;
        }
        slots.for_each(|slot| inner.put(slot, Slot::InFlight));
        true
    }

    /// Says what became of items.
    pub(super) fn tell(&self, verdicts: impl Iterator<Item = (usize, Disposition)>) {
        let mut inner = self.lock();
        verdicts.for_each(|(slot, disposition)| inner.put(slot, Slot::Told(disposition)));
    }

    /// Takes items back that were proven not to have been applied.
    pub(super) fn plan_again(&self, slots: impl Iterator<Item = usize>) {
        let mut inner = self.lock();
        slots.for_each(|slot| inner.put(slot, Slot::Planned));
    }

    /// Ends the ingestion: nothing further is begun. The first cause stands.
    pub(super) fn end(&self, cause: Error) {
        self.lock().end.get_or_insert(cause);
    }

    /// What is known now. Called once, at the end.
    pub(super) fn report(&self, request_id: RequestId, view: ResultView) -> Ingested {
        let (slots, end) = {
            let mut inner = self.lock();
            // The end may be missing only if everything was told; nothing may begin after the report.
            let end =
                inner.end.get_or_insert_with(|| Error::new(Reason::Internal, "the ingestion has ended"));
            let end = end.clone();
            (std::mem::take(&mut inner.slots), end)
        };
        let mut summary = Summary::default();
        let mut results = Vec::with_capacity(if view == ResultView::Summary { 0 } else { slots.len() });
        for (index, (item_id, slot)) in (self.first_index..).zip(slots) {
            let (disposition, replayed) = match slot {
                Slot::Planned => (Disposition::NotAttempted(end.clone()), false),
                Slot::InFlight => (Disposition::Pending, false),
                Slot::Told(disposition) => (disposition, false),
                Slot::Replayed(disposition) => (disposition, true),
            };
            let result = ItemResult { index, item_id, disposition, replayed };
            summary.count(&result);
            if view.shows(&result.disposition) {
                results.push(result);
            }
        }
        // A cause that came too late to stop anything ended nothing.
        let termination = Some(end).filter(|_| summary.not_attempted + summary.pending > 0);
        Ingested { request_id, summary, results, termination }
    }

    /// A panic under the lock cannot leave a slot half written.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
