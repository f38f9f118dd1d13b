//! What the callers of one ingestion were told, and whether it is true.

use blubash_grpc::pb::{AddAudienceResponse, AudienceItemResult, Disposition};

use crate::world::World;

pub(crate) struct Book {
    /// Whom each item is for, as the truth names it.
    persons: Vec<String>,
    /// What was told of each item last, where it was settled or INVALID.
    told: Vec<Option<Told>>,
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
        Self { told: vec![None; persons.len()], persons, active: 0, begun: 0 }
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

    /// Whether each item has met its end.
    pub(crate) fn is_settled(&self) -> bool {
        self.told.iter().all(Option::is_some)
    }

    pub(crate) fn unsettled(&self) -> Vec<&str> {
        let persons = self.persons.iter().zip(&self.told);
        persons.filter(|(_, told)| told.is_none()).map(|(person, _)| person.as_str()).collect()
    }

    /// Hears an answer about all items. What another call did at the same time excuses only what it can explain.
    pub(crate) fn hear(&mut self, world: &World, answer: &AddAudienceResponse, alone: bool) {
        if answer.results.len() != self.persons.len() {
            world.fault(format!("{} results for {} items", answer.results.len(), self.persons.len()));
            return;
        }
        for (index, result) in answer.results.iter().enumerate() {
            let person = &self.persons[index];
            if usize::try_from(result.index) != Ok(index) || !person.ends_with(&result.item_id) {
                world.fault(format!("result {index} is about {} {}", result.index, result.item_id));
            }
            let now = Told::of(result);
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
            let settled =
                matches!(now.disposition, Disposition::Added | Disposition::Rejected | Disposition::InDoubt);
            if settled || (now.disposition == Disposition::Invalid && self.told[index].is_none()) {
                self.told[index] = Some(now);
            }
        }
        let summary = answer.summary.clone().unwrap_or_default();
        let count =
            |wanted| answer.results.iter().filter(|result| result.disposition() == wanted).count() as i64;
        let unfinished = count(Disposition::NotAttempted) + count(Disposition::Pending);
        if (summary.received, summary.added, summary.in_doubt, summary.rejected)
            != (
                answer.results.len() as i64,
                count(Disposition::Added),
                count(Disposition::InDoubt),
                count(Disposition::Rejected),
            )
        {
            world.fault(format!("the summary does not count the results: {summary:?}"));
        }
        if answer.termination.is_some() != (unfinished > 0) {
            world.fault(format!(
                "{unfinished} items without an end, and termination {:?}",
                answer.termination
            ));
        }
    }

    /// What is settled stays as it was told; only a doubt may be resolved.
    fn compare(&self, world: &World, index: usize, now: &Told, replayed: bool, alone: bool) {
        let Some(before) = &self.told[index] else { return };
        use Disposition::{Added, InDoubt, Invalid, NotAttempted, Rejected};
        let allowed = match (before.disposition, now.disposition) {
            (Invalid, _) => true,
            (Added, Added) => before.message_id == now.message_id,
            (Rejected, Rejected) | (InDoubt, InDoubt | Added | Rejected) => true,
            // Two answers may pass each other on the road.
            (_, NotAttempted | Invalid) => !alone,
            _ => false,
        };
        if !allowed {
            world.fault(format!("{} was told {before:?}, and then {now:?}", self.persons[index]));
        }
        if alone && before == now && before.disposition != Invalid && !replayed {
            world.fault(format!("{} is settled, and not marked as replayed", self.persons[index]));
        }
    }

    /// Hears that the call failed as a whole, by this service's own word: then it sent nothing.
    pub(crate) fn hear_failure(&mut self, world: &World, turn: &Turn, reason: &str) {
        for (person, was_exposed) in self.persons.iter().zip(&turn.exposed) {
            if !was_exposed && world.is_exposed(person) {
                world.fault(format!("the call failed with {reason}, and {person} may be messaged by it"));
            }
        }
    }

    /// The items that were told INVALID and can be mended.
    pub(crate) fn forget_invalid(&mut self, index: usize) {
        self.told[index] = None;
    }
}
