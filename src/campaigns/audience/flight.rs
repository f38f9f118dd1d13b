//! One batch on its way: permit, claim, send, record. And, where the upstream is known to honour
//! idempotency keys, the repeats of a batch in doubt.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    doubt::{DoubtBreaker, Pass},
    plan::Planned,
};
use crate::{
    campaigns::writes::Writes,
    clock::Clock,
    context::Context,
    error::{Error, Reason},
    ledger::{Claim, ClaimedItem, Event, Frozen, FrozenDoubt, Ingestion, Refused},
    model::CampaignId,
    telemetry::{metrics, names, trace::Link},
    upstream::{self, Batch, Outcome},
};

/// With proven keys a batch in doubt is sent at most so often, the first time included ...
const MAX_PROVEN_ATTEMPTS: u32 = 3;
/// ... not after so long ...
const PROVEN_FOR: chrono::TimeDelta = chrono::TimeDelta::minutes(10);
/// ... and one with an immediate item not after so long: a late "now" is the wrong hour.
const IMMEDIATE_PROVEN_FOR: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

/// The pause before a proven batch is repeated, doubled each time.
const PROVEN_PAUSE: Duration = Duration::from_millis(500);

/// What every batch of an ingestion shares.
pub(super) struct Desk {
    pub(super) ctx: Context,
    pub(super) campaign: CampaignId,
    pub(super) default_zone: Option<Tz>,
    pub(super) ingestion: Arc<Ingestion>,
    pub(super) breaker: DoubtBreaker,
    pub(super) client: upstream::Client,
    pub(super) writes: Writes,
    /// The call that brought the items: a batch is no part of it, but says whose it is.
    pub(super) caller: Link,
    pub(super) clock: Clock,
    pub(super) proven_keys: bool,
    /// Says that the drain's time is over.
    pub(super) stopping: CancellationToken,
}

/// What comes back to the engine.
pub(super) enum Landed {
    /// A batch that the upstream has answered, or never will, and what is to be put on record of it. `pass`
    /// is given back only now, when its outcome is known.
    Answered { number: u64, batch: Vec<Planned>, outcome: Outcome, claim: Option<Claim>, pass: Pass },
    /// A batch whose outcome is on record, and can be told.
    Recorded { number: u64, batch: Vec<Planned>, outcome: Outcome },
    /// A batch that was called back before anything of it was claimed.
    Halted { number: u64 },
    /// What earlier calls left in doubt was asked for once more.
    Resolved,
    /// Items that were refused here, and whether that could be recorded.
    Refused { indexes: Vec<u64>, recorded: Result<(), Error> },
}

/// Whether a batch may still be called back. The engine and its flights run in one task, so there is no
/// moment at which both could have it.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    is_gone: AtomicBool,
    halted: CancellationToken,
}

impl Ticket {
    /// From here on the batch counts as on its way; `false`: it was called back.
    fn take_off(&self) -> bool {
        let may_go = !self.halted.is_cancelled();
        self.is_gone.store(may_go, Ordering::Relaxed);
        may_go
    }

    /// Calls the batch back, and it stops waiting for its turn; `false`: it is on its way.
    pub(super) fn halt(&self) -> bool {
        let may_halt = !self.is_gone.load(Ordering::Relaxed);
        if may_halt {
            self.halted.cancel();
        }
        may_halt
    }
}

impl Desk {
    /// One batch from permit to answer. What became of it is not on record yet.
    pub(super) async fn fly(
        self: Arc<Self>,
        number: u64,
        ticket: Arc<Ticket>,
        batch: Vec<Planned>,
        pass: Pass,
    ) -> Landed {
        // Before the claim: what waits for its turn is not on its way, and can be called back.
        let admission = tokio::select! {
            biased;
            () = ticket.halted.cancelled() => return Landed::Halted { number },
            admission = self.client.admit(&self.ctx) => admission,
        };
        let admission = match admission {
            Ok(admission) => admission,
            Err(error) => {
                let outcome = Outcome::NotApplied(error);
                return Landed::Answered { number, batch, outcome, claim: None, pass };
            }
        };
        if !ticket.take_off() {
            return Landed::Halted { number };
        }
        let span = tracing::trace_span!(target: names::SPANS, parent: None, "batch", items = batch.len());
        self.caller.add_to(&span);
        let (outcome, claim) = self.send(&batch, admission).instrument(span).await;
        Landed::Answered { number, batch, outcome, claim, pass }
    }

    async fn send(&self, batch: &[Planned], admission: upstream::Admission) -> (Outcome, Option<Claim>) {
        let items: Vec<_> = batch.iter().map(|item| &item.encoded).collect();
        let framed = Batch::frame(self.default_zone, &items);
        // Where keys are not proven the bytes serve nothing, and personal data stays off the disk.
        let frozen = self
            .proven_keys
            .then(|| Frozen { bytes: framed.freeze().into(), has_immediate: framed.has_immediate() });
        let claimed = batch.iter().map(|item| ClaimedItem {
            index: item.index,
            fingerprint: item.fingerprint,
            item_id: item.item_id.clone(),
        });
        let mut claim = match self.ingestion.claim(claimed.collect(), frozen).await {
            Ok(claim) => claim,
            Err(error) => return (Outcome::NotApplied(error), None),
        };
        let claimed_at = self.clock.now();
        let mut outcome = self.client.add_audience(&self.ctx, &self.campaign, &framed, admission).await;
        if self.proven_keys && is_unanswered(&outcome) {
            outcome = self.repeat(&framed, outcome, &mut claim, 1, claimed_at).await;
        }
        count_mismatches(&outcome);
        match &outcome {
            Outcome::Refused(error) => self.writes.failed(self.ctx.workspace.id, error),
            outcome if is_unapplied(outcome) => {}
            _ => self.writes.added(self.ctx.workspace.id, &self.campaign),
        }
        (outcome, Some(claim))
    }

    /// Puts a batch's outcome on record. (In a flight of its own: meanwhile the next batch can be claimed,
    /// and both go to the disk together.)
    pub(super) async fn record(number: u64, batch: Vec<Planned>, outcome: Outcome, claim: Claim) -> Landed {
        let outcome = match record(claim, &outcome, batch.len()).await {
            Ok(()) => outcome,
            // That nothing was done is proven all the same. A repeat finds the items free, or in doubt if the
            // process ends before the ledger's disk works again.
            Err(error) if is_unapplied(&outcome) => Outcome::NotApplied(error),
            // Never tell what is not on record: a repeat would tell otherwise.
            Err(error) => Outcome::InDoubt {
                error: Error::new(Reason::OutcomeUnknown, format!("the outcome was not recorded: {error}"))
                    .maybe_applied(),
                by_refusal: false,
            },
        };
        Landed::Recorded { number, batch, outcome }
    }

    /// Sends a batch again that is in doubt, the same bytes under the same key, for as long as that may
    /// be. The upstream is known to honour keys: nobody can be added twice.
    async fn repeat(
        &self,
        batch: &Batch,
        mut outcome: Outcome,
        claim: &mut Claim,
        mut attempts: u32,
        claimed_at: DateTime<Utc>,
    ) -> Outcome {
        // The doubt is worth resolving when the caller is gone, too: a repeat of its call finds the answer.
        let ctx = self.ctx.without_deadline();
        let until = claimed_at + if batch.has_immediate() { IMMEDIATE_PROVEN_FOR } else { PROVEN_FOR };
        while is_unanswered(&outcome) && attempts < MAX_PROVEN_ATTEMPTS {
            let turn = async {
                tokio::time::sleep(PROVEN_PAUSE * 2_u32.pow(attempts - 1)).await;
                self.client.admit(&ctx).await.ok()
            };
            // A server that goes away waits for no turn: the bytes are kept, and the call's repeat goes on.
            let turn = tokio::select! {
                () = self.stopping.cancelled() => None,
                admission = turn => admission,
            };
            let Some(admission) = turn else { break };
            // Counted on disk first: a crash in between must not make it one more.
            if self.clock.now() > until || claim.attempt().await.is_err() {
                break;
            }
            attempts += 1;
            // That this repeat was not applied says nothing about the attempt before it.
            let answer = self.client.add_audience(&ctx, &self.campaign, batch, admission).await;
            if answer.settles_its_key() {
                outcome = answer;
            }
        }
        outcome
    }

    /// What an earlier call or process left in doubt under a proven key, sent again before this call's
    /// items are looked at: they may be settled by then.
    pub(super) async fn resolve(&self, left: FrozenDoubt) {
        let FrozenDoubt { bytes, claimed_at, attempts, mut claim, .. } = left;
        let Some(batch) = Batch::thaw(&bytes) else { return claim.leave() };
        let doubt = Error::new(Reason::OutcomeUnknown, "still in doubt").maybe_applied();
        let doubt = Outcome::InDoubt { error: doubt, by_refusal: false };
        let outcome = self.repeat(&batch, doubt, &mut claim, attempts.max(1), claimed_at).await;
        let recorded = match &outcome {
            Outcome::Added(_) | Outcome::Rejected(_) => {
                self.writes.added(self.ctx.workspace.id, &self.campaign);
                record(claim, &outcome, batch.item_count()).await
            }
            Outcome::NotApplied(_)
            | Outcome::Refused(_)
            | Outcome::Split { .. }
            | Outcome::InDoubt { .. } => {
                claim.leave();
                Ok(())
            }
        };
        if let Err(error) = recorded {
            tracing::warn!(%error, "a resolved doubt could not be recorded: it stays in doubt");
        }
    }

    /// Puts items on record that were refused here.
    pub(super) async fn refuse(self: Arc<Self>, refused: Vec<Refused>) -> Landed {
        let indexes = refused.iter().map(|refused| refused.index).collect();
        Landed::Refused { indexes, recorded: self.ingestion.refuse(refused).await }
    }
}

/// Counts the messages that the upstream scheduled for another instant than it should have.
fn count_mismatches(outcome: &Outcome) {
    let Outcome::Added(items) = outcome else { return };
    for item in items {
        if item.schedule.as_ref().is_some_and(|schedule| schedule.expected_time.is_some()) {
            metrics().schedule_mismatch();
        }
    }
}

/// In doubt for want of an answer. A refused batch has its answer: another try would get the same.
fn is_unanswered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::InDoubt { by_refusal: false, .. })
}

/// Proven: nothing was done.
fn is_unapplied(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NotApplied(_) | Outcome::Refused(_) | Outcome::Split { .. })
}

async fn record(claim: Claim, outcome: &Outcome, count: usize) -> Result<(), Error> {
    match outcome {
        Outcome::Added(items) => {
            claim.settle(items.iter().map(|item| Event::Added(Arc::clone(item))).collect()).await
        }
        Outcome::Rejected(error) => claim.settle(vec![Event::Rejected(error.clone()); count]).await,
        Outcome::InDoubt { error, .. } => claim.settle(vec![Event::Doubt(error.clone()); count]).await,
        Outcome::NotApplied(_) | Outcome::Refused(_) | Outcome::Split { .. } => claim.release().await,
    }
}
