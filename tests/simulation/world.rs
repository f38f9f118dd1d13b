//! What one run shares between its hosts and its oracles: the truth, the events in their order, what was
//! met, and when the service's power goes.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use turmoil::net::TcpStream;

use crate::{coverage::CrashPoint, support::truth::Truth};

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) truth: Truth,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: Vec<String>,
    met: BTreeMap<&'static str, u64>,
    /// By how many requests under which idempotency keys each person may have been messaged, as far as the
    /// road can tell.
    exposures: BTreeMap<String, BTreeMap<String, u32>>,
    /// Where the service loses its power, after passing that point so often.
    crash: Option<(CrashPoint, u32)>,
    is_off: bool,
    asleep: Vec<Waker>,
    /// Connections of a process that lost its power: their other ends hear of it when it is back.
    buried: Vec<TcpStream>,
    /// An answer of the upstream is on record, or about to be, and was not told yet.
    untold: bool,
    is_calm: bool,
    was_disturbed: bool,
    faults: Vec<String>,
}

/// What a run holds is too much to print.
impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    /// Writes down what happened. The same seed writes the same.
    pub(crate) fn event(&self, what: impl FnOnce() -> String) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        let line = format!("{at:>6} {}", what());
        self.lock().events.push(line);
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.lock().events.clone()
    }

    /// One number for all that happened.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lock().events.hash(&mut hasher);
        hasher.finish()
    }

    /// Counts a row of the outcome table, or a crash point.
    pub(crate) fn meet(&self, row: &'static str) {
        *self.lock().met.entry(row).or_default() += 1;
        self.event(|| row.to_owned());
    }

    pub(crate) fn met(&self) -> BTreeMap<&'static str, u64> {
        self.lock().met.clone()
    }

    /// Something that must never happen.
    pub(crate) fn fault(&self, what: String) {
        self.event(|| format!("FAULT {what}"));
        self.lock().faults.push(what);
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.lock().faults.clone()
    }

    /// The service has lost its power or its disk, at least for a while.
    pub(crate) fn disturb(&self) {
        self.lock().was_disturbed = true;
    }

    pub(crate) fn was_disturbed(&self) -> bool {
        self.lock().was_disturbed
    }

    /// From now on no harm is done.
    pub(crate) fn calm(&self) {
        self.event(|| "calm".to_owned());
        self.lock().is_calm = true;
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.lock().is_calm
    }

    /// These persons may be messaged from now on, whatever is heard of it.
    pub(crate) fn expose(&self, persons: &[String], key: &str) {
        let mut inner = self.lock();
        for person in persons {
            let keys = inner.exposures.entry(person.clone()).or_default();
            *keys.entry(key.to_owned()).or_default() += 1;
            let count = keys.len();
            if count > 1 {
                inner.faults.push(format!("{person} went up {count} times, and each time may have counted"));
            }
        }
    }

    /// It is proven that one request under this key did nothing.
    pub(crate) fn clear(&self, persons: &[String], key: &str) {
        let mut inner = self.lock();
        for person in persons {
            if let Some(keys) = inner.exposures.get_mut(person)
                && let Some(requests) = keys.get_mut(key)
            {
                *requests = requests.saturating_sub(1);
                if *requests == 0 {
                    keys.remove(key);
                }
            }
        }
    }

    /// It is proven that no request under this key did anything, or ever will.
    pub(crate) fn clear_key(&self, persons: &[String], key: &str) {
        let mut inner = self.lock();
        for person in persons {
            if let Some(keys) = inner.exposures.get_mut(person) {
                keys.remove(key);
            }
        }
    }

    pub(crate) fn is_exposed(&self, person: &str) -> bool {
        self.lock().exposures.get(person).is_some_and(|keys| !keys.is_empty())
    }

    /// How many persons whose names begin like this may have been messaged.
    pub(crate) fn exposures(&self, prefix: &str) -> usize {
        let inner = self.lock();
        let persons = inner.exposures.iter().filter(|(person, _)| person.starts_with(prefix));
        persons.map(|(_, keys)| keys.len()).sum()
    }

    /// The service will lose its power when it passes this point for the nth time from now.
    pub(crate) fn plan_crash(&self, point: CrashPoint, nth: u32) {
        self.lock().crash = Some((point, nth));
    }

    /// The service, or the upstream on its behalf, passes a point.
    pub(crate) fn pass(&self, point: CrashPoint) {
        let mut inner = self.lock();
        if inner.is_off {
            return;
        }
        match point {
            CrashPoint::AfterAnswer => inner.untold = true,
            CrashPoint::AfterTelling => inner.untold = false,
            _ => {}
        }
        match &mut inner.crash {
            Some((planned, nth)) if *planned == point && *nth > 1 => *nth -= 1,
            Some((planned, _)) if *planned == point => {
                inner.crash = None;
                inner.is_off = true;
                drop(inner);
                self.meet(point.name());
            }
            _ => {}
        }
    }

    /// Whether something was learnt that no caller has heard.
    pub(crate) fn has_untold(&self) -> bool {
        self.lock().untold
    }

    pub(crate) fn power_off(&self) {
        self.lock().is_off = true;
    }

    pub(crate) fn power_on(&self) {
        let mut inner = self.lock();
        inner.is_off = false;
        inner.untold = false;
        inner.asleep.clear();
        let mut buried = std::mem::take(&mut inner.buried);
        drop(inner);
        let address = |socket: &TcpStream| (socket.peer_addr().ok(), socket.local_addr().ok());
        buried.sort_by_key(address);
    }

    pub(crate) fn bury(&self, socket: TcpStream) {
        self.lock().buried.push(socket);
    }

    pub(crate) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    /// Never ready again while the power is off: whoever waits here is about to be torn down.
    pub(crate) fn poll_power(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_off {
            inner.asleep.push(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}
