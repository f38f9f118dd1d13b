//! The handlers: parse, act, render.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{
    auth::{Auth, Pass, Right},
    cancelling, collect,
    connection::{Leaving, until_it_leaves},
    convert, deadline,
    head::Head,
    ingest,
    quota::Quota,
    rescue::{StreamFault, receive},
    status,
    tokens::{PageTokens, ResumeTokens},
};
use crate::{
    campaigns::{audience::Audience, cancel::Cancel, counting::Counting, messages::Messages, watch::Hub},
    context::Context,
    error::Error,
    ledger::Scope,
    pb::{self, campaigns_service_server::CampaignsService},
};

/// The service, as tonic calls it. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    /// Adds contacts.
    pub audience: Audience,
    /// Reads messages.
    pub messages: Messages,
    /// Counts messages.
    pub counting: Counting,
    /// Cancels messages.
    pub cancel: Cancel,
    /// Watches campaigns.
    pub hub: Hub,
    /// Lets callers in.
    pub auth: Auth,
    /// Seals page tokens.
    pub pages: Arc<PageTokens>,
    /// Seals resume tokens.
    pub resumes: Arc<ResumeTokens>,
    /// What a workspace may take.
    pub quota: Quota,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    /// Lets a call in that wants to do this.
    fn context<T>(&self, request: &Request<T>, wants: Right) -> Result<Context, Status> {
        Ok(self.stream_context(request, wants)?.0)
    }

    /// The same for a call whose answers may run on for long.
    fn stream_context<T>(&self, request: &Request<T>, wants: Right) -> Result<(Context, Pass), Status> {
        let (metadata, extensions) = (request.metadata(), request.extensions());
        let (workspace, pass) = self.auth.admit(metadata, extensions, wants).map_err(refuse)?;
        self.quota.enter(workspace.id, extensions).map_err(refuse)?;
        let deadline = deadline::deadline(metadata, extensions).map_err(refuse)?;
        Ok((Context { workspace, deadline }, pass))
    }
}

/// The one place where an error leaves as a status.
#[allow(clippy::needless_pass_by_value)] // `map_err(refuse)` reads as what it does.
fn refuse(error: Error) -> Status {
    status::status(&error)
}

/// A request's stream that gave no further message.
fn broken(fault: StreamFault) -> Status {
    match fault {
        StreamFault::Invalid(error) => refuse(error),
        // Nobody is there to read it. Nothing was sent upstream.
        StreamFault::Gone => Status::cancelled("the stream broke off"),
    }
}

#[tonic::async_trait]
impl CampaignsService for Service {
    async fn add_audience(
        &self,
        request: Request<Streaming<pb::AddAudienceRequest>>,
    ) -> Result<Response<pb::AddAudienceResponse>, Status> {
        let ctx = self.context(&request, Right::Write)?;
        let stream = request.into_inner();
        let asked = deadline::within(ctx.deadline, collect::collect(stream)).await.map_err(refuse)?;
        let (head, entries) = asked.map_err(broken)?;
        let ingested = self.audience.add(ctx, head.campaign, head.options, entries).await;
        Ok(Response::new(convert::render::ingested(ingested.map_err(refuse)?)))
    }

    type IngestAudienceStream = Answers<pb::IngestAudienceResponse>;

    async fn ingest_audience(
        &self,
        request: Request<Streaming<pb::IngestAudienceRequest>>,
    ) -> Result<Response<Self::IngestAudienceStream>, Status> {
        let (ctx, pass) = self.stream_context(&request, Right::Write)?;
        let mut stream = request.into_inner();
        let first = deadline::within(ctx.deadline, receive(&mut stream)).await.map_err(refuse)?;
        let first = first.map_err(broken)?.ok_or_else(|| refuse(Head::missing()))?;
        let (head, items) = Head::read(first).map_err(refuse)?;
        let begun = self.audience.ingest(ctx, head.campaign.clone(), head.options.clone()).await;
        let (feeder, run) = begun.map_err(refuse)?;
        Ok(Response::new(Box::pin(ingest::answers(stream, pass, head, items, feeder, run))))
    }

    async fn get_ingestion(
        &self,
        request: Request<pb::GetIngestionRequest>,
    ) -> Result<Response<pb::GetIngestionResponse>, Status> {
        let ctx = self.context(&request, Right::Read)?;
        let asked = convert::parse::get_ingestion(request.into_inner()).map_err(refuse)?;
        let (workspace, view, limit) = (ctx.workspace.id, asked.view, asked.page_size as usize);
        let scope = Scope { workspace, campaign: asked.campaign, request_id: asked.request_id };
        let from = match asked.page_token.as_str() {
            "" => 0,
            token => self.pages.open_results(token, &scope, view).map_err(refuse)?,
        };
        let page = deadline::within(ctx.deadline, self.audience.ingestion(&scope, from, limit, view)).await;
        let page = page.flatten().map_err(refuse)?;
        let token = |next| self.pages.seal_results(next, &scope, view);
        Ok(Response::new(convert::render::ingestion(page, token)))
    }

    async fn get_message(
        &self,
        request: Request<pb::GetMessageRequest>,
    ) -> Result<Response<pb::GetMessageResponse>, Status> {
        let ctx = self.context(&request, Right::Read)?;
        let asked = convert::parse::get_message(request.into_inner()).map_err(refuse)?;
        let seen = self.messages.get(&ctx, &asked.campaign, &asked.id, asked.max_staleness).await;
        let seen = seen.map_err(refuse)?;
        Ok(Response::new(pb::GetMessageResponse {
            message: Some(convert::render::message(&asked.campaign, Arc::unwrap_or_clone(seen.value))),
            observe_time: Some(convert::render::timestamp(seen.began)),
        }))
    }

    async fn list_messages(
        &self,
        request: Request<pb::ListMessagesRequest>,
    ) -> Result<Response<pb::ListMessagesResponse>, Status> {
        let ctx = self.context(&request, Right::Read)?;
        let asked = convert::parse::list_messages(request.into_inner()).map_err(refuse)?;
        let (workspace, campaign, statuses) = (ctx.workspace.id, &asked.campaign, asked.statuses);
        let from = match asked.page_token.as_str() {
            "" => None,
            token => Some(self.pages.open(token, &workspace, campaign, statuses).map_err(refuse)?),
        };
        let listing =
            self.messages.list(&ctx, campaign, asked.page_size, from, statuses, asked.max_staleness);
        let mut listing = listing.await.map_err(refuse)?;
        let next = listing.next.take().map(|next| self.pages.seal(&next, &workspace, campaign, statuses));
        Ok(Response::new(convert::render::listing(campaign, listing, next.unwrap_or_default())))
    }

    async fn count_messages(
        &self,
        request: Request<pb::CountMessagesRequest>,
    ) -> Result<Response<pb::CountMessagesResponse>, Status> {
        let ctx = self.context(&request, Right::Read)?;
        let (campaign, max_staleness) =
            convert::parse::count_messages(request.into_inner()).map_err(refuse)?;
        let counts = self.counting.count(&ctx, &campaign, max_staleness).await.map_err(refuse)?;
        Ok(Response::new(convert::render::counts(counts)))
    }

    async fn cancel_message(
        &self,
        request: Request<pb::CancelMessageRequest>,
    ) -> Result<Response<pb::CancelMessageResponse>, Status> {
        let ctx = self.context(&request, Right::Write)?;
        let (campaign, id) = convert::parse::cancel_message(request.into_inner()).map_err(refuse)?;
        let cancelled = self.cancel.cancel(ctx, campaign.clone(), id).await.map_err(refuse)?;
        Ok(Response::new(pb::CancelMessageResponse {
            message: Some(convert::render::message(&campaign, cancelled.message)),
            already_cancelled: cancelled.already,
        }))
    }

    type CancelMessagesStream = Answers<pb::CancelMessagesResponse>;

    async fn cancel_messages(
        &self,
        request: Request<pb::CancelMessagesRequest>,
    ) -> Result<Response<Self::CancelMessagesStream>, Status> {
        let (ctx, pass) = self.stream_context(&request, Right::Write)?;
        let asked = convert::parse::cancel_messages(request.into_inner()).map_err(refuse)?;
        let answers = Box::pin(cancelling::answers(self.cancel.cancel_many(ctx, asked)));
        // What is cancelled by then is told no more.
        Ok(Response::new(pass.guard(answers, Error::maybe_applied)))
    }

    type WatchMessagesStream = Answers<pb::WatchMessagesResponse>;

    async fn watch_messages(
        &self,
        request: Request<pb::WatchMessagesRequest>,
    ) -> Result<Response<Self::WatchMessagesStream>, Status> {
        let (ctx, pass) = self.stream_context(&request, Right::Read)?;
        let leaving = Leaving::of(request.extensions());
        let (campaign, options, resume_token) =
            convert::parse::watch(request.into_inner()).map_err(refuse)?;
        let tokens = self.resumes.of(&ctx.workspace.id, &campaign, &options);
        let from = tokens.open(&resume_token).map_err(refuse)?;
        let updates = self.hub.watch(ctx, campaign.clone(), options, from);
        let answers = updates.map(move |update| {
            let update = update.map_err(refuse)?;
            let token = tokens.seal(&update.place);
            Ok(convert::render::watch_update(&campaign, update, token))
        });
        let answers = Box::pin(until_it_leaves(leaving, Box::pin(answers)));
        Ok(Response::new(pass.guard(answers, |error| error)))
    }
}
