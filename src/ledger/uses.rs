//! Who uses which request id: one call at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::Scope;

/// How long a call waits for another one that uses the same request id, before it is turned away.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The request ids that are used or waited for. One that is neither takes no room.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<Scope, Arc<tokio::sync::Mutex<()>>>>);

/// Exclusive use, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // Given back before the seat is: whoever waits has a seat of its own.
    _lock: OwnedMutexGuard<()>,
    _seat: Seat,
}

/// A place in the line.
#[derive(Debug)]
struct Seat {
    uses: Arc<Uses>,
    scope: Scope,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl Uses {
    /// Waits for exclusive use, never past `deadline`. `None`: it was not to be had.
    pub(super) async fn turn(self: &Arc<Self>, scope: Scope, deadline: Option<Instant>) -> Option<Turn> {
        let patience = Instant::now() + PATIENCE;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let lock = Arc::clone(self.lock().entry(scope.clone()).or_default());
        let seat = Seat { uses: Arc::clone(self), scope, lock: Some(Arc::clone(&lock)) };
        let lock = tokio::time::timeout_at(until, lock.lock_owned()).await.ok()?;
        Some(Turn { _lock: lock, _seat: seat })
    }

    /// Whether a call uses it, or waits to.
    pub(super) fn is_used(&self, scope: &Scope) -> bool {
        self.lock().contains_key(scope)
    }

    /// A panic under the lock cannot leave the map half changed: each change is one insert or removal.
    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut uses = self.uses.lock();
        self.lock = None;
        // All clones are made under the map's lock, so the map's own is the last one if it is alone.
        if uses.get(&self.scope).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            uses.remove(&self.scope);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{CampaignId, RequestId, WorkspaceId};

    #[tokio::test(start_paused = true)]
    async fn what_nobody_uses_takes_no_room() {
        let uses = Arc::new(Uses::default());
        let scope = |n: u32| Scope {
            workspace: WorkspaceId([1; 16]),
            campaign: CampaignId::parse("c").unwrap(),
            request_id: RequestId::parse(&format!("r{n}")).unwrap(),
        };
        let turns = futures_util::future::join_all((0..100).map(|n| uses.turn(scope(n), None))).await;
        assert_eq!(uses.lock().len(), 100);
        // One that waits in vain leaves as it came.
        assert!(uses.turn(scope(1), None).await.is_none());
        assert!(uses.is_used(&scope(1)));
        drop(turns);
        assert_eq!(uses.lock().len(), 0);
        assert!(!uses.is_used(&scope(1)));
    }
}
