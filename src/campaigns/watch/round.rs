//! One round of polling: the pages, then those messages that the pages leave in question, one by one. What
//! was seen counts even if the round fails later; what was not seen counts as gone only if the upstream,
//! asked for it, has none.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::{
    feed::Wants,
    poller::{Poller, is_refusal},
    survey::{Plan, Survey},
};
use crate::{
    campaigns::{cache::ReadStart, reading::Reading},
    error::{Error, Reason},
    model::{Message, MessageId, Observed, Page, Slice},
    telemetry::metrics,
};

/// Messages asked for at once, one by one, after the pages of a round.
const GETS_AT_ONCE: usize = 8;

/// Failures among these after which the round gives up. One message that the upstream cannot answer for
/// must not keep it from asking about the others; an upstream that is down must not be asked about each.
const MAX_FAILED_GETS: usize = 3;

/// A round under way.
pub(super) struct Round<'a> {
    poller: &'a Poller,
    survey: &'a mut Survey,
    /// When it began, on the wall and by the runtime: what is written from then on it may miss.
    began: DateTime<Utc>,
    at: Instant,
    /// When the last page was asked for, for the cache, and from when it speaks.
    page: (ReadStart, DateTime<Utc>),
    /// What it has seen beside what the reading from the front has.
    seen: HashSet<MessageId>,
    in_question: Vec<MessageId>,
    calls: usize,
}

impl<'a> Round<'a> {
    pub(super) fn new(poller: &'a Poller, survey: &'a mut Survey) -> Self {
        survey.begin();
        let began = poller.clock.now();
        Self {
            began,
            page: (poller.cache.start(), began),
            at: Instant::now(),
            poller,
            survey,
            seen: HashSet::new(),
            in_question: Vec::new(),
            calls: 0,
        }
    }

    /// How many calls it has made.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Goes through with it.
    pub(super) async fn run(&mut self, plan: Plan, wants: Wants) -> Result<(), Error> {
        let whole = match plan {
            Plan::Named => {
                self.named(wants.named).await?;
                false
            }
            Plan::Full | Plan::Quick => self.pages(plan, wants.named).await?,
        };
        self.poller.feed.swept(self.began, wants.basis, whole);
        Ok(())
    }

    /// Asks for the named alone.
    async fn named(&mut self, ids: Vec<MessageId>) -> Result<(), Error> {
        let any = !ids.is_empty();
        let found = self.ask(ids).await?;
        // Whether there is such a campaign at all only its list tells for certain.
        if any && !found {
            let (page, _) = self.page(Slice { offset: 0, limit: 1 }).await?;
            self.observe(page.entries.into_iter().flatten().collect());
        }
        Ok(())
    }

    /// Reads from the front, all of it or as long as there is something new, and sees to the rest. Says
    /// whether certainly all that came was seen.
    async fn pages(&mut self, plan: Plan, named: Vec<MessageId>) -> Result<bool, Error> {
        let mut reading = Reading::new(self.poller.config.page_size);
        let (mut inserted, mut page_len) = (0, 0);
        let is_read = loop {
            let (page, new) = self.page(reading.next()).await?;
            page_len = page_len.max(page.entries.len() as u64);
            let step = reading.take(page)?;
            self.observe(step.messages);
            if step.last {
                break true;
            }
            inserted += new;
            if plan == Plan::Quick && new == 0 {
                break false;
            }
        };
        if is_read {
            let listed = reading.into_read();
            self.ask_but_for(|id| listed.contains(id), Vec::new()).await?;
            self.survey.read_all(self.at, listed, self.calls, page_len);
            return Ok(true);
        }
        self.survey.shift(inserted, |id| reading.has_read(id));
        self.tail().await?;
        let left = self.poller.feed.open_but_for(|id| reading.has_read(id) || self.seen.contains(id));
        for slice in self.survey.pages_of(&left) {
            let (page, _) = self.page(slice).await?;
            self.see(page);
        }
        self.ask_but_for(|id| reading.has_read(id), named).await?;
        Ok(self.survey.saw_all())
    }

    /// Looks for what is new at the end.
    async fn tail(&mut self) -> Result<(), Error> {
        let mut offset = self.survey.tail();
        let mut is_first = true;
        loop {
            let slice = Slice { offset, limit: self.poller.config.page_size };
            let (page, new) = self.page(slice).await?;
            let came = page.entries.len() as u64;
            if is_first && new == came {
                // What is known does not reach here any more: something has gone.
                self.survey.doubt();
            }
            offset += came;
            let is_last = came == 0 || page.total.is_some_and(|total| offset >= total);
            self.see(page);
            if is_last || (new == 0 && !is_first) {
                self.survey.ends_at(offset);
                return Ok(());
            }
            is_first = false;
        }
    }

    /// One page of the list, and how many of its messages were not known to be there.
    async fn page(&mut self, slice: Slice) -> Result<(Page, u64), Error> {
        self.calls += 1;
        metrics().poll_call();
        let Poller { client, cache, ctx, campaign, .. } = self.poller;
        let start = cache.start();
        let Observed { value: page, began } = client.list_messages(ctx, campaign, slice).await?;
        self.page = (start, began);
        let new = self.survey.note(slice.offset, &page);
        Ok((page, new))
    }

    fn see(&mut self, page: Page) {
        let messages: Vec<_> = page.entries.into_iter().flatten().collect();
        self.seen.extend(messages.iter().map(|message| message.id.clone()));
        self.observe(messages);
    }

    fn observe(&mut self, messages: Vec<Message>) {
        let messages: Vec<_> = messages.into_iter().map(Arc::new).collect();
        let Poller { cache, ctx, campaign, feed, .. } = self.poller;
        let (start, began) = self.page;
        cache.saw(ctx.workspace.id, campaign, start, began, messages.iter().cloned());
        self.in_question.extend(feed.observe(messages, self.began, false));
    }

    /// Asks for what is in question, and for those of the named and the open that were not seen.
    async fn ask_but_for(
        &mut self,
        is_read: impl Fn(&MessageId) -> bool,
        named: Vec<MessageId>,
    ) -> Result<(), Error> {
        let feed = &self.poller.feed;
        let is_seen = |id: &MessageId| is_read(id) || self.seen.contains(id);
        let mut ids = std::mem::take(&mut self.in_question);
        ids.extend(feed.open_but_for(is_seen));
        ids.extend(named.into_iter().filter(|id| !is_seen(id)));
        // Pages that overlap can say the same twice.
        ids.sort_unstable();
        ids.dedup();
        self.ask(ids).await.map(|_| ())
    }

    /// Asks for messages one by one, and believes what is said of each. Says whether there was any.
    async fn ask(&mut self, ids: Vec<MessageId>) -> Result<bool, Error> {
        let Self { poller, survey, began, .. } = self;
        let Poller { client, cache, ctx, campaign, feed, .. } = poller;
        let calls = &mut self.calls;
        let mut answers = stream::iter(ids)
            .map(|id| {
                *calls += 1;
                metrics().poll_call();
                async move {
                    let start = cache.start();
                    let answer = client.get_message(ctx, campaign, &id).await;
                    (id, start, answer)
                }
            })
            .buffered(GETS_AT_ONCE);
        let (mut found, mut failures) = (false, Vec::new());
        while let Some((id, start, answer)) = answers.next().await {
            match answer {
                Ok(message) => {
                    found = true;
                    // The upstream may write the id in another case than its list does.
                    let seen = Arc::new(Message { id, ..message.value });
                    cache.saw(ctx.workspace.id, campaign, start, message.began, [Arc::clone(&seen)]);
                    feed.observe(vec![seen], *began, true);
                }
                Err(error) if error.reason() == Reason::MessageNotFound => {
                    feed.gone(&id, *began);
                    survey.lose(&id);
                }
                Err(error) if is_refusal(error.reason()) => return Err(error),
                Err(error) => {
                    failures.push(error);
                    if failures.len() >= MAX_FAILED_GETS {
                        break;
                    }
                }
            }
        }
        failures.into_iter().next().map_or(Ok(found), Err)
    }
}
