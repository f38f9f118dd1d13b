//! The items of an ingestion that are read and not yet told of, in order: a result leaves only when all
//! before it have left.

use std::collections::VecDeque;

use crate::{
    error::Error,
    model::{Disposition, ItemResult, ResultView, Summary},
};

/// Where an item stands.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Not sent.
    Planned,
    /// On its way.
    InFlight,
    /// Refused here; told once the refusal is on record.
    Refused(Error),
    /// This call's own verdict.
    Told(Disposition),
    /// What an earlier call had settled.
    Replayed(Disposition),
}

#[derive(Debug)]
pub(super) struct Window {
    /// The index of the first item that is not yet told of.
    front: u64,
    slots: VecDeque<(String, Slot)>,
    view: ResultView,
    /// The items that were told of, counted.
    summary: Summary,
}

impl Window {
    pub(super) fn new(first_index: u64, view: ResultView) -> Self {
        Self { front: first_index, slots: VecDeque::new(), view, summary: Summary::default() }
    }

    /// Every item with an index below it has been told of.
    pub(super) fn settled_through(&self) -> u64 {
        self.front
    }

    /// The index of the next item to be read.
    pub(super) fn next_index(&self) -> u64 {
        self.front + self.slots.len() as u64
    }

    /// How many items are read and not yet told of.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    pub(super) fn push(&mut self, item_id: String, slot: Slot) {
        self.slots.push_back((item_id, slot));
    }

    /// Says where an item stands now. One that was told of already is the ledger's alone.
    pub(super) fn put(&mut self, index: u64, now: Slot) {
        if let Some(slot) = self.slot(index) {
            *slot = now;
        }
    }

    /// Tells an item's refusal, which is on record now.
    pub(super) fn confirm(&mut self, index: u64) {
        if let Some(slot) = self.slot(index)
            && let Slot::Refused(error) = slot
        {
            *slot = Slot::Told(Disposition::Invalid(error.clone()));
        }
    }

    fn slot(&mut self, index: u64) -> Option<&mut Slot> {
        let at = usize::try_from(index.checked_sub(self.front)?).ok()?;
        self.slots.get_mut(at).map(|(_, slot)| slot)
    }

    /// What was not sent will not be: nothing further begins, for this cause.
    pub(super) fn abandon_planned(&mut self, cause: &Error) {
        for (_, slot) in &mut self.slots {
            if matches!(slot, Slot::Planned) {
                *slot = Slot::Told(Disposition::NotAttempted(cause.clone()));
            }
        }
    }

    /// There is no time left: everything is told as it stands. What is on its way is pending.
    pub(super) fn tell_all(&mut self, cause: &Error) {
        self.abandon_planned(cause);
        for (_, slot) in &mut self.slots {
            match slot {
                Slot::InFlight => *slot = Slot::Told(Disposition::Pending),
                Slot::Refused(error) => *slot = Slot::Told(Disposition::Invalid(error.clone())),
                Slot::Planned | Slot::Told(_) | Slot::Replayed(_) => {}
            }
        }
    }

    /// Whether there is something to tell.
    pub(super) fn has_told(&self) -> bool {
        matches!(self.slots.front(), Some((_, Slot::Told(_) | Slot::Replayed(_))))
    }

    /// Takes up to so many results from the front. What the view leaves out is counted all the same.
    pub(super) fn tell(&mut self, most: usize) -> Vec<ItemResult> {
        let mut results = Vec::with_capacity(match self.view {
            ResultView::Summary => 0,
            ResultView::All | ResultView::Failures => most.min(self.slots.len()),
        });
        while results.len() < most && self.has_told() {
            let Some((item_id, slot)) = self.slots.pop_front() else { break };
            let (disposition, replayed) = match slot {
                Slot::Told(disposition) => (disposition, false),
                Slot::Replayed(disposition) => (disposition, true),
                // `has_told` has just said that it is none of these.
                Slot::Planned | Slot::InFlight | Slot::Refused(_) => (Disposition::Pending, false),
            };
            let result = ItemResult { index: self.front, item_id, disposition, replayed };
            self.front += 1;
            self.summary.count(&result);
            if self.view.shows(&result.disposition) {
                results.push(result);
            }
        }
        results
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn cause() -> Error {
        Error::new(Reason::CampaignPaused, "x")
    }

    fn window(slots: impl IntoIterator<Item = Slot>) -> Window {
        let mut window = Window::new(7, ResultView::All);
        slots.into_iter().for_each(|slot| window.push("id".into(), slot));
        window
    }

    fn told(disposition: Disposition) -> Slot {
        Slot::Told(disposition)
    }

    #[test]
    fn a_result_waits_for_all_that_stand_before_it() {
        let mut window = window([Slot::InFlight, told(Disposition::Valid), Slot::Planned]);
        assert!(!window.has_told());
        assert_eq!(window.tell(9), []);
        window.put(7, told(Disposition::Valid));
        let indexes: Vec<u64> = window.tell(9).iter().map(|result| result.index).collect();
        assert_eq!((indexes, window.settled_through(), window.next_index()), (vec![7, 8], 9, 10));
        // What comes in for an item that was told of changes nothing any more.
        window.put(7, Slot::Planned);
        assert_eq!(window.len(), 1);
    }

    #[test]
    fn at_the_end_of_time_each_item_is_told_as_it_stands() {
        let refused = Slot::Refused(Error::invalid_field("name", "x"));
        let mut window = window([Slot::Planned, Slot::InFlight, refused, told(Disposition::Valid)]);
        window.tell_all(&cause());
        let results = window.tell(9);
        let dispositions: Vec<_> = results.into_iter().map(|result| result.disposition).collect();
        assert!(
            matches!(
                &dispositions[..],
                [
                    Disposition::NotAttempted(_),
                    Disposition::Pending,
                    Disposition::Invalid(_),
                    Disposition::Valid
                ]
            ),
            "{dispositions:?}"
        );
        let summary = window.summary();
        assert_eq!((summary.received, summary.not_attempted, summary.pending, summary.invalid), (4, 1, 1, 1));
    }

    #[test]
    fn what_the_view_leaves_out_is_counted_all_the_same() {
        let mut window = Window::new(0, ResultView::Failures);
        window.push(String::new(), told(Disposition::Valid));
        window.push(String::new(), told(Disposition::NotAttempted(cause())));
        assert_eq!(window.tell(1).len(), 1);
        assert_eq!((window.summary().received, window.summary().valid), (2, 1));
    }
}
