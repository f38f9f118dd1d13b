//! Before anything is sent: what is invalid, what an earlier call settled, and what is to be sent.

use std::collections::HashSet;

use super::{Entry, window::Slot};
use crate::{
    error::{Error, Reason, Violation},
    ledger::{Fingerprint, Fingerprinter, Known, KnownState, Refused, State},
    model::{Disposition, IngestionOptions, Item, Recipient},
    upstream::EncodedItem,
};

/// An item that is to be sent.
#[derive(Debug)]
pub(super) struct Planned {
    /// Its place in the ingestion.
    pub(super) index: u64,
    pub(super) item_id: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) encoded: EncodedItem,
}

/// What is to become of some items that were read together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Where each stands, in order, under its caller's name for it.
    pub(super) slots: Vec<(String, Slot)>,
    pub(super) queue: Vec<Planned>,
    pub(super) refused: Vec<Refused>,
    /// A settled item came back changed: the ingestion ends, and nothing of these items is sent.
    pub(super) reused: Option<Error>,
}

/// Decides for each item, in order.
pub(super) struct Planner {
    fingerprinter: Fingerprinter,
    /// The recipients that the stream has had, where the caller wants none twice: by their digests, so
    /// that a million of them take little room.
    recipients: Option<HashSet<Fingerprint>>,
    validate_only: bool,
}

impl Planner {
    pub(super) fn new(fingerprinter: Fingerprinter, options: &IngestionOptions) -> Self {
        Self {
            fingerprinter,
            recipients: options.reject_duplicate_recipients.then(HashSet::new),
            validate_only: options.validate_only,
        }
    }

    /// Decides for items of which the first has this index, against what the ledger remembers of them
    /// (in order).
    pub(super) fn plan(&mut self, first_index: u64, entries: Vec<Entry>, known: Vec<Known>) -> Plan {
        let mut known = known.into_iter().peekable();
        let mut plan = Plan { slots: Vec::with_capacity(entries.len()), ..Plan::default() };
        for (index, entry) in (first_index..).zip(entries) {
            let remembered = known.next_if(|known| known.index == index);
            let slot = self.decide(index, &entry.item_id, entry.item, remembered, &mut plan);
            plan.slots.push((entry.item_id, slot));
        }
        plan
    }

    fn decide(
        &mut self,
        index: u64,
        item_id: &str,
        item: Result<Item, Vec<Violation>>,
        remembered: Option<Known>,
        plan: &mut Plan,
    ) -> Slot {
        let fingerprint = match &item {
            Ok(item) if !self.validate_only => Some(self.fingerprinter.of(item)),
            _ => None,
        };
        if let Some(Known { state: KnownState::Settled(state), fingerprint: settled, .. }) = remembered {
            if settled.is_none() || settled != fingerprint {
                plan.reused.get_or_insert_with(|| reused(index));
                return Slot::Planned;
            }
            // A settled item's recipient still counts for those that follow.
            let _ = item.map(|item| self.admit(item));
            return Slot::Replayed(replay(state));
        }
        match (item.and_then(|item| self.admit(item)), fingerprint) {
            (Err(violations), _) => {
                let error = Error::invalid(violations);
                if self.validate_only {
                    return Slot::Told(Disposition::Invalid(error));
                }
                plan.refused.push(Refused { index, item_id: item_id.to_owned(), error: error.clone() });
                Slot::Refused(error)
            }
            (Ok(item), Some(fingerprint)) => {
                let encoded = EncodedItem::new(&item);
                plan.queue.push(Planned { index, item_id: item_id.to_owned(), fingerprint, encoded });
                Slot::Planned
            }
            (Ok(_), None) => Slot::Told(Disposition::Valid),
        }
    }

    fn admit(&mut self, item: Item) -> Result<Item, Vec<Violation>> {
        let Some(seen) = &mut self.recipients else { return Ok(item) };
        if seen.insert(self.fingerprinter.of_recipient(&item.recipient)) {
            return Ok(item);
        }
        let field = match item.recipient {
            Recipient::ContactId(_) => "contact_id",
            Recipient::Identifier(_) => "identifier",
        };
        let message = "an earlier item of this stream has the same recipient";
        Err(vec![Violation::new(field, Reason::DuplicateRecipient, message)])
    }
}

fn reused(index: u64) -> Error {
    Error::new(
        Reason::RequestIdReused,
        "this request_id came before with another item in this place: use a new request_id for other items",
    )
    .with("index", index.to_string())
}

/// What a settled state is to the caller.
fn replay(state: State) -> Disposition {
    match state {
        State::Added(item) => Disposition::Added(item),
        State::Rejected(error) => Disposition::Rejected(error),
        State::InDoubt(error) => Disposition::InDoubt(error),
        // Not settled, and so never remembered as such.
        State::InFlight => Disposition::Pending,
    }
}
