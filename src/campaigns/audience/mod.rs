//! Adding contacts: items in, one true disposition each out, in order.
//!
//! [`Audience::ingest`] takes items as a stream brings them and tells of each while more come;
//! [`Audience::add`] is a collector in front of it. Both run the same [`engine`]: it reads (`source`),
//! decides what each item is (`plan`), cuts batches (`batching`), sends each from permit to record
//! (`flight`) unless there is too much doubt (`doubt`), and tells in order (`window`). The engine is a task
//! of its own: a batch that is on its way lands in the ledger whether or not anybody still listens.

mod batching;
mod doubt;
mod engine;
mod flight;
mod plan;
mod source;
mod window;

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    doubt::DoubtBreakers,
    engine::{Engine, Setup},
    flight::Desk,
    plan::Planner,
    source::Source,
};
pub use self::{doubt::DoubtLimits, source::Feeder};
use super::writes::Writes;
use crate::{
    clock::Clock,
    context::Context,
    error::{Error, Reason, Violation},
    ledger::{Fingerprinter, IngestionPage, Ledger, Scope},
    model::{CampaignId, Ingested, IngestionOptions, Item, ItemResult, RequestId, ResultView, Summary},
    telemetry::trace::Link,
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
    /// The longest time that an item waits for others to fill its batch.
    pub batch_max_age: Duration,
    /// The most batches in flight, once a clean answer has shown that batches work.
    pub window: usize,
    /// The same where batches hold one item each: a doubt costs only one, so more may be under way.
    pub singles_window: usize,
    /// When doubt stops the sending to a campaign.
    pub doubt: DoubtLimits,
    /// Whether the upstream is known to honour idempotency keys, so that a batch in doubt may be repeated
    /// with the same bytes and key.
    pub proven_keys: bool,
}

/// Adds contacts to campaigns. Cheap to clone.
#[derive(Clone)]
pub struct Audience {
    parts: Arc<Parts>,
    breakers: DoubtBreakers,
}

/// What an [`Audience`] works with.
pub struct Parts {
    /// The road upstream.
    pub client: upstream::Client,
    /// What was sent.
    pub ledger: Ledger,
    /// By what items are known again.
    pub fingerprinter: Fingerprinter,
    /// Tells who has to know that a campaign has changed.
    pub writes: Writes,
    /// How an ingestion is sent.
    pub limits: Limits,
    /// How late it is.
    pub clock: Clock,
    /// What must end before the process does.
    pub tracker: TaskTracker,
    /// Says that the drain's time is over: no further batch may start.
    pub stopping: CancellationToken,
}

/// A running ingestion's answers.
#[derive(Debug)]
pub struct Run {
    /// Its name, given or made up.
    pub request_id: RequestId,
    answers: mpsc::Receiver<Answer>,
}

/// What a running ingestion has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// What became of items, in order and without a gap but for those that the view leaves out.
    Results {
        /// The results, some hundreds at most.
        results: Vec<ItemResult>,
        /// Every item with an index below it has been told of.
        settled_through: u64,
    },
    /// The last answer. An error: the one cause that ended the call as a whole, where by it no item was
    /// added, rejected, left in doubt or on its way; then, and only then, a bare error tells the whole truth.
    End(Result<End, Error>),
}

/// The end of an ingestion.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Every item of the stream that was read, counted.
    pub summary: Summary,
    /// Why it ended before its last item, where it did.
    pub termination: Option<Error>,
}

impl Audience {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self { breakers: DoubtBreakers::new(parts.limits.doubt), parts: Arc::new(parts) }
    }

    /// Adds these items, and says of each what became of it. A settled item that came back changed is
    /// found before anything is sent.
    ///
    /// # Errors
    /// As [`Answer::End`]'s, and those of [`Audience::ingest`].
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
        let mut run = self.start(ctx, campaign, options, Source::whole(entries)).await?;
        let mut results = Vec::new();
        loop {
            match run.next().await {
                Some(Answer::Results { results: more, .. }) if results.is_empty() => results = more,
                Some(Answer::Results { results: more, .. }) => results.extend(more),
                Some(Answer::End(ended)) => {
                    let End { summary, termination } = ended?;
                    return Ok(Ingested { request_id: run.request_id, summary, results, termination });
                }
                None => return Err(broke_off()),
            }
        }
    }

    /// Begins an ingestion whose items the [`Feeder`] brings. When the [`Run`] is dropped nothing further
    /// is sent.
    ///
    /// # Errors
    /// `RequestIdInUse`, `LedgerUnavailable`: nothing was begun.
    pub async fn ingest(
        &self,
        ctx: Context,
        campaign: CampaignId,
        options: IngestionOptions,
    ) -> Result<(Feeder, Run), Error> {
        let (feeder, source) = Source::stream();
        Ok((feeder, self.start(ctx, campaign, options, source).await?))
    }

    /// What became of an ingestion's items from this index on, as far as it is known.
    ///
    /// # Errors
    /// `IngestionNotFound`, `LedgerUnavailable`.
    pub async fn ingestion(
        &self,
        scope: &Scope,
        from: u64,
        limit: usize,
        view: ResultView,
    ) -> Result<IngestionPage, Error> {
        let page = self.parts.ledger.read(scope, from, limit, view).await?;
        page.ok_or_else(|| {
            Error::new(
                Reason::IngestionNotFound,
                "no ingestion with this request_id is known in this campaign and workspace: it never sent \
                 anything, or its retention is over",
            )
            .with("request_id", scope.request_id.as_str())
        })
    }

    async fn start(
        &self,
        ctx: Context,
        campaign: CampaignId,
        options: IngestionOptions,
        source: Source,
    ) -> Result<Run, Error> {
        let parts = &self.parts;
        let deadline = ctx.deadline;
        let request_id = options.request_id.clone().unwrap_or_else(RequestId::random);
        let planner = Planner::new(parts.fingerprinter.clone(), &options);
        let mut desk = None;
        if !options.validate_only {
            let workspace = ctx.workspace.id;
            let scope = Scope { workspace, campaign: campaign.clone(), request_id: request_id.clone() };
            let ingestion = parts.ledger.open(scope, deadline).await?;
            let unresolved = parts.ledger.doubts(workspace, &campaign).await?;
            let breaker = self.breakers.join(workspace, &campaign, unresolved);
            desk = Some(Arc::new(Desk {
                ctx,
                campaign,
                default_zone: options.default_zone,
                ingestion,
                breaker,
                client: parts.client.clone(),
                writes: parts.writes.clone(),
                caller: Link::here(),
                clock: parts.clock,
                proven_keys: parts.limits.proven_keys,
                stopping: parts.stopping.clone(),
            }));
        }
        let (out, answers) = mpsc::channel(2);
        let engine = Engine::new(Setup {
            desk,
            source,
            planner,
            limits: parts.limits,
            max_batch_size: options.max_batch_size,
            first_index: options.first_index,
            view: options.result_view,
            out,
        });
        parts.tracker.spawn(engine.run(deadline, parts.stopping.clone()));
        Ok(Run { request_id, answers })
    }
}

impl Run {
    /// The next answer; `None` after the last.
    pub async fn next(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }
}

/// An ingestion that ended without its last answer: its task is no more.
pub fn broke_off() -> Error {
    Error::new(Reason::Internal, "the ingestion broke off: repeat it under the same request_id")
        .maybe_applied()
}

#[cfg(test)]
mod tests;
