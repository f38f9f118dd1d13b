//! The request log: what reached the API, without API keys and without anyone's data.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use axum::http::request::Parts;
use serde::Serialize;

use super::{
    answer::Answer,
    clock::{Millis, iso},
    faults::Operation,
};

/// Entries kept; the oldest goes first.
const KEPT: usize = 10_000;
/// A path, a query or a header longer than this is cut.
const LONGEST: usize = 512;

/// One request to the API. It is here from the moment it arrives; `status` comes with the answer.
#[derive(Clone, Serialize)]
pub(super) struct Entry {
    n: u64,
    /// By the sandbox's clock.
    at: String,
    method: String,
    path: String,
    /// Only `limit` and `offset` with their values.
    query: String,
    operation: Operation,
    workspace: Option<&'static str>,
    idempotency_key: Option<String>,
    traceparent: Option<String>,
    /// The names of the headers, without values.
    headers: Vec<String>,
    items: Option<usize>,
    /// Equal bodies have equal prints within one sandbox; nothing can be read from it.
    body_print: Option<String>,
    /// The number of the fault rule that took it.
    fault: Option<u64>,
    /// Null while it is being worked on, and for one that was closed without an answer.
    status: Option<u16>,
    /// Whether it changed anything.
    applied: bool,
    /// How many messages it created or cancelled.
    changed: usize,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Entry>,
    next: u64,
}

#[derive(Default)]
pub(super) struct Journal {
    ring: Mutex<Ring>,
    hasher: RandomState,
}

impl Journal {
    /// Writes a request down and returns its number, from 1 on.
    pub(super) fn begin(&self, parts: &Parts, operation: Operation, now: Millis) -> u64 {
        let header =
            |name| parts.headers.get(name).map(|value| cut(&String::from_utf8_lossy(value.as_bytes())));
        let mut entry = Entry {
            n: 0,
            at: iso(now),
            method: cut(parts.method.as_str()),
            path: cut(parts.uri.path()),
            query: query(parts.uri.query().unwrap_or_default()),
            operation,
            workspace: None,
            idempotency_key: header("x-idempotency-key"),
            traceparent: header("traceparent"),
            headers: parts.headers.keys().map(ToString::to_string).collect(),
            items: None,
            body_print: None,
            fault: None,
            status: None,
            applied: false,
            changed: 0,
        };
        self.with(|ring| {
            ring.next += 1;
            entry.n = ring.next;
            if ring.entries.len() == KEPT {
                ring.entries.pop_front();
            }
            ring.entries.push_back(entry);
            ring.next
        })
    }

    pub(super) fn took(&self, n: u64, fault: u64) {
        self.note(n, |entry| entry.fault = Some(fault));
    }

    pub(super) fn read(&self, n: u64, workspace: Option<&'static str>, body: &[u8]) {
        let print = (!body.is_empty()).then(|| format!("{:016x}", self.hasher.hash_one(body)));
        self.note(n, |entry| {
            entry.workspace = workspace;
            entry.body_print = print;
        });
    }

    pub(super) fn acted(&self, n: u64, answer: &Answer) {
        self.note(n, |entry| {
            entry.items = answer.items;
            entry.applied = answer.applied > 0;
            entry.changed = answer.applied;
        });
    }

    pub(super) fn answered(&self, n: u64, status: u16) {
        self.note(n, |entry| entry.status = Some(status));
    }

    /// The entries, oldest first, and how many were made in all.
    pub(super) fn all(&self) -> (Vec<Entry>, u64) {
        self.with(|ring| (ring.entries.iter().cloned().collect(), ring.next))
    }

    /// Forgets the entries; numbers go on.
    pub(super) fn clear(&self) {
        self.with(|ring| ring.entries.clear());
    }

    fn note(&self, n: u64, change: impl FnOnce(&mut Entry)) {
        self.with(|ring| {
            let first = ring.entries.front().map_or(u64::MAX, |entry| entry.n);
            let at = n.checked_sub(first).and_then(|at| usize::try_from(at).ok());
            if let Some(entry) = at.and_then(|at| ring.entries.get_mut(at)) {
                change(entry);
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Ring) -> T) -> T {
        f(&mut self.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// A parameter that the API does not have may hold anything: only its name is kept.
fn query(raw: &str) -> String {
    let kept = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name != "limit" && name != "offset" => format!("{name}=…"),
        _ => pair.to_owned(),
    };
    cut(&raw.split('&').map(kept).collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn request(uri: &str) -> Parts {
        Request::get(uri)
            .header("X-API-Key", "secret-key")
            .header("X-Idempotency-Key", "k1")
            .body(())
            .unwrap()
            .into_parts()
            .0
    }

    #[test]
    fn an_entry_names_headers_and_parameters_but_not_their_values() {
        let journal = Journal::default();
        journal.begin(&request("/x?limit=5&email=jane@example.com"), Operation::List, 0);
        let text = serde_json::to_string(&journal.all().0).unwrap();
        assert!(
            text.contains("limit=5&email=…") && text.contains("x-api-key") && text.contains("k1"),
            "{text}"
        );
        assert!(!text.contains("secret-key") && !text.contains("jane"), "{text}");
    }

    #[test]
    fn the_log_is_bounded_and_late_notes_find_their_entry() {
        let journal = Journal::default();
        let parts = request("/x");
        for _ in 0..KEPT + 5 {
            journal.begin(&parts, Operation::Get, 0);
        }
        journal.answered(1, 500);
        journal.answered(6, 200);
        let (entries, made) = journal.all();
        assert_eq!((entries.len(), made), (KEPT, KEPT as u64 + 5));
        assert_eq!((entries[0].n, entries[0].status), (6, Some(200)));
        journal.clear();
        journal.answered(6, 200);
        assert_eq!(journal.begin(&parts, Operation::Get, 0), KEPT as u64 + 6);
    }
}
