//! What the callers of one ingestion were told, and whether it is true.

use std::ops::Range;

use blubash_grpc::pb::{AudienceItemResult, AudienceSummary, Disposition, ErrorReason, IngestionState};

use crate::{
    verbs::{Answer, Kept},
    world::World,
};

pub(crate) struct Book {
    /// Whom each item is for, as the truth names it.
    persons: Vec<String>,
    /// What was told of each item last, where it was settled or INVALID.
    told: Vec<Option<Told>>,
    /// What an earlier call may still have on its way: it was told PENDING, or nothing was heard.
    loose: Vec<bool>,
    /// Calls that are under way, and how many there ever were.
    active: usize,
    begun: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    disposition: Disposition,
    message_id: String,
}

impl Told {
    fn of(result: &AudienceItemResult) -> Self {
        let message_id = result.added.clone().unwrap_or_default().message_id;
        Self { disposition: result.disposition(), message_id }
    }
}

/// A call, from its beginning on.
pub(crate) struct Turn {
    number: usize,
    alone: bool,
    /// Which persons may have been messaged when it began.
    exposed: Vec<bool>,
}

impl Book {
    pub(crate) fn new(persons: Vec<String>) -> Self {
        Self {
            told: vec![None; persons.len()],
            loose: vec![false; persons.len()],
            persons,
            active: 0,
            begun: 0,
        }
    }

    pub(crate) fn begin(&mut self, world: &World) -> Turn {
        self.active += 1;
        self.begun += 1;
        let exposed = self.persons.iter().map(|person| world.is_exposed(person)).collect();
        Turn { number: self.begun, alone: self.active == 1, exposed }
    }

    /// The call is over. Says whether no other one of this ingestion ran beside it.
    pub(crate) fn end(&mut self, turn: &Turn) -> bool {
        self.active -= 1;
        turn.alone && self.begun == turn.number
    }

    /// A call was given up, or broke off: what it had on its way goes on.
    pub(crate) fn lose_sight(&mut self) {
        self.loose.fill(true);
    }

    /// Whether each item has met its end.
    pub(crate) fn is_settled(&self) -> bool {
        self.told.iter().all(Option::is_some)
    }

    /// An item that is settled, if there is one.
    pub(crate) fn any_settled(&self) -> Option<usize> {
        let is_settled =
            |told: &Option<Told>| told.as_ref().is_some_and(|told| told.disposition != Disposition::Invalid);
        self.told.iter().position(is_settled)
    }

    pub(crate) fn unsettled(&self) -> Vec<&str> {
        let persons = self.persons.iter().zip(&self.told);
        persons.filter(|(_, told)| told.is_none()).map(|(person, _)| person.as_str()).collect()
    }

    /// Up to which index every item has met its end.
    pub(crate) fn settled_through(&self) -> usize {
        self.told.iter().take_while(|told| told.is_some()).count()
    }

    /// Hears what a call about these items told. What another call did at the same time excuses only what it
    /// can explain.
    pub(crate) fn hear(
        &mut self,
        world: &World,
        answer: &Answer,
        range: Range<usize>,
        turn: &Turn,
        alone: bool,
    ) {
        for (index, result) in range.clone().zip(&answer.results) {
            self.hear_result(world, index, result, alone);
        }
        if answer.results.len() > range.len() {
            world.fault(format!("{} results for {} items", answer.results.len(), range.len()));
        }
        let told_through = range.start + answer.results.len();
        if answer.settled_through.is_some_and(|through| through > told_through as i64) {
            world.fault(format!("told through {told_through}, and said {:?}", answer.settled_through));
        }
        if let Some(summary) = &answer.summary {
            self.hear_end(world, answer, summary, range.len());
        }
        let reason = answer.reason();
        if answer.failure.is_some() && reason.is_none() {
            self.lose_sight();
        }
        match reason.as_deref() {
            // Whatever the world does, the service itself has no fault.
            Some("INTERNAL") => world.fault(format!("the service failed: {:?}", answer.failure)),
            // These say nothing about what another call did, or still does.
            None | Some("REQUEST_ID_IN_USE" | "DEADLINE_EXCEEDED") => {}
            Some(reason) if alone => self.hear_failure(world, turn, reason, answer),
            Some(_) => {}
        }
        if answer.failure.is_none() && answer.summary.is_none() {
            world.fault("a stream ended with OK and without its summary".to_owned());
        }
    }

    fn hear_result(&mut self, world: &World, index: usize, result: &AudienceItemResult, alone: bool) {
        let person = &self.persons[index];
        if usize::try_from(result.index) != Ok(index) || !person.ends_with(&result.item_id) {
            world.fault(format!("result {index} is about {} {}", result.index, result.item_id));
        }
        let now = Told::of(result);
        // It is about the changed item, not about the one that was here before.
        let cause = result.failure.as_ref().map(|failure| failure.reason());
        if now.disposition == Disposition::NotAttempted && cause == Some(ErrorReason::RequestIdReused) {
            return;
        }
        let (excused, unsent) = match now.disposition {
            Disposition::NotAttempted | Disposition::Invalid => (!alone, true),
            Disposition::Rejected => (false, true),
            _ => (false, false),
        };
        if !excused {
            if let Some(untrue) = world.truth.untrue(person, result) {
                world.fault(untrue);
            }
            if unsent && world.is_exposed(person) {
                world.fault(format!("{person} was told {:?}, and may be messaged", now.disposition));
            }
        }
        self.compare(world, index, &now, result.replayed, alone);
        self.loose[index] |= now.disposition == Disposition::Pending;
        let settled =
            matches!(now.disposition, Disposition::Added | Disposition::Rejected | Disposition::InDoubt);
        if settled || (now.disposition == Disposition::Invalid && self.told[index].is_none()) {
            self.told[index] = Some(now);
        }
    }

    /// The end of a call that ended in order: counted right, and for a reason where something is left.
    fn hear_end(&self, world: &World, answer: &Answer, summary: &AudienceSummary, items: usize) {
        let count =
            |wanted| answer.results.iter().filter(|result| result.disposition() == wanted).count() as i64;
        let counted = AudienceSummary {
            received: answer.results.len() as i64,
            added: count(Disposition::Added),
            invalid: count(Disposition::Invalid),
            rejected: count(Disposition::Rejected),
            not_attempted: count(Disposition::NotAttempted),
            in_doubt: count(Disposition::InDoubt),
            pending: count(Disposition::Pending),
            valid: 0,
            replayed: answer.results.iter().filter(|result| result.replayed).count() as i64,
        };
        if *summary != counted {
            world.fault(format!("the summary {summary:?} does not count the results {counted:?}"));
        }
        let unfinished = summary.not_attempted + summary.pending > 0 || answer.results.len() < items;
        // A stream that may still have more to bring can end before its end with everything told.
        let excused = answer.settled_through.is_some() && answer.termination.is_some();
        if answer.termination.is_some() != unfinished && !excused {
            world.fault(format!("{items} items, {summary:?}, and termination {:?}", answer.termination));
        }
    }

    /// What is settled stays as it was told; only a doubt may be resolved.
    fn compare(&self, world: &World, index: usize, now: &Told, replayed: bool, alone: bool) {
        let Some(before) = &self.told[index] else { return };
        use Disposition::{Added, InDoubt, Invalid, NotAttempted, Pending, Rejected};
        let allowed = match (before.disposition, now.disposition) {
            (Invalid, _) => true,
            (Added, Added) => before.message_id == now.message_id,
            (Rejected, Rejected) | (InDoubt, InDoubt | Added | Rejected) => true,
            // Two answers may pass each other on the road.
            (_, NotAttempted | Invalid | Pending) => !alone,
            _ => false,
        };
        if !allowed {
            world.fault(format!("{} was told {before:?}, and then {now:?}", self.persons[index]));
        }
        if alone && before == now && before.disposition != Invalid && !replayed {
            world.fault(format!("{} is settled, and not marked as replayed", self.persons[index]));
        }
    }

    /// Hears that the call failed as a whole, by this service's own word: then nothing of it was sent.
    fn hear_failure(&self, world: &World, turn: &Turn, reason: &str, answer: &Answer) {
        for (index, person) in self.persons.iter().enumerate() {
            let excused = turn.exposed[index] || self.loose[index];
            if !excused && world.is_exposed(person) {
                world.fault(format!("the call failed with {reason}, and {person} may be messaged by it"));
            }
        }
        let harmless = [Disposition::Invalid, Disposition::NotAttempted];
        if answer.results.iter().any(|result| !harmless.contains(&result.disposition())) {
            world.fault(format!("the call failed with {reason} after {}", answer.tell()));
        }
    }

    /// Compares what the service remembers of the ingestion with what it told.
    pub(crate) fn compare_kept(&self, world: &World, kept: &Kept, has_twin: bool) {
        if kept.answer.results.len() != self.told.len() {
            world.fault(format!("{} of {} results are kept", kept.answer.results.len(), self.told.len()));
        }
        for (index, result) in kept.answer.results.iter().enumerate() {
            if let Some(untrue) = world.truth.untrue(&self.persons[index], result) {
                world.fault(untrue);
            }
            self.compare(world, index, &Told::of(result), true, true);
        }
        let received = kept.answer.summary.as_ref().map(|summary| summary.received);
        if received != Some(self.told.len() as i64) {
            world.fault(format!("what is kept counts {received:?} items"));
        }
        // The end itself is not brought to the disk at once: a crash may take it.
        if kept.state != IngestionState::Ended && !has_twin && !world.was_disturbed() {
            world.fault(format!("an ended ingestion is kept as {:?}", kept.state));
        }
    }

    /// The items that were told INVALID and can be mended.
    pub(crate) fn forget_invalid(&mut self, index: usize) {
        self.told[index] = None;
    }
}
