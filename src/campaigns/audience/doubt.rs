//! The doubt breaker: where an upstream leaves batch after batch without an answer, sending more only
//! piles up doubt. One breaker a campaign, shared by all its ingestions.
//!
//! It opens after some batches in a row in doubt of the transport kind; then one item at a time may probe,
//! and a clean answer closes it. It also opens with too many unresolved in-doubt items in the campaign;
//! then nothing is sent until an operator has resolved some, because a probe could only add to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::{Error, Reason},
    model::{CampaignId, WorkspaceId},
};

/// Between two probes: a caller that repeats its call at once must not turn each repeat into doubt.
const PROBE_PAUSE: Duration = Duration::from_secs(10);

/// A campaign's streak is forgotten when nothing was sent to it for so long.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// When sending to a campaign stops.
#[derive(Clone, Copy, Debug)]
pub struct DoubtLimits {
    /// So many batches in a row in doubt for want of an answer; at least 1.
    pub in_a_row: u32,
    /// So many unresolved items in doubt in one campaign; at least 1.
    pub unresolved: u64,
}

impl Default for DoubtLimits {
    fn default() -> Self {
        Self { in_a_row: 5, unresolved: 1_000 }
    }
}

/// All campaigns' breakers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct DoubtBreakers {
    limits: DoubtLimits,
    campaigns: Arc<Mutex<HashMap<Key, Doubts>>>,
}

type Key = (WorkspaceId, CampaignId);

#[derive(Debug)]
struct Doubts {
    /// How many ingestions hold a [`DoubtBreaker`].
    users: usize,
    in_a_row: u32,
    unresolved: u64,
    probing: bool,
    last_doubt: Instant,
}

/// One campaign's breaker, in the hands of one ingestion.
#[derive(Debug)]
pub(super) struct DoubtBreaker {
    all: DoubtBreakers,
    key: Key,
}

/// How much may be sent now.
#[derive(Debug)]
pub(super) enum Pass {
    /// A batch as usual.
    Free,
    /// One item, alone. Until it is dropped nobody else probes.
    Probe(#[expect(dead_code, reason = "held for its drop")] Probe),
}

/// The right to probe.
#[derive(Debug)]
pub(super) struct Probe {
    all: DoubtBreakers,
    key: Key,
}

impl DoubtBreakers {
    pub(super) fn new(limits: DoubtLimits) -> Self {
        Self { limits, campaigns: Arc::default() }
    }

    /// A campaign's breaker. `unresolved`: what the ledger counts at this moment.
    pub(super) fn join(
        &self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
        unresolved: u64,
    ) -> DoubtBreaker {
        let key = (workspace, campaign.clone());
        let now = Instant::now();
        let mut campaigns = self.lock();
        campaigns.retain(|_, doubts| doubts.users > 0 || now.duration_since(doubts.last_doubt) < MEMORY);
        let doubts = campaigns.entry(key.clone()).or_insert(Doubts {
            users: 0,
            in_a_row: 0,
            unresolved: 0,
            probing: false,
            last_doubt: now,
        });
        doubts.users += 1;
        // The ledger's word is newer: an operator may have resolved some since.
        doubts.unresolved = unresolved;
        drop(campaigns);
        DoubtBreaker { all: self.clone(), key }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Doubts>> {
        self.campaigns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DoubtBreaker {
    /// Asked before each batch.
    ///
    /// # Errors
    /// `DoubtLimitReached`: send nothing.
    pub(super) fn pass(&self) -> Result<Pass, Error> {
        let mut campaigns = self.all.lock();
        let Some(doubts) = campaigns.get_mut(&self.key) else { return Ok(Pass::Free) };
        if doubts.unresolved >= self.all.limits.unresolved {
            return Err(Error::new(
                Reason::DoubtLimitReached,
                "too many items of this campaign are in doubt: nothing more is sent to it until an operator \
                 has resolved some (blubash-grpc ledger list)",
            ));
        }
        if doubts.in_a_row < self.all.limits.in_a_row {
            return Ok(Pass::Free);
        }
        let left = PROBE_PAUSE.saturating_sub(doubts.last_doubt.elapsed());
        if doubts.probing || !left.is_zero() {
            return Err(unanswered().retry_after(left.max(Duration::from_secs(1))));
        }
        doubts.probing = true;
        Ok(Pass::Probe(Probe { all: self.all.clone(), key: self.key.clone() }))
    }

    /// The upstream gave a clean answer: it can be talked to.
    pub(super) fn answered(&self) {
        if let Some(doubts) = self.all.lock().get_mut(&self.key) {
            doubts.in_a_row = 0;
        }
    }

    /// So many items are in doubt now; `by_refusal`: because the upstream refused a batch of several,
    /// which is an answer.
    pub(super) fn doubted(&self, items: usize, by_refusal: bool) {
        if let Some(doubts) = self.all.lock().get_mut(&self.key) {
            doubts.unresolved += items as u64;
            doubts.last_doubt = Instant::now();
            doubts.in_a_row = if by_refusal { 0 } else { doubts.in_a_row.saturating_add(1) };
        }
    }
}

fn unanswered() -> Error {
    Error::new(
        Reason::DoubtLimitReached,
        "the upstream left several batches of this campaign in a row without an answer: sending has stopped, \
         but for one item at a time",
    )
}

impl Drop for DoubtBreaker {
    fn drop(&mut self) {
        let mut campaigns = self.all.lock();
        let Some(doubts) = campaigns.get_mut(&self.key) else { return };
        doubts.users -= 1;
        // The count of unresolved items is the ledger's to keep; a streak is kept here alone.
        if doubts.users == 0 && doubts.in_a_row == 0 {
            campaigns.remove(&self.key);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(doubts) = self.all.lock().get_mut(&self.key) {
            doubts.probing = false;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn breaker(all: &DoubtBreakers, campaign: &str, unresolved: u64) -> DoubtBreaker {
        all.join(WorkspaceId([1; 16]), &CampaignId::parse(campaign).unwrap(), unresolved)
    }

    fn refused(breaker: &DoubtBreaker) -> Error {
        let refused = breaker.pass().unwrap_err();
        assert_eq!(refused.reason(), Reason::DoubtLimitReached);
        refused
    }

    #[tokio::test(start_paused = true)]
    async fn after_five_doubts_in_a_row_only_one_probe_at_a_time_passes_and_its_answer_closes_it() {
        let all = DoubtBreakers::new(DoubtLimits::default());
        let (one, two) = (breaker(&all, "c", 0), breaker(&all, "c", 0));
        for _ in 0..5 {
            assert!(matches!(two.pass().unwrap(), Pass::Free));
            one.doubted(1, false);
        }
        // Neither at once, nor for a caller that comes later.
        assert_eq!(refused(&two).retry_delay(), Some(PROBE_PAUSE));
        drop(one);
        let one = breaker(&all, "c", 5);
        assert!(matches!(breaker(&all, "other", 0).pass().unwrap(), Pass::Free));
        tokio::time::advance(PROBE_PAUSE).await;
        let probe = one.pass().unwrap();
        assert!(matches!(probe, Pass::Probe(_)));
        refused(&two);
        drop(probe);
        let probe = two.pass().unwrap();
        assert!(matches!(probe, Pass::Probe(_)), "a probe that was not sent leaves its place");
        two.doubted(1, false);
        drop(probe);
        refused(&one);
        tokio::time::advance(PROBE_PAUSE).await;
        let probe = one.pass().unwrap();
        one.answered();
        drop(probe);
        assert!(matches!(two.pass().unwrap(), Pass::Free));
    }

    #[tokio::test(start_paused = true)]
    async fn the_refusal_of_a_batch_is_an_answer_and_ends_a_row_of_doubts() {
        let all = DoubtBreakers::new(DoubtLimits::default());
        let one = breaker(&all, "c", 0);
        for _ in 0..9 {
            for _ in 0..4 {
                one.doubted(1, false);
            }
            one.doubted(1, true);
        }
        assert!(matches!(one.pass().unwrap(), Pass::Free));
    }

    #[tokio::test(start_paused = true)]
    async fn with_too_many_unresolved_items_nothing_passes_until_some_are_resolved() {
        let all = DoubtBreakers::new(DoubtLimits { unresolved: 10, ..DoubtLimits::default() });
        let one = breaker(&all, "c", 8);
        assert!(one.pass().is_ok());
        one.doubted(2, true);
        assert_eq!(refused(&one).retry_delay(), None);
        one.answered();
        tokio::time::advance(MEMORY).await;
        refused(&one);
        assert!(breaker(&all, "c", 9).pass().is_ok(), "an operator resolved one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_campaign_without_doubts_is_not_remembered() {
        let all = DoubtBreakers::new(DoubtLimits::default());
        drop(breaker(&all, "c", 0));
        assert!(all.lock().is_empty());
    }
}
