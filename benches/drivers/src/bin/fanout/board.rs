//! What all watchers write on: how many have been told what, when, and what was wrong.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
};

use drivers::micros;

/// So many wrongs are kept in words; all are counted.
const KEPT: usize = 5;

pub struct Board {
    /// Watchers that have read their snapshot to its end.
    pub snapshots: Telling,
    /// A message's change to SENDING, told to the watchers.
    pub single: Vec<Telling>,
    /// The change of all messages to SENT: told of its last message.
    pub all: Telling,
    /// Changes told behind the snapshots, to all watchers together.
    pub changes: AtomicU64,
    /// The pace that a heartbeat has told of, in microseconds; 0 before one has.
    pub poll_interval: AtomicU64,
    wrong: AtomicUsize,
    words: Mutex<Vec<String>>,
}

/// How many watchers have been told something; when the first and when the last one was.
pub struct Telling {
    count: AtomicUsize,
    first: AtomicU64,
    last: AtomicU64,
}

impl Board {
    pub fn new(messages: usize) -> Self {
        Self {
            snapshots: Telling::new(),
            single: (0..messages).map(|_| Telling::new()).collect(),
            all: Telling::new(),
            changes: AtomicU64::new(0),
            poll_interval: AtomicU64::new(0),
            wrong: AtomicUsize::new(0),
            words: Mutex::default(),
        }
    }

    /// Something that must not be.
    pub fn wrong(&self, what: String) {
        self.wrong.fetch_add(1, SeqCst);
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() < KEPT {
            words.push(what);
        }
    }

    /// What was wrong, in words: nothing, if nothing was.
    pub fn wrongs(&self) -> Vec<String> {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let more = self.wrong.load(SeqCst).saturating_sub(words.len());
        if more > 0 {
            words.push(format!("and {more} more"));
        }
        words
    }

    pub fn is_wrong(&self) -> bool {
        self.wrong.load(SeqCst) > 0
    }
}

impl Telling {
    fn new() -> Self {
        Self { count: AtomicUsize::new(0), first: AtomicU64::new(u64::MAX), last: AtomicU64::new(0) }
    }

    /// One more watcher has been told, now.
    pub fn told(&self) {
        let now = micros();
        self.first.fetch_min(now, SeqCst);
        self.last.fetch_max(now, SeqCst);
        // Last: who sees the count sees the times.
        self.count.fetch_add(1, SeqCst);
    }

    pub fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    pub fn first(&self) -> u64 {
        self.first.load(SeqCst)
    }

    pub fn last(&self) -> u64 {
        self.last.load(SeqCst)
    }
}
