//! The client of the vendor's REST API, and the only place that knows reqwest and the upstream's JSON.
//!
//! [`request`] builds what goes out, without I/O. It passes one tower stack (`stack`), at whose end a
//! transport hands over [`evidence`], and `classify` turns that into an outcome. The test seam is the
//! transport: [`Client::with_transport`].

pub mod batch;
mod circuit_breaker;
mod classify;
mod config;
pub mod evidence;
mod frozen;
mod lane;
mod mask;
mod patience;
mod rate_limit;
mod reasons;
pub mod request;
mod retry;
mod retry_budget;
mod stack;
mod transport;
mod wire;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use tower::{Service, ServiceExt as _};

pub use self::{
    batch::{Batch, EncodedItem},
    classify::{CancelAnswer, Outcome},
    config::{Batches, Config, ConfigFault},
    evidence::{Body, Broken, Evidence, Unsent},
    lane::{Admission, LaneView},
    request::{Call, Operation},
};
use self::{
    lane::{Class, Lane, Lanes},
    patience::Patience,
    request::{Brought, Routes},
    stack::Stack,
    transport::Http,
};
use crate::{
    clock::Clock,
    context::Context,
    error::{Error, Reason},
    model::{CampaignId, Message, MessageId, Observed, Page, Slice, Status},
    telemetry::metrics,
};

/// The longest that one batch of an import, or a poll, waits for its turn.
const ADMISSION_PATIENCE: Duration = Duration::from_secs(600);

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    stack: Stack,
    lanes: Arc<Lanes>,
    routes: Routes,
    timeouts: Arc<Timeouts>,
    batches: Batches,
    clock: Clock,
    /// Whether what it reads is polled.
    polls: bool,
}

/// A page as the upstream sent it: what is kept in this form costs no copy of each of its messages.
#[derive(Clone, Debug)]
pub struct RawPage(Bytes);

#[cfg(test)]
impl From<Bytes> for RawPage {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl RawPage {
    /// What it says.
    ///
    /// # Errors
    /// `UpstreamResponseInvalid` where it is no page. One that was read before never is.
    pub fn read(&self) -> Result<Page, Error> {
        wire::page(&self.0).map_err(|why| classify::invalid(&why))
    }

    /// How many bytes it has.
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

struct Timeouts {
    read_attempt: Duration,
    write_attempt: Duration,
    operation: Duration,
}

impl Client {
    /// A client that speaks HTTP.
    pub fn new(config: &Config, clock: Clock) -> Result<Self, ConfigFault> {
        Ok(Self::with_transport(Http::new(config)?, config, clock))
    }

    /// A client whose attempts end in `transport`.
    pub fn with_transport<T>(transport: T, config: &Config, clock: Clock) -> Self
    where
        T: Service<Call, Response = Evidence, Error = Infallible> + Clone + Send + Sync + 'static,
        T::Future: Send + 'static,
    {
        Self {
            stack: stack::stack(transport, config.batches, clock),
            lanes: Arc::new(Lanes::new(config)),
            routes: Routes::new(config),
            timeouts: Arc::new(Timeouts {
                read_attempt: config.read_attempt_timeout,
                write_attempt: config.write_attempt_timeout,
                operation: config.operation_timeout,
            }),
            batches: config.batches,
            clock,
            polls: false,
        }
    }

    /// The same client for reads that are made again and again for the sake of watchers. They keep to a
    /// share of the workspace's rate and concurrency, and wait for their turn up to ten minutes.
    pub fn polling(&self) -> Self {
        Self { polls: true, ..self.clone() }
    }

    /// A look at each workspace's lane.
    pub fn lanes(&self) -> Vec<LaneView> {
        self.lanes.view()
    }

    /// Fetches one message.
    pub async fn get_message(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        id: &MessageId,
    ) -> Result<Observed<Message>, Error> {
        let request = self.routes.get_message(&ctx.workspace.key.current(), campaign, id)?;
        let read = self.read(ctx, request, Operation::GetMessage).await;
        let (body, began) = read.map_err(|error| told(error, ctx, campaign, Some(id)))?;
        let message = wire::message(&body).map_err(|why| classify::invalid(&why))?;
        drift([&message]);
        if !message.id.as_str().eq_ignore_ascii_case(id.as_str()) {
            return Err(classify::invalid("it is about another message than the one asked for"));
        }
        Ok(Observed { value: message, began })
    }

    /// Fetches a part of a campaign's messages, as the upstream orders them.
    pub async fn list_messages(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        slice: Slice,
    ) -> Result<Observed<Page>, Error> {
        Ok(self.list_messages_raw(ctx, campaign, slice).await?.map(|(page, _)| page))
    }

    /// The same, with the bytes that it was read from.
    pub async fn list_messages_raw(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        slice: Slice,
    ) -> Result<Observed<(Page, RawPage)>, Error> {
        let request = self.routes.list_messages(&ctx.workspace.key.current(), campaign, slice)?;
        let read = self.read(ctx, request, Operation::ListMessages).await;
        let (body, began) = read.map_err(|error| told(error, ctx, campaign, None))?;
        let raw = RawPage(body);
        let page = raw.read()?;
        drift(page.entries.iter().flatten());
        let nameless = page.entries.iter().filter(|entry| entry.is_none()).count();
        if nameless > 0 {
            tracing::warn!(
                nameless,
                entries = page.entries.len(),
                "the upstream listed messages without an id"
            );
        }
        Ok(Observed { value: (page, raw), began })
    }

    /// Waits until one batch of this workspace may be sent: it is to be claimed only then. Imports wait in
    /// the order in which they came, and never for another workspace's.
    ///
    /// # Errors
    /// `Overloaded`, `UpstreamRateLimited`, `UpstreamUnavailable` and `UpstreamCircuitOpen` where the wait
    /// would be longer than the deadline or ten minutes allow, as soon as that is plain;
    /// `DeadlineExceeded`. Nothing was sent.
    pub async fn admit(&self, ctx: &Context) -> Result<Admission, Error> {
        // An import's own backpressure: its caller waits for its turn as long as it wants to.
        let patience = Patience::of(ctx.deadline, ADMISSION_PATIENCE);
        self.lanes.of(ctx.workspace.id).admit_bulk(patience).await
    }

    /// Adds the items of a batch, at once. Only its attempts' own timeout cuts it: a batch that is on its
    /// way outlives its caller, whose deadline merely forbids further attempts.
    pub async fn add_audience(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        batch: &Batch,
        admission: Admission,
    ) -> Outcome {
        debug_assert_eq!(admission.lane.workspace(), ctx.workspace.id);
        let request = match self.routes.add_audience(&ctx.workspace.key.current(), campaign, batch) {
            Ok(request) => request,
            Err(error) => return Outcome::Refused(error),
        };
        let Admission { lane, pass, permits } = admission;
        let mut call = self.call(ctx, lane, request, Operation::AddAudience(batch.asked.clone()));
        call.leave = Brought(Some(pass));
        let sent = self.send(call).await;
        // Held through all attempts: a batch that waits for its next one is still on its way.
        drop(permits);
        match sent {
            Ok(evidence) => {
                match classify::classify(&evidence, &batch.asked, self.batches, self.clock.now()) {
                    Outcome::Refused(error) => Outcome::Refused(told(error, ctx, campaign, None)),
                    outcome => outcome,
                }
            }
            // Only a layer that refused to send the batch ends here.
            Err(error) => Outcome::from(error),
        }
    }

    /// Cancels a message. An error with `Applied::No` proves that nothing was done. Like a batch, a
    /// cancellation that is on its way is cut by nothing but its attempts' timeout.
    pub async fn cancel_message(
        &self,
        ctx: &Context,
        campaign: &CampaignId,
        id: &MessageId,
    ) -> Result<CancelAnswer, Error> {
        let request = self.routes.cancel_message(&ctx.workspace.key.current(), campaign, id)?;
        let lane = self.lanes.of(ctx.workspace.id);
        let evidence = self.send(self.call(ctx, lane, request, Operation::CancelMessage(id.clone()))).await?;
        classify::cancel(&evidence, id, self.clock.now())
            .map_err(|error| told(error, ctx, campaign, Some(id)))
    }

    async fn read(
        &self,
        ctx: &Context,
        request: Request<Bytes>,
        operation: Operation,
    ) -> Result<(Bytes, chrono::DateTime<chrono::Utc>), Error> {
        let lane = self.lanes.of(ctx.workspace.id);
        let (class, leave, _permits) = if self.polls {
            let admission = lane.admit_poll(Patience::of(ctx.deadline, ADMISSION_PATIENCE)).await?;
            (Class::Poll, Brought(Some(admission.pass)), Some(admission.permits))
        } else {
            (operation.class(), Brought::default(), None)
        };
        let began = self.clock.now();
        let call = Call { class, leave, ..self.call(ctx, lane, request, operation.clone()) };
        let evidence = self.send(call).await?;
        Ok((classify::read(&evidence, &operation, self.clock.now())?, began))
    }

    fn call(&self, ctx: &Context, lane: Arc<Lane>, request: Request<Bytes>, operation: Operation) -> Call {
        let attempt_timeout =
            if operation.is_write() { self.timeouts.write_attempt } else { self.timeouts.read_attempt };
        let (class, patience) = (operation.class(), self.patience(ctx));
        let leave = Brought::default();
        Call { request, operation, attempt: 1, attempt_timeout, class, patience, lane, leave }
    }

    fn patience(&self, ctx: &Context) -> Patience {
        Patience::of(ctx.deadline, self.timeouts.operation)
    }

    async fn send(&self, call: Call) -> Result<Evidence, Error> {
        self.stack.clone().oneshot(call).await
    }
}

/// Counts what the upstream says that this version does not know.
fn drift<'a>(messages: impl IntoIterator<Item = &'a Message>) {
    let unknown = messages.into_iter().filter(|message| message.status == Status::Unknown).count();
    if unknown > 0 {
        metrics().unknown_statuses(unknown as u64);
    }
}

/// Says what was not found: the upstream's answer does not, and a caller with many calls under way must
/// know which of them it is about. And says whose key was refused: only its holder can do something about it.
fn told(error: Error, ctx: &Context, campaign: &CampaignId, id: Option<&MessageId>) -> Error {
    match (error.reason(), id) {
        (Reason::ApiKeyInvalid, _) if ctx.workspace.key.is_held() => {
            tracing::warn!(
                workspace = ?ctx.workspace.id,
                "the upstream refuses the key that this server holds: renew its key_file"
            );
            Error::new(
                Reason::UpstreamKeyRefused,
                "the upstream refused the key that this server holds for the workspace: its operator must renew it",
            )
        }
        (Reason::MessageNotFound, Some(id)) => {
            error.with("campaign_id", campaign.as_str()).with("message_id", id.as_str())
        }
        (Reason::CampaignNotFound, _) => error.with("campaign_id", campaign.as_str()),
        _ => error,
    }
}

#[cfg(test)]
mod fairness_tests;
#[cfg(test)]
mod held_key_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
