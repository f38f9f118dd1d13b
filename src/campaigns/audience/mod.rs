//! Adding contacts: items in, one true disposition each out, in order.
//!
//! [`Audience::add`] takes a whole ingestion at once: it plans (what is invalid, what an earlier call
//! settled, what is to be sent), then runs the [`engine`](engine), and reports whatever is known when the
//! engine ends or the caller's time does. The engine is a task of its own: a batch that is on its way lands
//! in the ledger whether or not anybody still listens.

mod batching;
mod engine;
mod plan;
mod progress;

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{engine::Engine, progress::Progress};
use super::watch::Hub;
use crate::{
    context::Context,
    error::{Error, Reason, Violation},
    ledger::{Fingerprinter, Ledger, Scope},
    model::{CampaignId, Ingested, IngestionOptions, Item, RequestId, ResultView},
    upstream,
};

/// One item as the caller sent it: checked, or what is wrong with it.
#[derive(Debug)]
pub struct Entry {
    /// The caller's own key for it, echoed and never sent upstream.
    pub item_id: String,
    /// The item, or all that is wrong with it.
    pub item: Result<Item, Vec<Violation>>,
}

/// How an ingestion is sent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most items in one upstream call.
    pub batch_max_items: usize,
    /// The most bytes in one upstream call's body. An item that is larger by itself goes alone.
    pub batch_max_bytes: usize,
    /// The most batches in flight, once a clean answer has shown that batches work.
    pub window: usize,
    /// Whether the upstream is known to honour idempotency keys, so that a batch in doubt may be repeated
    /// with the same bytes and key.
    pub proven_keys: bool,
}

/// Adds contacts to campaigns. Cheap to clone.
#[derive(Clone)]
pub struct Audience(Arc<Parts>);

/// What an [`Audience`] works with.
pub struct Parts {
    /// The road upstream.
    pub client: upstream::Client,
    /// What was sent.
    pub ledger: Ledger,
    /// By what items are known again.
    pub fingerprinter: Fingerprinter,
    /// Who is told that a campaign has changed.
    pub hub: Hub,
    /// How an ingestion is sent.
    pub limits: Limits,
    /// What must end before the process does.
    pub tracker: TaskTracker,
    /// Says that the drain's time is over: no further batch may start.
    pub stopping: CancellationToken,
}

impl Audience {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Adds these items, and says of each what became of it.
    ///
    /// # Errors
    /// The one cause that ended the call as a whole, if by it no item was added, rejected, left in doubt or
    /// on its way: then, and only then, a bare error tells the whole truth.
    pub async fn add(
        &self,
        ctx: Context,
        campaign: CampaignId,
        options: IngestionOptions,
        entries: Vec<Entry>,
    ) -> Result<Ingested, Error> {
        if entries.is_empty() {
            return Err(Error::invalid_field("items", "at least one item is required"));
        }
        let request_id = options.request_id.clone().unwrap_or_else(RequestId::random);
        if options.validate_only {
            let progress = plan::validate(entries, &options);
            return conclude(&progress, request_id, options.result_view);
        }

        let scope =
            Scope { workspace: ctx.workspace.id, campaign: campaign.clone(), request_id: request_id.clone() };
        let ingestion = self.0.ledger.open(scope, ctx.deadline).await?;
        let (progress, queue) = plan::plan(entries, &options, &self.0.fingerprinter, &ingestion).await?;
        let progress = Arc::new(progress);

        // From here on the caller may hang up at any moment: what is on its way then lands in the
        // ledger, and nothing further starts.
        let _ends_with_caller = EndOnDrop(Arc::clone(&progress));
        let deadline = ctx.deadline;
        let engine =
            Engine::new(&self.0, ctx, campaign, options.clone(), ingestion, Arc::clone(&progress), queue);
        let mut running = self.0.tracker.spawn(engine.run());
        tokio::select! {
            ended = &mut running => if ended.is_err() {
                progress.end(Error::new(Reason::Internal, "the ingestion broke off: repeat it under the same request_id"));
            },
            () = until(deadline) => progress.end(Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed: repeat the call under the same request_id to finish",
            )),
            () = self.0.stopping.cancelled() => progress.end(
                Error::new(Reason::ServerDraining, "the server is going away: repeat the call under the same request_id")
                    .retry_after(std::time::Duration::from_secs(1)),
            ),
        }
        conclude(&progress, request_id, options.result_view)
    }
}

/// The contract's rule for when an answer may be a bare status.
fn conclude(progress: &Progress, request_id: RequestId, view: ResultView) -> Result<Ingested, Error> {
    let ingested = progress.report(request_id, view);
    match &ingested.termination {
        Some(cause) if !ingested.summary.has_told_items() => Err(cause.clone()),
        _ => Ok(ingested),
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ends an ingestion when its caller's handler is dropped.
struct EndOnDrop(Arc<Progress>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // Nobody reads it; it only keeps the engine from starting another batch.
        self.0.end(Error::new(Reason::DeadlineExceeded, "the caller went away"));
    }
}

#[cfg(test)]
mod tests;
