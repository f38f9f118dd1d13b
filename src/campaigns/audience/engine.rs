//! Runs one ingestion: reads items as there is room for them, sends them in batches, tells of each in
//! order. One task owns all of it, so that "begun" and "ended" never disagree.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, End, Entry, Limits,
    batching::Queue,
    doubt::Pass,
    flight::{Desk, Landed, Ticket},
    plan::{Plan, Planned, Planner},
    source::{Feed, Source},
    window::{Slot, Window},
};
use crate::{
    error::{Error, Reason},
    ledger::Ending,
    model::{Disposition, ResultView},
    telemetry::metrics,
    upstream::{Batch, Outcome},
};

/// The most results in one answer: well below a message's 4 MiB, however much each failure says.
const RESULTS_AN_ANSWER: usize = 500;

/// The most bytes of items that are read and not yet sent.
const QUEUE_BYTES: usize = 4 << 20;

pub(super) struct Engine {
    /// `None`: validation only, nothing is sent and nothing remembered.
    desk: Option<Arc<Desk>>,
    source: Source,
    planner: Planner,
    first_index: u64,
    window: Window,
    queue: Queue,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// The batches among the flights, with their items' indexes.
    tickets: BTreeMap<u64, (Arc<Ticket>, Vec<u64>)>,
    launched: u64,
    limits: Limits,
    max_flights: usize,
    /// Why nothing further begins. The first cause stands.
    end: Option<Error>,
    /// Nobody can wait for what is on its way.
    in_a_hurry: bool,
    /// What earlier calls left in doubt is being asked for: no item is read meanwhile.
    is_resolving: bool,
    out: mpsc::Sender<Answer>,
}

/// What an engine is made of, beside what it begins with.
pub(super) struct Setup {
    pub(super) desk: Option<Arc<Desk>>,
    pub(super) source: Source,
    pub(super) planner: Planner,
    pub(super) limits: Limits,
    pub(super) max_batch_size: Option<u32>,
    pub(super) first_index: u64,
    pub(super) view: ResultView,
    pub(super) out: mpsc::Sender<Answer>,
}

impl Engine {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            desk: setup.desk,
            source: setup.source,
            planner: setup.planner,
            first_index: setup.first_index,
            window: Window::new(setup.first_index, setup.view),
            queue: Queue::new(setup.limits, setup.max_batch_size),
            flights: FuturesUnordered::new(),
            tickets: BTreeMap::new(),
            launched: 0,
            limits: setup.limits,
            // One batch is in flight until the first clean answer: were batches to fail, one is in doubt.
            max_flights: 1,
            end: None,
            in_a_hurry: false,
            is_resolving: false,
            out: setup.out,
        }
    }

    /// Runs to the end. A batch that is on its way then lands in the ledger whether or not anybody
    /// still listens.
    pub(super) async fn run(mut self, deadline: Option<Instant>, stopping: CancellationToken) {
        self.resolve_doubts().await;
        let out = self.out.clone();
        let out_of_time = until(deadline);
        tokio::pin!(out_of_time);
        loop {
            self.launch();
            if self.is_over() {
                break;
            }
            let partial_at = self.partial_batch_at();
            tokio::select! {
                biased;
                () = &mut out_of_time, if !self.in_a_hurry => self.hurry(too_late()).await,
                () = stopping.cancelled(), if !self.in_a_hurry => self.hurry(draining()).await,
                () = out.closed(), if !self.in_a_hurry => self.hurry(caller_gone()).await,
                Some(landed) = self.flights.next(), if !self.flights.is_empty() => self.land(landed),
                permit = out.reserve(), if self.window.has_told() => match permit {
                    Ok(permit) => {
                        let results = self.window.tell(RESULTS_AN_ANSWER);
                        permit.send(Answer::Results { results, settled_through: self.window.settled_through() });
                    }
                    // Nobody reads: what is told, is told to nobody.
                    Err(_) => while self.window.has_told() { self.window.tell(RESULTS_AN_ANSWER); },
                },
                feed = self.source.next(), if self.wants_more() => self.take(feed).await,
                () = until(partial_at), if partial_at.is_some() => {}
            }
        }
        self.close().await;
        // Nobody waits for these any more, but the ledger does.
        while let Some(landed) = self.flights.next().await {
            self.land(landed);
        }
    }

    /// With proven keys: what earlier calls left in doubt is asked for once more, before its items are
    /// looked at.
    async fn resolve_doubts(&mut self) {
        let Some(desk) = self.desk.clone().filter(|desk| desk.proven_keys) else { return };
        match desk.ingestion.frozen_doubts().await {
            Ok(doubts) if doubts.is_empty() => {}
            Ok(doubts) => {
                self.is_resolving = true;
                let at_once = self.limits.window;
                self.flights.push(Box::pin(async move {
                    let doubts = doubts.into_iter().map(|doubt| desk.resolve(doubt));
                    futures_util::stream::iter(doubts).for_each_concurrent(at_once, |each| each).await;
                    Landed::Resolved
                }));
            }
            Err(error) => self.stop(error),
        }
    }

    fn is_over(&self) -> bool {
        let nothing_comes = self.source.is_done() || self.end.is_some();
        nothing_comes && self.window.is_empty() && (self.flights.is_empty() || self.in_a_hurry)
    }

    fn wants_more(&self) -> bool {
        let room = self.limits.batch_max_items.saturating_mul(self.limits.window + 2).max(2_000);
        self.end.is_none()
            && !self.is_resolving
            && !self.source.is_done()
            && self.window.len() < room
            && self.queue.bytes() < QUEUE_BYTES
    }

    async fn take(&mut self, feed: Feed) {
        match feed {
            Feed::Items(entries) => self.read(entries).await,
            Feed::Fault(error) => self.stop(error),
            Feed::End if self.window.next_index() == self.first_index => {
                self.stop(Error::invalid_field("items", "at least one item is required"));
            }
            Feed::End => {}
            Feed::Gone => self.hurry(caller_gone()).await,
        }
    }

    async fn read(&mut self, entries: Vec<Entry>) {
        let first = self.window.next_index();
        let known = match &self.desk {
            Some(desk) => desk.ingestion.known(first..first + entries.len() as u64).await,
            None => Ok(Vec::new()),
        };
        let known = match known {
            Ok(known) => known,
            // An earlier call may have settled them: as long as nobody can say so, they are not told of.
            Err(error) => return self.stop(error),
        };
        let Plan { slots, queue, refused, reused } = self.planner.plan(first, entries, known);
        slots.into_iter().for_each(|(item_id, slot)| self.window.push(item_id, slot));
        if let Some(cause) = reused {
            return self.stop(cause);
        }
        self.queue.extend(queue);
        if let Some(desk) = self.desk.clone().filter(|_| !refused.is_empty()) {
            self.flights.push(Box::pin(desk.refuse(refused)));
        }
    }

    /// Begins as many batches as may be on their way at once.
    fn launch(&mut self) {
        let Some(desk) = self.desk.clone() else { return };
        while self.end.is_none() && self.tickets.len() < self.max_flights {
            if !self.queue.has_batch(self.source.is_done()) {
                break;
            }
            let pass = match desk.breaker.pass() {
                Ok(pass) => pass,
                Err(cause) => return self.stop(cause),
            };
            let most = if matches!(pass, Pass::Probe(_)) { 1 } else { usize::MAX };
            let batch = self.queue.next_batch(Batch::frame_overhead(desk.default_zone), most);
            let indexes: Vec<u64> = batch.iter().map(|item| item.index).collect();
            indexes.iter().for_each(|index| self.window.put(*index, Slot::InFlight));
            self.launched += 1;
            let ticket = Arc::new(Ticket::default());
            self.tickets.insert(self.launched, (Arc::clone(&ticket), indexes));
            self.flights.push(Box::pin(Arc::clone(&desk).fly(self.launched, ticket, batch, pass)));
        }
    }

    /// When what there is will be sent although it is no full batch.
    fn partial_batch_at(&self) -> Option<Instant> {
        let may_launch = self.end.is_none() && self.tickets.len() < self.max_flights;
        self.queue.partial_batch_at().filter(|_| may_launch && !self.queue.has_batch(self.source.is_done()))
    }

    fn land(&mut self, landed: Landed) {
        match landed {
            // It was told of when it was called back.
            Landed::Halted { number } => {
                self.tickets.remove(&number);
            }
            Landed::Resolved => self.is_resolving = false,
            Landed::Refused { indexes, recorded } => {
                // Not on record is not told as refused: a repeat shall be told the same.
                match recorded {
                    Ok(()) => indexes.into_iter().for_each(|index| self.window.confirm(index)),
                    Err(error) => {
                        for index in indexes {
                            self.window.put(index, Slot::Told(Disposition::NotAttempted(error.clone())));
                        }
                        self.stop(error);
                    }
                }
            }
            Landed::Answered { number, batch, outcome, claim, pass } => {
                // A clean answer makes room for the next batch at once; any other may change what that will be.
                if claim.is_none() || matches!(outcome, Outcome::Added(_) | Outcome::Rejected(_)) {
                    self.tickets.remove(&number);
                }
                self.heed(&outcome, batch.len());
                // Only now may another probe: it must know how this one ended.
                drop(pass);
                match claim {
                    Some(claim) => self.flights.push(Box::pin(Desk::record(number, batch, outcome, claim))),
                    None => self.settle(batch, outcome),
                }
            }
            Landed::Recorded { number, batch, outcome } => {
                self.tickets.remove(&number);
                self.settle(batch, outcome);
            }
        }
    }

    /// What an answer means for the batches after it.
    fn heed(&mut self, outcome: &Outcome, items: usize) {
        if let Some(Desk { breaker, .. }) = self.desk.as_deref() {
            match outcome {
                Outcome::InDoubt { by_refusal, .. } => breaker.doubted(items, *by_refusal),
                Outcome::Added(_) | Outcome::Rejected(_) | Outcome::Refused(_) | Outcome::Split { .. } => {
                    breaker.answered();
                }
                Outcome::NotApplied(_) => {}
            }
        }
        match outcome {
            Outcome::Added(_) => {
                self.max_flights =
                    if self.queue.sends_singles() { self.limits.singles_window } else { self.limits.window };
            }
            // One bad item of a batch costs all of it; one by one it costs only itself.
            Outcome::InDoubt { by_refusal: true, .. } => self.queue.send_singles(),
            Outcome::InDoubt { by_refusal: false, .. } => self.max_flights = 1,
            Outcome::NotApplied(error) | Outcome::Refused(error) => self.stop(error.clone()),
            Outcome::Split { too_large: true, .. } => self.queue.shrink_to(items / 2),
            Outcome::Split { too_large: false, .. } | Outcome::Rejected(_) => {}
        }
    }

    /// What an outcome means for the batch itself, once it is on record.
    fn settle(&mut self, batch: Vec<Planned>, outcome: Outcome) {
        match outcome {
            Outcome::Added(added) => {
                for (item, added) in batch.iter().zip(added) {
                    self.window.put(item.index, Slot::Told(Disposition::Added(added)));
                }
            }
            Outcome::Rejected(error) => self.tell(&batch, Disposition::Rejected(error)),
            Outcome::InDoubt { error, .. } => self.tell(&batch, Disposition::InDoubt(error)),
            Outcome::Split { .. } if self.end.is_none() => {
                for item in &batch {
                    self.window.put(item.index, Slot::Planned);
                }
                self.queue.halve(batch);
            }
            Outcome::Split { error, .. } | Outcome::NotApplied(error) | Outcome::Refused(error) => {
                // The first cause stands; it may be another batch's.
                self.stop(error.clone());
                let cause = self.end.clone().unwrap_or(error);
                self.tell(&batch, Disposition::NotAttempted(cause));
            }
        }
    }

    fn tell(&mut self, batch: &[Planned], disposition: Disposition) {
        for item in batch {
            self.window.put(item.index, Slot::Told(disposition.clone()));
        }
    }

    /// Nothing further begins. What is on its way may land.
    fn stop(&mut self, cause: Error) {
        let cause = self.end.get_or_insert(cause).clone();
        self.queue.clear();
        self.window.abandon_planned(&cause);
        // What still waits for its turn is called back: it was not claimed, and so not attempted.
        for (_, indexes) in self.tickets.values().filter(|(ticket, _)| ticket.halt()) {
            for index in indexes {
                self.window.put(*index, Slot::Told(Disposition::NotAttempted(cause.clone())));
            }
        }
    }

    /// Nothing further begins, and nobody can wait for what is on its way.
    async fn hurry(&mut self, cause: Error) {
        // A status may be told only where no item is known to be settled: so what came whole is looked up.
        if let Some(entries) = self.source.take_whole() {
            self.read(entries).await;
        }
        self.stop(cause);
        self.in_a_hurry = true;
        if let Some(cause) = self.end.clone() {
            self.window.tell_all(&cause);
        }
    }

    /// Records how it ended, and tells it.
    async fn close(&mut self) {
        let summary = self.window.summary();
        // A cause that came too late to stop anything ended nothing.
        let stopped_something = summary.not_attempted + summary.pending > 0 || !self.source.is_whole();
        let termination = self.end.take().filter(|_| stopped_something || summary.received == 0);
        if let Some(desk) = &self.desk {
            let ending = match &termination {
                None => Ending::Complete,
                Some(cause) if self.in_a_hurry => Ending::Interrupted(cause.clone()),
                Some(cause) => Ending::Terminated(cause.clone()),
            };
            if let Err(error) = desk.ingestion.end(self.first_index..self.window.next_index(), ending).await {
                // Safe all the same: without an end it counts as interrupted.
                tracing::warn!(%error, "the end of an ingestion could not be recorded");
            }
        }
        metrics().dispositions(&summary.by_disposition());
        // The ingestion is no longer in use when its caller hears of its end, unless items are on their way.
        if self.flights.is_empty() {
            self.desk = None;
        }
        // The contract's rule for when an answer may be a bare status.
        let ended = match termination {
            Some(cause) if !summary.has_told_items() => Err(cause),
            termination => Ok(End { summary, termination }),
        };
        let _ = self.out.send(Answer::End(ended)).await;
    }
}

fn too_late() -> Error {
    let message = "the deadline passed: repeat the call under the same request_id to finish";
    Error::new(Reason::DeadlineExceeded, message)
}

fn draining() -> Error {
    let message = "the server is going away: repeat the call under the same request_id";
    Error::new(Reason::ServerDraining, message).retry_after(Duration::from_secs(1))
}

/// Nobody reads it: it only keeps another batch from starting, and stands in the ledger.
fn caller_gone() -> Error {
    Error::new(Reason::DeadlineExceeded, "the caller went away: repeat the call under the same request_id")
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
