//! Sends planned items in batches, one state machine a batch: claim, send, record, tell.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chrono_tz::Tz;
use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{Limits, Parts, batching::cut, plan::Planned, progress::Progress};
use crate::{
    campaigns::watch::Hub,
    context::Context,
    error::{Error, Reason},
    ledger::{Claim, Event, Ingestion},
    model::{CampaignId, Disposition, IngestionOptions},
    upstream::{self, Batch, Outcome},
};

/// After so many batches in a row in doubt for want of an answer, sending more only piles up doubt.
/// (design: the doubt breaker; refusals of a batch do not count.)
const MAX_DOUBTS_IN_A_ROW: u32 = 5;

/// With proven keys a batch in doubt is sent at most so often, the first time included.
const MAX_PROVEN_ATTEMPTS: u32 = 3;

/// The pause before a proven batch is repeated, doubled each time.
const PROVEN_PAUSE: Duration = Duration::from_millis(500);

/// Runs one ingestion to its end.
pub(super) struct Engine {
    flight: Arc<Flight>,
    progress: Arc<Progress>,
    queue: VecDeque<Planned>,
    /// Parts of a batch that has to be sent in smaller ones, before anything else.
    split: VecDeque<Vec<Planned>>,
    limits: Limits,
    max_items: usize,
    window: usize,
    doubts_in_a_row: u32,
}

/// What every batch of an ingestion shares.
struct Flight {
    ctx: Context,
    campaign: CampaignId,
    default_zone: Option<Tz>,
    ingestion: Arc<Ingestion>,
    client: upstream::Client,
    hub: Hub,
    proven_keys: bool,
}

impl Engine {
    pub(super) fn new(
        parts: &Parts,
        ctx: Context,
        campaign: CampaignId,
        options: IngestionOptions,
        ingestion: Arc<Ingestion>,
        progress: Arc<Progress>,
        queue: VecDeque<Planned>,
    ) -> Self {
        let limits = parts.limits;
        let asked = options.max_batch_size.map_or(usize::MAX, |n| n as usize);
        let flight = Flight {
            ctx,
            campaign,
            default_zone: options.default_zone,
            ingestion,
            client: parts.client.clone(),
            hub: parts.hub.clone(),
            proven_keys: limits.proven_keys,
        };
        Self {
            flight: Arc::new(flight),
            progress,
            queue,
            split: VecDeque::new(),
            max_items: asked.min(limits.batch_max_items),
            limits,
            // One batch is in flight until the first clean answer: were batches to fail, one is in doubt.
            window: 1,
            doubts_in_a_row: 0,
        }
    }

    pub(super) async fn run(mut self) {
        let mut flights = FuturesUnordered::new();
        loop {
            while flights.len() < self.window
                && let Some(batch) = self.next_batch()
            {
                if !self.progress.begin(batch.iter().map(|item| item.slot)) {
                    // The ingestion has ended. What is left stays planned: it was not attempted.
                    self.queue.clear();
                    self.split.clear();
                    break;
                }
                flights.push(Arc::clone(&self.flight).fly(batch));
            }
            match flights.next().await {
                Some((batch, outcome)) => self.land(batch, outcome),
                None => break,
            }
        }
    }

    fn next_batch(&mut self) -> Option<Vec<Planned>> {
        if let Some(batch) = self.split.pop_front() {
            return Some(batch);
        }
        let frame = Batch::frame_overhead(self.flight.default_zone);
        let sizes = self.queue.iter().map(|item| item.encoded.len());
        let count = cut(sizes, frame, self.max_items, self.limits.batch_max_bytes);
        (count > 0).then(|| self.queue.drain(..count).collect())
    }

    fn land(&mut self, mut batch: Vec<Planned>, outcome: Outcome) {
        let slots: Vec<usize> = batch.iter().map(|item| item.slot).collect();
        let each = |disposition: fn(Error) -> Disposition, error: Error| {
            slots.iter().map(move |slot| (*slot, disposition(error.clone())))
        };
        match outcome {
            Outcome::Added(items) => {
                self.doubts_in_a_row = 0;
                self.window = self.limits.window.max(1);
                self.progress.tell(slots.into_iter().zip(items.into_iter().map(Disposition::Added)));
            }
            Outcome::Rejected(error) => {
                // An item's own refusal is a clean answer too.
                self.doubts_in_a_row = 0;
                self.progress.tell(each(Disposition::Rejected, error));
            }
            Outcome::InDoubt { error, by_refusal } => {
                self.progress.tell(each(Disposition::InDoubt, error));
                if by_refusal {
                    // One bad item of a batch costs all of it; one by one it costs only itself.
                    self.max_items = 1;
                    self.doubts_in_a_row = 0;
                } else {
                    self.window = 1;
                    self.doubts_in_a_row += 1;
                    if self.doubts_in_a_row >= MAX_DOUBTS_IN_A_ROW {
                        self.progress.end(Error::new(
                            Reason::DoubtLimitReached,
                            "the upstream left several batches in a row without an answer: sending has stopped",
                        ));
                    }
                }
            }
            Outcome::Split { too_large, .. } => {
                if too_large {
                    self.max_items = self.max_items.min(batch.len() / 2).max(1);
                }
                let back = batch.split_off(batch.len() / 2);
                self.progress.plan_again(slots.into_iter());
                self.split.push_front(back);
                self.split.push_front(batch);
            }
            Outcome::NotApplied(error) | Outcome::Refused(error) => {
                self.progress.plan_again(slots.into_iter());
                self.progress.end(error);
            }
        }
    }
}

impl Flight {
    /// One batch from claim to record. What it returns is in the ledger already.
    async fn fly(self: Arc<Self>, batch: Vec<Planned>) -> (Vec<Planned>, Outcome) {
        let claimed = batch.iter().map(Planned::claimed).collect();
        let claim = match self.ingestion.claim(claimed, None).await {
            Ok(claim) => claim,
            Err(error) => return (batch, Outcome::NotApplied(error)),
        };
        let items: Vec<_> = batch.iter().map(|item| &item.encoded).collect();
        let frozen = Batch::frame(self.default_zone, &items);
        let outcome = self.deliver(&frozen).await;
        if !matches!(outcome, Outcome::NotApplied(_) | Outcome::Refused(_) | Outcome::Split { .. }) {
            self.hub.wrote(self.ctx.workspace.id, &self.campaign);
        }
        let outcome = match record(claim, &outcome, batch.len()).await {
            Ok(()) => outcome,
            // Never tell what is not on record: a repeat would tell otherwise.
            Err(error) => Outcome::InDoubt {
                error: Error::new(Reason::OutcomeUnknown, format!("the outcome was not recorded: {error}"))
                    .maybe_applied(),
                by_refusal: false,
            },
        };
        (batch, outcome)
    }

    /// Sends a frozen batch, and repeats it while it is in doubt and the upstream is known to honour keys:
    /// the same bytes under the same key cannot add anyone twice then.
    async fn deliver(&self, frozen: &Batch) -> Outcome {
        let mut outcome = self.client.add_audience(&self.ctx, &self.campaign, frozen).await;
        if !self.proven_keys {
            return outcome;
        }
        // The doubt is worth resolving when the caller is gone, too: a repeat of its call finds the answer.
        let ctx = self.ctx.without_deadline();
        for attempt in 1..MAX_PROVEN_ATTEMPTS {
            if !matches!(outcome, Outcome::InDoubt { by_refusal: false, .. }) {
                break;
            }
            tokio::time::sleep(PROVEN_PAUSE * 2_u32.pow(attempt - 1)).await;
            match self.client.add_audience(&ctx, &self.campaign, frozen).await {
                settled @ (Outcome::Added(_) | Outcome::Rejected(_)) => outcome = settled,
                // That this repeat was not applied says nothing about the attempt before it.
                Outcome::NotApplied(_)
                | Outcome::Refused(_)
                | Outcome::Split { .. }
                | Outcome::InDoubt { .. } => {}
            }
        }
        outcome
    }
}

async fn record(claim: Claim, outcome: &Outcome, count: usize) -> Result<(), Error> {
    match outcome {
        Outcome::Added(items) => {
            claim.settle(items.iter().map(|item| Event::Added(Box::new(item.clone()))).collect()).await
        }
        Outcome::Rejected(error) => claim.settle(vec![Event::Rejected(error.clone()); count]).await,
        Outcome::InDoubt { error, .. } => claim.settle(vec![Event::Doubt(error.clone()); count]).await,
        Outcome::NotApplied(_) | Outcome::Refused(_) | Outcome::Split { .. } => claim.release().await,
    }
}
