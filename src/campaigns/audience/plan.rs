//! Before anything is sent: what is invalid, what an earlier call settled, and what is to be sent.

use std::collections::{HashSet, VecDeque};

use super::{
    Entry,
    progress::{Progress, Slot},
};
use crate::{
    error::{Error, Reason, Violation},
    ledger::{ClaimedItem, Fingerprint, Fingerprinter, Ingestion, KnownState, State},
    model::{Disposition, IngestionOptions, Item, Recipient},
    upstream::EncodedItem,
};

/// An item that is to be sent.
#[derive(Debug)]
pub(super) struct Planned {
    /// Its place in this call.
    pub(super) slot: usize,
    /// Its place in the ingestion.
    pub(super) index: u64,
    pub(super) fingerprint: Fingerprint,
    pub(super) item_id: String,
    pub(super) encoded: EncodedItem,
}

impl Planned {
    /// As the ledger knows it.
    pub(super) fn claimed(&self) -> ClaimedItem {
        ClaimedItem { index: self.index, fingerprint: self.fingerprint, item_id: self.item_id.clone() }
    }
}

/// Checks every item and plans nothing.
pub(super) fn validate(entries: Vec<Entry>, options: &IngestionOptions) -> Progress {
    let mut recipients = Recipients::new(options);
    let verdict = |item: Result<Item, Vec<Violation>>| match item.and_then(|item| recipients.admit(item)) {
        Ok(_) => Slot::Told(Disposition::Valid),
        Err(violations) => Slot::Told(Disposition::Invalid(Error::invalid(violations))),
    };
    let mut verdict = verdict;
    let slots = entries.into_iter().map(|entry| (entry.item_id, verdict(entry.item))).collect();
    Progress::new(options.first_index, slots)
}

/// Decides for every item, against what the ledger remembers of this request id. If an item that is
/// settled came back changed, the ingestion ends here: nothing of this call is sent.
pub(super) async fn plan(
    entries: Vec<Entry>,
    options: &IngestionOptions,
    fingerprinter: &Fingerprinter,
    ingestion: &Ingestion,
) -> Result<(Progress, VecDeque<Planned>), Error> {
    let range = options.first_index..options.first_index.saturating_add(entries.len() as u64);
    let known = ingestion.known(range).await?;
    let settled = |index: u64| {
        let at = known.binary_search_by_key(&index, |known| known.index).ok()?;
        match &known[at].state {
            KnownState::Settled(state) => Some((known[at].fingerprint?, state.clone())),
            KnownState::Invalid => None,
        }
    };
    let mut recipients = Recipients::new(options);
    let mut queue = VecDeque::with_capacity(entries.len());
    let mut slots = Vec::with_capacity(entries.len());
    let mut reused = None;
    for (slot, entry) in entries.into_iter().enumerate() {
        let index = options.first_index + slot as u64;
        let fingerprint = entry.item.as_ref().ok().map(|item| fingerprinter.of(item));
        let state = match (settled(index), entry.item) {
            (Some((known, state)), item) if Some(known) == fingerprint => {
                // A settled item's recipient still counts for those that follow.
                let _ = item.map(|item| recipients.admit(item));
                Slot::Replayed(replay(state))
            }
            (Some(_), _) => {
                reused.get_or_insert(index);
                Slot::Planned
            }
            (None, item) => match (item.and_then(|item| recipients.admit(item)), fingerprint) {
                (Ok(item), Some(fingerprint)) => {
                    let encoded = EncodedItem::new(&item);
                    let item_id = entry.item_id.clone();
                    queue.push_back(Planned { slot, index, fingerprint, item_id, encoded });
                    Slot::Planned
                }
                (Ok(_), None) => Slot::Planned,
                (Err(violations), _) => Slot::Told(Disposition::Invalid(Error::invalid(violations))),
            },
        };
        slots.push((entry.item_id, state));
    }
    let progress = Progress::new(options.first_index, slots);
    if let Some(index) = reused {
        progress.end(
            Error::new(
                Reason::RequestIdReused,
                "this request_id came before with another item in this place: use a new request_id for other items",
            )
            .with("index", index.to_string()),
        );
    }
    Ok((progress, queue))
}

/// What a settled state is to the caller.
fn replay(state: State) -> Disposition {
    match state {
        State::Added(item) => Disposition::Added(*item),
        State::Rejected(error) => Disposition::Rejected(error),
        State::InDoubt(error) => Disposition::InDoubt(error),
        // Not settled, and so never asked for here.
        State::InFlight => Disposition::Pending,
    }
}

/// The recipients that the stream has had, where the caller wants none twice.
struct Recipients(Option<HashSet<Recipient>>);

impl Recipients {
    fn new(options: &IngestionOptions) -> Self {
        Self(options.reject_duplicate_recipients.then(HashSet::new))
    }

    fn admit(&mut self, item: Item) -> Result<Item, Vec<Violation>> {
        let Some(seen) = &mut self.0 else { return Ok(item) };
        if seen.insert(item.recipient.clone()) {
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
