//! The state of an item, as a pure machine. What is not written here cannot happen, in release builds too.

use std::sync::Arc;

use crate::{error::Error, model::AddedItem};

/// What is recorded of an item. No record at all is `PLANNED`: nothing was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Claimed: a byte of it may be on the wire.
    InFlight,
    /// The upstream took it.
    Added(Arc<AddedItem>),
    /// The upstream refused this very item.
    Rejected(Error),
    /// It was sent, and no trustworthy answer came back.
    InDoubt(Error),
}

impl State {
    /// Whether the item must not be sent again.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::InFlight => false,
            Self::Added(_) | Self::Rejected(_) | Self::InDoubt(_) => true,
        }
    }
}

/// What happens to an item.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is about to be sent.
    Claim,
    /// A checked answer: the upstream took it.
    Added(Arc<AddedItem>),
    /// A checked answer: the upstream refused this very item.
    Rejected(Error),
    /// Proof that nothing was applied.
    NotApplied,
    /// No trustworthy answer.
    Doubt(Error),
}

/// An event that the item's state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger does not allow {event} while an item is {state}")]
pub struct Forbidden {
    state: &'static str,
    event: &'static str,
}

/// The next state; `None` is `PLANNED`.
///
/// # Errors
/// Every pair that the arms below do not name.
pub(super) fn step(state: Option<&State>, event: Event) -> Result<Option<State>, Forbidden> {
    match (state, event) {
        (None, Event::Claim) => Ok(Some(State::InFlight)),
        (Some(State::InFlight), Event::Added(item)) => Ok(Some(State::Added(item))),
        (Some(State::InFlight), Event::Rejected(error)) => Ok(Some(State::Rejected(error))),
        (Some(State::InFlight), Event::NotApplied) => Ok(None),
        (Some(State::InFlight), Event::Doubt(error)) => Ok(Some(State::InDoubt(error))),
        // Doubt is resolved by a repeat under proven keys or by an operator's word, never by time.
        (Some(State::InDoubt(_)), Event::Added(item)) => Ok(Some(State::Added(item))),
        (Some(State::InDoubt(_)), Event::Rejected(error)) => Ok(Some(State::Rejected(error))),
        (state, event) => Err(Forbidden {
            state: match state {
                None => "PLANNED",
                Some(State::InFlight) => "IN_FLIGHT",
                Some(State::Added(_)) => "ADDED",
                Some(State::Rejected(_)) => "REJECTED",
                Some(State::InDoubt(_)) => "IN_DOUBT",
            },
            event: match event {
                Event::Claim => "a claim",
                Event::Added(_) => "an addition",
                Event::Rejected(_) => "a rejection",
                Event::NotApplied => "a release",
                Event::Doubt(_) => "a doubt",
            },
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{error::Reason, model::MessageId};

    fn states() -> Vec<Option<State>> {
        let error = Error::new(Reason::OutcomeUnknown, "x");
        vec![
            None,
            Some(State::InFlight),
            Some(State::Added(added())),
            Some(State::Rejected(error.clone())),
            Some(State::InDoubt(error)),
        ]
    }

    fn added() -> Arc<AddedItem> {
        let message_id = MessageId::parse("m").unwrap();
        Arc::new(AddedItem { message_id, contact_id: String::new(), schedule: None })
    }

    fn events() -> Vec<Event> {
        let error = Error::new(Reason::OutcomeUnknown, "y");
        vec![
            Event::Claim,
            Event::Added(added()),
            Event::Rejected(error.clone()),
            Event::NotApplied,
            Event::Doubt(error),
        ]
    }

    #[test]
    fn only_the_transitions_of_the_design_are_allowed() {
        let allowed: Vec<(usize, usize)> = states()
            .iter()
            .enumerate()
            .flat_map(|(s, state)| {
                events()
                    .into_iter()
                    .enumerate()
                    .filter(|(_, event)| step(state.as_ref(), event.clone()).is_ok())
                    .map(move |(e, _)| (s, e))
                    .collect::<Vec<_>>()
            })
            .collect();
        // (state, event) by their places above: claim what is planned, end what is in flight, resolve doubt.
        assert_eq!(allowed, [(0, 0), (1, 1), (1, 2), (1, 3), (1, 4), (4, 1), (4, 2)]);
    }

    #[test]
    fn no_settled_item_can_be_claimed_again() {
        for state in states().into_iter().flatten() {
            let forbidden = step(Some(&state), Event::Claim).unwrap_err();
            assert!(forbidden.to_string().contains("a claim"), "{forbidden}");
        }
    }
}
