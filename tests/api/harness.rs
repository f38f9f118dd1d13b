//! The service in front of a sandbox, both in this process on ports of their own, and a verb for each thing
//! that a caller does. Dropping it stops both.

use std::time::Duration;

use blubash_grpc::{
    clock::Clock,
    config::Flags,
    ledger::Ledger,
    pb::{self, campaigns_service_client::CampaignsServiceClient},
    sandbox::{self, Options},
    secret::Secret,
    server::{self, Server},
};
use clap::Parser;
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{canary, sandbox::Bench};

pub(crate) const EVERGREEN: &str = sandbox::EVERGREEN;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

pub(crate) struct App {
    /// The sandbox behind the service, and its controls. Its clock is frozen.
    pub(crate) rest: Bench,
    pub(crate) client: CampaignsServiceClient<Channel>,
    pub(crate) address: String,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default(), &[]).await
    }

    /// With these sandbox options, and these flags of `serve`.
    pub(crate) async fn with(options: Options, flags: &[&str]) -> Self {
        let rest = Bench::new(options).await;
        let url = rest.sandbox.campaigns_url();
        Self::in_front_of(rest, &url, flags).await
    }

    /// In front of another upstream than the sandbox.
    pub(crate) async fn in_front_of(rest: Bench, url: &str, flags: &[&str]) -> Self {
        canary::watch();
        let defaults = ["--ledger=memory:", "--poll-interval=100ms", "--drain-timeout=2s"];
        let is_unsaid = |default: &&str| {
            let name = default.split('=').next().unwrap_or_default();
            !flags.iter().any(|flag| flag.starts_with(name))
        };
        let arguments = ["serve"].into_iter().chain(defaults.into_iter().filter(is_unsaid));
        let arguments = arguments.chain(flags.iter().copied());
        let config = Arguments::parse_from(arguments).flags.check(url).unwrap();
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Ledger::in_memory(config.ledger, Clock::System);
        let server = Server::new(&config, &Secret::random(), Clock::System, ledger).unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async {
            let stopped = async {
                let _ = stopped.await;
            };
            server.serve(listener, stopped).await.unwrap();
        });
        // Connected with the first call, so that tests may call over another road, too.
        let client =
            CampaignsServiceClient::new(Channel::from_shared(address.clone()).unwrap().connect_lazy());
        Self { rest, client, address, stop: Some(stop), server: Some(server) }
    }

    /// Drains the service, and returns when it has ended.
    pub(crate) async fn drain(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            server.await.unwrap();
        }
    }

    /// Adds items in one stream of messages of up to 100 items each.
    pub(crate) async fn add(
        &self,
        options: pb::AudienceOptions,
        items: Vec<pb::AudienceItem>,
    ) -> Result<pb::AddAudienceResponse, Status> {
        self.add_to(EVERGREEN, options, items).await
    }

    pub(crate) async fn add_to(
        &self,
        campaign: &str,
        options: pb::AudienceOptions,
        items: Vec<pb::AudienceItem>,
    ) -> Result<pb::AddAudienceResponse, Status> {
        let mut messages: Vec<_> = items
            .chunks(100)
            .map(|items| pb::AddAudienceRequest { items: items.to_vec(), ..Default::default() })
            .collect();
        if messages.is_empty() {
            messages.push(pb::AddAudienceRequest::default());
        }
        messages[0].campaign_id = campaign.to_owned();
        messages[0].options = Some(options);
        self.add_stream(messages).await
    }

    pub(crate) async fn add_stream(
        &self,
        messages: Vec<pb::AddAudienceRequest>,
    ) -> Result<pb::AddAudienceResponse, Status> {
        let request = keyed(tokio_stream::iter(messages));
        self.client.clone().add_audience(request).await.map(Response::into_inner)
    }

    pub(crate) async fn get(&self, campaign: &str, id: &str) -> Result<pb::CampaignMessage, Status> {
        let request = pb::GetMessageRequest {
            campaign_id: campaign.into(),
            message_id: id.into(),
            max_staleness: None,
        };
        let answer = self.client.clone().get_message(keyed(request)).await?.into_inner();
        Ok(answer.message.unwrap())
    }

    pub(crate) async fn list(
        &self,
        request: pb::ListMessagesRequest,
    ) -> Result<pb::ListMessagesResponse, Status> {
        self.client.clone().list_messages(keyed(request)).await.map(Response::into_inner)
    }

    /// Every page of a campaign, joined.
    pub(crate) async fn list_all(&self, first: pb::ListMessagesRequest) -> Vec<pb::CampaignMessage> {
        let (mut messages, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = self.list(pb::ListMessagesRequest { page_token, ..first.clone() }).await.unwrap();
            messages.extend(page.messages);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return messages;
            }
        }
    }

    pub(crate) async fn cancel(&self, campaign: &str, id: &str) -> Result<pb::CancelMessageResponse, Status> {
        let request = pb::CancelMessageRequest { campaign_id: campaign.into(), message_id: id.into() };
        self.client.clone().cancel_message(keyed(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn watch(
        &self,
        request: pb::WatchMessagesRequest,
    ) -> Result<Streaming<pb::WatchMessagesResponse>, Status> {
        self.client.clone().watch_messages(keyed(request)).await.map(Response::into_inner)
    }

    /// What the sandbox's request log holds of one operation: `add`, `get`, `list`, `cancel`.
    pub(crate) async fn upstream_calls(&self, operation: &str) -> Vec<Value> {
        let log = self.rest.control(reqwest::Method::GET, "requests", Value::Null).await;
        let calls = log["requests"].as_array().unwrap().iter();
        calls.filter(|call| call["operation"] == operation).cloned().collect()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            canary::none_was_logged();
        }
    }
}

/// A request with acme's key and a deadline far beyond what any test takes.
pub(crate) fn keyed<T>(message: T) -> Request<T> {
    with_key(message, sandbox::ACME_API_KEY)
}

pub(crate) fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request.set_timeout(Duration::from_secs(60));
    request
}

/// An item for this phone number, sent at once.
pub(crate) fn item(identifier: impl Into<String>) -> pb::AudienceItem {
    pb::AudienceItem {
        recipient: Some(pb::audience_item::Recipient::Identifier(identifier.into())),
        schedule: Some(pb::Schedule { when: Some(pb::schedule::When::Immediate(pb::Immediate {})) }),
        ..Default::default()
    }
}

/// So many items, each for a number of its own.
pub(crate) fn items(count: usize) -> Vec<pb::AudienceItem> {
    (0..count).map(|n| item(format!("55119{n:08}"))).collect()
}

pub(crate) fn request_id(id: &str) -> pb::AudienceOptions {
    pb::AudienceOptions { request_id: id.into(), ..Default::default() }
}

/// An error's code and its ErrorInfo's reason.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    canary::none_in_status(status);
    let info = status.get_details_error_info();
    (status.code(), info.map(|info| info.reason).unwrap_or_default())
}

pub(crate) fn dispositions(answer: &pb::AddAudienceResponse) -> Vec<pb::Disposition> {
    answer.results.iter().map(pb::AudienceItemResult::disposition).collect()
}
