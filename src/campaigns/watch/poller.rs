//! The one task that asks the upstream about a campaign, strictly one round after another.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    WatchConfig,
    cursor::draining,
    feed::{Basis, Feed},
    pace::{LIVELY, Pace, Rest},
    round::Round,
    survey::Survey,
};
use crate::{
    campaigns::cache::Cache,
    clock::Clock,
    context::Context,
    error::{Error, Reason},
    model::CampaignId,
    telemetry::{metrics, names, trace::Link},
    upstream,
};

/// The longest back-off, before jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Polls one campaign.
pub(super) struct Poller {
    pub(super) client: upstream::Client,
    pub(super) cache: Cache,
    pub(super) ctx: Context,
    pub(super) campaign: CampaignId,
    pub(super) feed: Arc<Feed>,
    pub(super) clock: Clock,
    pub(super) config: WatchConfig,
    /// The watch that it was started for.
    pub(super) starter: Link,
}

impl Poller {
    /// Polls until it is stopped (nobody watches), the server goes away, or the upstream refuses. A request
    /// under way is dropped: these are reads.
    pub(super) async fn run(self, stop: CancellationToken, drain: CancellationToken) {
        let mut last_words = LastWords(Some(Arc::clone(&self.feed)));
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = drain.cancelled() => Some(draining()),
            refusal = self.poll() => Some(refusal),
        };
        // One that was stopped leaves the feed to the next.
        if let (Some(feed), Some(end)) = (last_words.0.take(), end) {
            feed.end(end);
        }
    }

    /// Polls round after round until the upstream refuses.
    async fn poll(&self) -> Error {
        let mut failures = 0;
        let mut survey = Survey::new(self.config.page_size);
        let mut pace = Pace::new(&self.config, Instant::now());
        loop {
            let started = Instant::now();
            let wants = self.feed.wants();
            let basis = wants.basis;
            let (plan, calls) = survey.plan(&wants, started);
            self.feed.paced(pace.interval(started, calls));
            let mut round = Round::new(self, &mut survey);
            let outcome = round.run(plan, wants).instrument(poll_span(&self.starter)).await;
            let calls = round.calls();
            let lively_in = self.lively_in(&mut pace, basis);
            let mut rest = pace.rest(started, Instant::now(), calls, lively_in);
            self.feed.paced(rest.interval);
            match outcome {
                Ok(()) => failures = 0,
                Err(refusal) if is_refusal(refusal.reason()) => {
                    self.cache.failed(self.ctx.workspace.id, &refusal);
                    return refusal;
                }
                Err(failure) => {
                    metrics().poll_failure();
                    failures += 1;
                    let wait = failure.retry_delay().unwrap_or_default();
                    rest.not_before = rest.not_before.max(Instant::now() + wait);
                    self.feed.failed(failure);
                }
            }
            self.rest(rest, backoff(self.config.poll_interval, failures)).await;
        }
    }

    /// Tells the pace what has moved since the round began, and says how long it is until a message is so
    /// nearly due that it may move.
    fn lively_in(&self, pace: &mut Pace, basis: Basis) -> Option<Duration> {
        let now = self.clock.now();
        let moves = self.feed.moves(basis, now - LIVELY);
        if moves.changed {
            pace.moved(Instant::now());
        }
        if let Some(wrote) = moves.wrote {
            pace.moved(wrote);
        }
        moves.due.map(|due| (due - LIVELY - now).to_std().unwrap_or_default())
    }

    /// Rests, and for the back-off on top: but who waits for a round ends what is not due to the upstream. A
    /// write of this server is such a one, and says that the upstream answers.
    async fn rest(&self, rest: Rest, backoff: Duration) {
        let unasked = if self.feed.is_asked() { rest.not_before } else { rest.unasked.max(rest.not_before) };
        tokio::select! {
            () = sleep_until(unasked + backoff) => {}
            () = async {
                self.feed.until_asked().await;
                sleep_until(rest.not_before).await;
            } => {}
        }
    }
}

/// A trace of its own: a round serves all watchers, and belongs to none of their calls.
fn poll_span(starter: &Link) -> tracing::Span {
    let span = tracing::trace_span!(target: names::SPANS, parent: None, "poll");
    starter.add_to(&span);
    span
}

/// Whether the upstream refuses this campaign to this key: asking again changes nothing.
pub(super) fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ApiKeyInvalid
            | Reason::UpstreamKeyRefused
            | Reason::CampaignsFeatureUnavailable
            | Reason::WorkspaceForbidden
            | Reason::CampaignNotFound
    )
}

/// Full jitter: many pollers that failed together do not come back together.
fn backoff(poll_interval: Duration, failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let most = poll_interval.saturating_mul(1 << failures.min(16)).min(MAX_BACKOFF);
    most.mul_f64(fastrand::f64())
}

/// Ends the feed with its poller, also where that ends by a bug: a watch must not live on unfed.
struct LastWords(Option<Arc<Feed>>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if let Some(feed) = self.0.take() {
            feed.end(Error::new(
                Reason::Internal,
                "the polling of this campaign ended by a fault of this server",
            ));
        }
    }
}
