//! The one task that asks the upstream about a campaign, strictly one sweep after another.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{cursor::draining, feed::Feed};
use crate::{
    campaigns::reading::Reading,
    context::Context,
    error::{Error, Reason},
    model::{CampaignId, Message, MessageId},
    upstream,
};

/// The longest back-off, before jitter.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Messages asked for at once, one by one, after the pages of a sweep.
const GETS_AT_ONCE: usize = 8;

/// Failures among these after which the sweep gives up. One message that the upstream cannot answer for
/// must not keep it from asking about the others; an upstream that is down must not be asked about each.
const MAX_FAILED_GETS: usize = 3;

/// Polls one campaign.
pub(super) struct Poller {
    pub(super) client: upstream::Client,
    pub(super) ctx: Context,
    pub(super) campaign: CampaignId,
    pub(super) feed: Arc<Feed>,
    pub(super) poll_interval: Duration,
    pub(super) page_size: u32,
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

    /// Sweeps until the upstream refuses.
    async fn poll(&self) -> Error {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let outcome = self.sweep().await;
            let mut not_before = (started + self.poll_interval).max(Instant::now() + self.poll_interval / 2);
            match outcome {
                Ok(()) => failures = 0,
                Err(refusal) if is_refusal(refusal.reason()) => return refusal,
                Err(failure) => {
                    failures += 1;
                    let wait = failure.retry_delay().unwrap_or_default();
                    not_before = not_before.max(Instant::now() + wait);
                    self.feed.failed(failure);
                }
            }
            self.rest(not_before, backoff(self.poll_interval, failures)).await;
        }
    }

    /// Rests until then, and for the back-off on top: but a write of this server wants to be seen, and says
    /// that the upstream answers.
    async fn rest(&self, not_before: Instant, backoff: Duration) {
        tokio::select! {
            () = sleep_until(not_before + backoff) => {}
            () = async {
                self.feed.until_written().await;
                sleep_until(not_before).await;
            } => {}
        }
    }

    /// One sweep: the pages, then those messages that the pages leave in question, one by one. What was
    /// seen counts even if the sweep fails later; what was not seen counts only if the upstream, asked for
    /// it, has none.
    async fn sweep(&self) -> Result<(), Error> {
        // Before the first request: what is written from now on may be missed by this sweep.
        let writes = self.feed.writes();
        let mut reading = Reading::new(self.page_size);
        let mut first_began = None;
        let mut in_question = Vec::new();
        let began = loop {
            let page = self.client.list_messages(&self.ctx, &self.campaign, reading.next()).await?;
            let began = *first_began.get_or_insert(page.began);
            let step = reading.take(page.value)?;
            in_question.extend(self.feed.observe(step.messages, began, false));
            if step.last {
                break began;
            }
        };
        in_question.extend(self.feed.open_but_for(|id| reading.has_read(id)));
        self.ask(in_question, began).await?;
        self.feed.swept(began, writes);
        Ok(())
    }

    /// Asks for messages one by one, and believes what is said of each.
    async fn ask(&self, ids: Vec<MessageId>, began: chrono::DateTime<chrono::Utc>) -> Result<(), Error> {
        let mut answers = stream::iter(ids)
            .map(|id| async move {
                let answer = self.client.get_message(&self.ctx, &self.campaign, &id).await;
                (id, answer)
            })
            .buffered(GETS_AT_ONCE);
        let mut failures = Vec::new();
        while let Some((id, answer)) = answers.next().await {
            match answer {
                Ok(message) => {
                    // The upstream may write the id in another case than its list does.
                    let message = Message { id, ..message.value };
                    self.feed.observe(vec![message], began, true);
                }
                Err(error) if error.reason() == Reason::MessageNotFound => self.feed.gone(&id, began),
                Err(error) if is_refusal(error.reason()) => return Err(error),
                Err(error) => {
                    failures.push(error);
                    if failures.len() >= MAX_FAILED_GETS {
                        break;
                    }
                }
            }
        }
        failures.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Whether the upstream refuses this campaign to this key: asking again changes nothing.
fn is_refusal(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ApiKeyInvalid
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
