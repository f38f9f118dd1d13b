//! Cancelling many: each by the one cancellation's rules, a few at once, told as they come.

use std::{collections::VecDeque, time::Duration};

use futures_util::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, unfold},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Cancel, Summary, Told,
    one::{Cancelled, End},
};
use crate::{
    campaigns::reading::Reading,
    context::Context,
    error::{Error, Reason},
    model::{CampaignId, Message, MessageId, Observed, Page, Status},
};

/// Messages that are being cancelled at once, for one caller.
const AT_ONCE: usize = 8;

/// The most that is told at once, and the longest that a result waits for others.
const TOLD_AT_ONCE: usize = 100;
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(250);

/// Messages asked for in a page while looking for those that are QUEUED.
const PAGE_SIZE: u32 = 100;

/// Which messages to cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// These, each named once.
    Named(Vec<MessageId>),
    /// Every one that is QUEUED when the reading of the list reaches it.
    AllQueued,
}

/// A call that cancels many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many {
    /// In which campaign.
    pub campaign: CampaignId,
    /// Which messages.
    pub which: Which,
    /// Only say what would be cancelled.
    pub validate_only: bool,
}

/// A part of the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// What became of these, in the order in which it became known.
    Results(Vec<Told>),
    /// All has been told.
    Summary(Summary),
}

impl Cancel {
    /// Cancels many messages. One cause that ends the call before anything was told, cancelled or perhaps
    /// cancelled is its error; later, what was not begun fails with it in its results. But where the list was
    /// not read to its end, nobody knows what was left out: then the error follows upon the summary.
    ///
    /// Dropping the stream begins nothing further, and cuts nothing that is on its way.
    pub fn cancel_many(
        &self,
        ctx: Context,
        asked: Many,
    ) -> impl Stream<Item = Result<Answer, Error>> + Send + 'static + use<> {
        let Many { campaign, which, validate_only } = asked;
        let (waiting, reading) = match which {
            Which::Named(ids) => (ids.into(), None),
            Which::AllQueued => (VecDeque::new(), Some(Reading::new(PAGE_SIZE))),
        };
        let run = Run {
            end: self.end(ctx.deadline),
            cancel: self.clone(),
            ctx,
            campaign,
            validate_only,
            sweeps: reading.is_some(),
            reading,
            page: None,
            waiting,
            running: FuturesUnordered::new(),
            results: Vec::new(),
            due: None,
            has_told: false,
            summary: Summary::default(),
            cause: None,
            phase: Phase::Working,
        };
        unfold(run, |mut run| async move {
            let answer = run.next().await?;
            Some((answer, run))
        })
    }
}

enum Phase {
    Working,
    /// The summary has been told; the error has yet to be.
    Cut(Error),
    Over,
}

/// What one message's cancellation, or a look at it, came to.
enum Ended {
    Cancelled(Result<Cancelled, Error>),
    Seen(Result<Message, Error>),
}

struct Run {
    cancel: Cancel,
    ctx: Context,
    campaign: CampaignId,
    validate_only: bool,
    end: End,
    /// Whether the messages are those of the list.
    sweeps: bool,
    /// The list, until it has been read to its end.
    reading: Option<Reading>,
    /// The list's next page, on its way.
    page: Option<BoxFuture<'static, Result<Observed<Page>, Error>>>,
    waiting: VecDeque<MessageId>,
    running: FuturesUnordered<BoxFuture<'static, (MessageId, Ended)>>,
    results: Vec<Told>,
    /// When what is known has to be told.
    due: Option<Instant>,
    has_told: bool,
    summary: Summary,
    /// Why nothing further begins.
    cause: Option<Error>,
    phase: Phase,
}

impl Run {
    async fn next(&mut self) -> Option<Result<Answer, Error>> {
        match std::mem::replace(&mut self.phase, Phase::Working) {
            Phase::Working => {}
            Phase::Cut(error) => {
                self.phase = Phase::Over;
                return Some(Err(error));
            }
            Phase::Over => {
                self.phase = Phase::Over;
                return None;
            }
        }
        loop {
            self.begin();
            if self.running.is_empty() && !self.may_tell() {
                self.phase = Phase::Over;
                return self.cause.take().map(Err);
            }
            let is_done = self.running.is_empty() && self.waiting.is_empty() && self.page.is_none();
            if (self.results.len() >= TOLD_AT_ONCE && self.may_tell())
                || (is_done && !self.results.is_empty())
            {
                return Some(Ok(self.tell()));
            }
            if is_done {
                return Some(Ok(self.finish()));
            }
            let due = self.due.filter(|_| self.may_tell());
            tokio::select! {
                biased;
                why = self.end.clone().reached(), if self.cause.is_none() => self.stop(why),
                () = async { if let Some(due) = due { sleep_until(due).await } }, if due.is_some() => {
                    return Some(Ok(self.tell()));
                }
                Some((id, ended)) = self.running.next() => self.take(id, ended),
                page = async { if let Some(page) = &mut self.page { Some(page.await) } else { None } },
                    if self.page.is_some() =>
                {
                    self.page = None;
                    self.read(page);
                }
            }
        }
    }

    /// Begins what may begin, and fails what never will.
    fn begin(&mut self) {
        if let Some(cause) = self.cause.clone() {
            // No more than are told at once: the caller reads them at its own pace.
            while self.may_tell()
                && self.results.len() < TOLD_AT_ONCE
                && let Some(id) = self.waiting.pop_front()
            {
                self.results.push(self.summary.tell(id, Err(cause.clone())));
            }
            return;
        }
        while self.running.len() < AT_ONCE
            && let Some(id) = self.waiting.pop_front()
        {
            let run = if self.validate_only { self.look(id) } else { self.cancel(id) };
            self.running.push(run);
        }
        if let Some(reading) =
            self.reading.as_ref().filter(|_| self.page.is_none() && self.waiting.is_empty())
        {
            let (cancel, ctx, campaign) = (self.cancel.clone(), self.ctx.clone(), self.campaign.clone());
            let slice = reading.next();
            self.page =
                Some(Box::pin(async move { cancel.client.list_messages(&ctx, &campaign, slice).await }));
        }
    }

    fn cancel(&self, id: MessageId) -> BoxFuture<'static, (MessageId, Ended)> {
        let (cancel, ctx, campaign) = (self.cancel.clone(), self.ctx.clone(), self.campaign.clone());
        Box::pin(async move {
            let ended = cancel.cancel(ctx, campaign, id.clone()).await;
            (id, Ended::Cancelled(ended))
        })
    }

    fn look(&self, id: MessageId) -> BoxFuture<'static, (MessageId, Ended)> {
        let (cancel, ctx, campaign) = (self.cancel.clone(), self.ctx.clone(), self.campaign.clone());
        let end = self.end.clone();
        Box::pin(async move {
            let seen = tokio::select! {
                biased;
                seen = cancel.client.get_message(&ctx, &campaign, &id) => seen.map(|seen| seen.value),
                why = end.reached() => Err(why),
            };
            (id, Ended::Seen(seen))
        })
    }

    fn take(&mut self, id: MessageId, ended: Ended) {
        let error = match &ended {
            Ended::Cancelled(ended) => ended.as_ref().err(),
            Ended::Seen(seen) => seen.as_ref().err(),
        };
        if let Some(error) = error.filter(|error| ends_the_call(error.reason())).cloned() {
            self.stop(error);
        }
        let told = match ended {
            Ended::Cancelled(ended) => self.summary.tell(id, ended),
            Ended::Seen(seen) => self.summary.foretell(id, seen),
        };
        self.push(told);
    }

    fn read(&mut self, page: Option<Result<Observed<Page>, Error>>) {
        let (Some(page), Some(reading)) = (page, &mut self.reading) else { return };
        let step = match page.and_then(|page| reading.take(page.value)) {
            Ok(step) => step,
            Err(error) => return self.stop(error),
        };
        if step.last {
            self.reading = None;
        }
        for message in step.messages.into_iter().filter(|message| message.status == Status::Queued) {
            if self.validate_only {
                // The list has just said what a look would.
                let told = self.summary.foretell(message.id.clone(), Ok(message));
                self.push(told);
            } else {
                self.waiting.push_back(message.id);
            }
        }
    }

    /// Nothing further begins. The first cause counts.
    fn stop(&mut self, why: Error) {
        self.page = None;
        self.cause.get_or_insert(why);
    }

    fn push(&mut self, told: Told) {
        self.due.get_or_insert_with(|| Instant::now() + WAIT_FOR_OTHERS);
        self.results.push(told);
    }

    /// Whether results may be told: a call that ends as a whole tells none.
    fn may_tell(&self) -> bool {
        self.cause.is_none() || self.has_told || !self.summary.is_blank()
    }

    fn tell(&mut self) -> Answer {
        self.has_told = true;
        self.due = None;
        Answer::Results(std::mem::take(&mut self.results))
    }

    /// The summary, and what is left to say after it.
    fn finish(&mut self) -> Answer {
        self.phase = match self.cause.take().filter(|_| self.sweeps) {
            Some(cause) if self.summary.may_have_acted() && !self.validate_only => {
                Phase::Cut(cause.maybe_applied())
            }
            Some(cause) => Phase::Cut(cause),
            None => Phase::Over,
        };
        Answer::Summary(self.summary)
    }
}

/// Whether an error is about the whole call, so that every further message would only meet it again.
fn ends_the_call(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ApiKeyInvalid
            | Reason::UpstreamKeyRefused
            | Reason::CampaignsFeatureUnavailable
            | Reason::WorkspaceForbidden
            | Reason::CampaignNotFound
    )
}
