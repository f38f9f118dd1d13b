//! What one workspace may take of this server, so that a caller who asks for too much takes it from nobody else.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use governor::{
    Quota as Rate, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::keyed::HashMapStateStore,
};
use tonic::Extensions;

use super::shed::Ticket;
use crate::{
    error::{Error, Reason},
    model::WorkspaceId,
    telemetry::metrics,
};

/// When a caller may come again whose workspace has all its places taken: soon, since calls end soon.
const COME_AGAIN: Duration = Duration::from_millis(200);

/// After so many calls, workspaces that have not called lately are forgotten.
const TIDY_EVERY: u32 = 10_000;

/// Holds each workspace to its share. Cheap to clone.
#[derive(Clone)]
pub struct Quota(Arc<Shares>);

struct Shares {
    max: usize,
    calls: Mutex<HashMap<WorkspaceId, usize>>,
    rate: Option<RateLimiter<WorkspaceId, HashMapStateStore<WorkspaceId>, DefaultClock>>,
    untidy: AtomicU32,
}

/// A place of a workspace, given back when it is dropped.
pub(super) struct Place {
    shares: Arc<Shares>,
    workspace: WorkspaceId,
}

impl Quota {
    /// At most `max` calls of a workspace at once, and `rate` a second, with bursts of a second's worth. `None`: as
    /// many as come.
    pub fn new(max: usize, rate: Option<NonZeroU32>) -> Self {
        let rate = rate.map(|rate| RateLimiter::hashmap(Rate::per_second(rate)));
        Self(Arc::new(Shares { max, calls: Mutex::default(), rate, untidy: AtomicU32::new(0) }))
    }

    /// Lets a call of this workspace in, for as long as its request's ticket lives.
    ///
    /// # Errors
    /// `Overloaded`, with when to come again.
    pub(super) fn enter(&self, workspace: WorkspaceId, extensions: &Extensions) -> Result<(), Error> {
        let refused = |what: &'static str, after| {
            metrics().shed("workspace");
            Err(Error::new(Reason::Overloaded, what).retry_after(after))
        };
        let Some(place) = self.place(workspace) else {
            return refused(
                "this workspace has as many calls here as it may have; nothing was done",
                COME_AGAIN,
            );
        };
        if let Some(wait) = self.wait(workspace) {
            return refused("this workspace calls more often than it may; nothing was done", wait);
        }
        // Without one, in tests of a handler alone, the call counts for this moment.
        if let Some(ticket) = extensions.get::<Ticket>() {
            ticket.occupy(place);
        }
        Ok(())
    }

    fn place(&self, workspace: WorkspaceId) -> Option<Place> {
        let mut calls = self.0.lock();
        let count = calls.entry(workspace).or_default();
        if *count >= self.0.max {
            return None;
        }
        *count += 1;
        Some(Place { shares: Arc::clone(&self.0), workspace })
    }

    /// How long this workspace must wait; `None`: its call counts, and may be made.
    fn wait(&self, workspace: WorkspaceId) -> Option<Duration> {
        let rate = self.0.rate.as_ref()?;
        if self.0.untidy.fetch_add(1, Relaxed) == TIDY_EVERY {
            self.0.untidy.store(0, Relaxed);
            rate.retain_recent();
        }
        rate.check_key(&workspace).err().map(|not_until| not_until.wait_time_from(rate.clock().now()))
    }
}

impl Shares {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, usize>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut calls = self.shares.lock();
        if let Some(count) = calls.get_mut(&self.workspace) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.workspace);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ACME: WorkspaceId = WorkspaceId([1; 16]);
    const GLOBEX: WorkspaceId = WorkspaceId([2; 16]);

    #[test]
    fn a_workspace_has_its_places_and_none_of_anothers_and_gets_them_back() {
        let quota = Quota::new(2, None);
        let held = [quota.place(ACME).unwrap(), quota.place(ACME).unwrap()];
        assert!(quota.place(ACME).is_none());
        let other = quota.place(GLOBEX).unwrap();
        drop(held);
        assert!(quota.place(ACME).is_some());
        drop(other);
        assert!(quota.0.lock().is_empty(), "who has no call is not kept");
    }

    #[test]
    fn a_workspace_that_calls_too_often_is_told_when_to_come_again_and_the_others_are_not() {
        let quota = Quota::new(100, NonZeroU32::new(10));
        let enter = |workspace| quota.enter(workspace, &Extensions::new());
        let refused = (0..11).find_map(|_| enter(ACME).err()).unwrap();
        assert_eq!(refused.reason(), Reason::Overloaded);
        let delay = refused.retry_delay().unwrap();
        assert!(delay > Duration::ZERO && delay <= Duration::from_millis(100), "{delay:?}");
        enter(GLOBEX).unwrap();
    }
}
