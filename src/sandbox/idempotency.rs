//! The memory behind `X-Idempotency-Key`, for `Idempotency::Honoured`. Its scope and what it does on a conflict are guesses.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use super::answer::Answer;

/// Answers kept; the oldest goes first. A fault test repeats within a few requests.
const KEPT: usize = 4096;

#[derive(Default)]
pub(super) struct Memory {
    answers: HashMap<String, (u64, Answer)>,
    order: VecDeque<String>,
    hasher: RandomState,
}

pub(super) enum Recall {
    New,
    Same(Answer),
    /// The same key came with another body.
    Conflict,
}

impl Memory {
    /// `scope` holds workspace, campaign and operation, so that a key means nothing elsewhere.
    pub(super) fn recall(&self, scope: &str, key: &str, body: &[u8]) -> Recall {
        match self.answers.get(&name(scope, key)) {
            None => Recall::New,
            Some((print, answer)) if *print == self.hasher.hash_one(body) => Recall::Same(answer.clone()),
            Some(_) => Recall::Conflict,
        }
    }

    pub(super) fn keep(&mut self, scope: &str, key: &str, body: &[u8], answer: &Answer) {
        if self.order.len() == KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        let name = name(scope, key);
        self.order.push_back(name.clone());
        self.answers.insert(name, (self.hasher.hash_one(body), answer.clone()));
    }
}

fn name(scope: &str, key: &str) -> String {
    format!("{scope}\n{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_its_scope_and_its_body() {
        let mut memory = Memory::default();
        memory.keep("acme/camp", "k", b"one", &Answer::refusal(400, "no"));
        assert!(matches!(memory.recall("acme/camp", "k", b"one"), Recall::Same(_)));
        assert!(matches!(memory.recall("acme/camp", "k", b"two"), Recall::Conflict));
        assert!(matches!(memory.recall("globex/camp", "k", b"two"), Recall::New));
    }

    #[test]
    fn the_oldest_answer_is_forgotten_first() {
        let mut memory = Memory::default();
        for n in 0..=KEPT {
            memory.keep("s", &n.to_string(), b"", &Answer::refusal(400, "no"));
        }
        assert!(matches!(memory.recall("s", "0", b""), Recall::New));
        assert!(matches!(memory.recall("s", "1", b""), Recall::Same(_)));
    }
}
