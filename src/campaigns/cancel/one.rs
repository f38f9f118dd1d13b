//! Cancelling a message. The effect may be repeated without harm; the answer is not to be believed without
//! proof. So anything but proof is followed by a look, and the look decides.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    campaigns::{cache::Cache, writes::Writes},
    context::Context,
    error::{Applied, Error, Reason},
    model::{CampaignId, Message, MessageId, Observed, Status},
    upstream::{self, CancelAnswer},
};

/// A message that stays QUEUED is cancelled at most so often in one call.
const MAX_ATTEMPTS: u32 = 3;

/// The pause before another attempt, doubled each time.
const PAUSE: Duration = Duration::from_millis(200);

/// When a PENDING message may have become QUEUED.
const PENDING_RETRY: Duration = Duration::from_secs(1);

/// A message that is cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancelled {
    /// The message, at least its id and status.
    pub message: Message,
    /// Whether it was known to be cancelled before this call.
    pub already: bool,
}

/// Cancels messages. Cheap to clone.
#[derive(Clone)]
pub struct Cancel {
    pub(super) client: upstream::Client,
    cache: Cache,
    writes: Writes,
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Cancel {
    /// `tracker` holds what must end before the process does; once `stopping` is cancelled nothing further
    /// begins.
    pub fn new(
        client: upstream::Client,
        cache: Cache,
        writes: Writes,
        tracker: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        Self { client, cache, writes, tracker, stopping }
    }

    /// Cancels one message, or says what it is now.
    ///
    /// # Errors
    /// `MessageNotCancellable` with its status; `MessageNotFound`, `CampaignNotFound`; `OutcomeUnknown` where
    /// a cancellation was sent and nobody can say what came of it.
    pub async fn cancel(
        &self,
        ctx: Context,
        campaign: CampaignId,
        id: MessageId,
    ) -> Result<Cancelled, Error> {
        let progress = Arc::new(Progress::default());
        let end = self.end(ctx.deadline);
        let attempt = Attempt {
            client: self.client.clone(),
            cache: self.cache.clone(),
            writes: self.writes.clone(),
            ctx,
            campaign,
            id,
            progress: Arc::clone(&progress),
        };
        // A caller who hangs up wants nothing further to begin, either.
        let _ends_with_caller = EndOnDrop(Arc::clone(&progress));
        // A task of its own: a caller who hangs up does not cut the request in half.
        let running = self.tracker.spawn(attempt.run());
        let ended = tokio::select! {
            biased;
            ended = running => Ok(ended),
            why = end.reached() => Err(why),
        };
        match ended {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(unknown("the cancellation broke off")),
            Err(_) if progress.end() => {
                Err(unknown("the call's time was over while the cancellation was on its way"))
            }
            Err(why) => Err(why),
        }
    }

    /// What ends a call with this deadline before its work is done.
    pub(super) fn end(&self, deadline: Option<Instant>) -> End {
        End { deadline, stopping: self.stopping.clone() }
    }
}

/// What ends a call before its work is done: its deadline, or the server's end.
#[derive(Clone)]
pub(super) struct End {
    deadline: Option<Instant>,
    stopping: CancellationToken,
}

impl End {
    /// Waits for it. Whatever was not begun by then was not done.
    pub(super) async fn reached(self) -> Error {
        let deadline = async {
            match self.deadline {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = deadline => too_late(),
            () = self.stopping.cancelled() => draining(),
        }
    }
}

/// How far an attempt is, shared with the caller that waits for it. One lock makes the two agree: a
/// cancellation is either begun before the caller is answered, or not sent at all.
#[derive(Default)]
struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    /// A cancellation may have been applied without our knowing.
    doubt: bool,
    /// The caller has its answer: nothing further may be sent.
    over: bool,
}

impl Progress {
    /// Whether a cancellation may be sent now; from here on its outcome is in doubt.
    fn begin(&self) -> bool {
        let mut state = self.lock();
        state.doubt |= !state.over;
        !state.over
    }

    /// What the last one's end left of the doubt.
    fn learned(&self, doubt: bool) {
        self.lock().doubt = doubt;
    }

    /// Nothing further begins. Whether there is doubt.
    fn end(&self) -> bool {
        let mut state = self.lock();
        state.over = true;
        state.doubt
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct EndOnDrop(Arc<Progress>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Attempt {
    client: upstream::Client,
    cache: Cache,
    writes: Writes,
    ctx: Context,
    campaign: CampaignId,
    id: MessageId,
    progress: Arc<Progress>,
}

impl Attempt {
    async fn run(self) -> Result<Cancelled, Error> {
        let mut refusal = None;
        // Whether an earlier attempt of this call may have been applied.
        let mut earlier = false;
        for attempt in 1..=MAX_ATTEMPTS {
            if !self.progress.begin() {
                return Err(self.told(too_late(), earlier));
            }
            let sent = self.client.cancel_message(&self.ctx, &self.campaign, &self.id).await;
            let applied = sent.as_ref().err().map_or(Applied::Maybe, Error::applied);
            if applied == Applied::Maybe {
                self.writes.cancelled(self.ctx.workspace.id, &self.campaign, &self.id);
                earlier = true;
            }
            self.progress.learned(earlier);
            match sent {
                Ok(CancelAnswer::Proven(message)) => return Ok(Cancelled { message, already: false }),
                Ok(CancelAnswer::Unproven) => refusal = None,
                Err(error) if error.applied() == Applied::Maybe => refusal = None,
                // What the upstream refuses for its own sake says nothing of the message.
                Err(error) if !concerns_message(&error) => {
                    self.writes.failed(self.ctx.workspace.id, &error);
                    return Err(self.told(error, earlier));
                }
                Err(error) => refusal = Some(error),
            }
            let seen = match self.look().await {
                Ok(seen) => seen,
                Err(error) if error.reason() == Reason::MessageNotFound => return Err(error),
                Err(error) if error.reason() == Reason::CampaignNotFound => return Err(error),
                Err(error) => return Err(self.told(error, earlier)),
            };
            match seen.status {
                Status::Cancelled => {
                    // Refused and yet cancelled: somebody else had done it.
                    let already = refusal.is_some() && !earlier;
                    return Ok(Cancelled { message: Arc::unwrap_or_clone(seen), already });
                }
                Status::Queued if attempt < MAX_ATTEMPTS => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                }
                Status::Queued => break,
                Status::Unknown if earlier => break,
                Status::Pending | Status::Sending | Status::Sent | Status::Failed | Status::Unknown => {
                    return Err(not_cancellable(&seen));
                }
            }
        }
        match refusal {
            Some(refusal) if !earlier => Err(refusal),
            _ => {
                Err(unknown("the upstream does not say that the message was cancelled, nor that it was not"))
            }
        }
    }

    /// The message as it is now; others may be served it, too.
    async fn look(&self) -> Result<Arc<Message>, Error> {
        let start = self.cache.start();
        let Observed { value, began } = self.client.get_message(&self.ctx, &self.campaign, &self.id).await?;
        let seen = Arc::new(value);
        self.cache.saw(self.ctx.workspace.id, &self.campaign, start, began, [Arc::clone(&seen)]);
        Ok(seen)
    }

    /// An error that ends the call: true as it is only if nothing can have been cancelled.
    fn told(&self, error: Error, earlier: bool) -> Error {
        if earlier { unknown("a cancellation was sent, and the message cannot be looked at") } else { error }
    }
}

/// Whether a refusal is about this message, so that looking at it tells more.
fn concerns_message(error: &Error) -> bool {
    !matches!(
        error.reason(),
        Reason::ApiKeyInvalid
            | Reason::UpstreamKeyRefused
            | Reason::CampaignsFeatureUnavailable
            | Reason::WorkspaceForbidden
            | Reason::CampaignNotFound
            | Reason::UpstreamRateLimited
            | Reason::Overloaded
            | Reason::UpstreamUnavailable
            | Reason::UpstreamCircuitOpen
            | Reason::DeadlineExceeded
            | Reason::Internal
    )
}

pub(super) fn not_cancellable(seen: &Message) -> Error {
    let word: String = seen.upstream_status.chars().filter(|c| !c.is_control()).take(64).collect();
    let error = Error::new(
        Reason::MessageNotCancellable,
        "only a QUEUED message can be cancelled; metadata message_status says what it is now",
    )
    .with("message_status", word);
    if seen.status == Status::Pending { error.retry_after(PENDING_RETRY) } else { error }
}

fn too_late() -> Error {
    Error::new(Reason::DeadlineExceeded, "the deadline passed; nothing was cancelled")
}

fn draining() -> Error {
    Error::new(Reason::ServerDraining, "the server is going away; nothing was cancelled")
        .retry_after(Duration::from_secs(1))
}

fn unknown(message: &'static str) -> Error {
    Error::new(Reason::OutcomeUnknown, message).maybe_applied()
}

#[cfg(test)]
mod tests;
