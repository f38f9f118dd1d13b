//! What a caller can do, and what it hears.

use std::{sync::Arc, time::Duration};

use blubash_grpc::pb::{
    AddAudienceRequest, AudienceItem, AudienceItemResult, AudienceOptions, AudienceSummary, Disposition,
    ErrorReason, Failure, GetIngestionRequest, IngestAudienceRequest, IngestionState,
    campaigns_service_client::CampaignsServiceClient,
};
use fastrand::Rng;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{import::Import, support::calls::keyed};

pub(crate) struct Verb {
    pub(crate) client: CampaignsServiceClient<Channel>,
    pub(crate) import: Arc<Import>,
    pub(crate) first_index: usize,
    pub(crate) timeout: Duration,
}

/// All that was heard of one call.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) results: Vec<AudienceItemResult>,
    /// How far the stream claimed to have told everything.
    pub(crate) settled_through: Option<i64>,
    /// With its end in order.
    pub(crate) summary: Option<AudienceSummary>,
    pub(crate) termination: Option<Failure>,
    pub(crate) failure: Option<Status>,
}

/// What the service remembers of an ingestion.
pub(crate) struct Kept {
    pub(crate) answer: Answer,
    pub(crate) state: IngestionState,
}

impl Answer {
    fn failed(status: Status) -> Self {
        Self { failure: Some(status), ..Self::default() }
    }

    /// The reason by which this service ended the call, where it was this service that did.
    pub(crate) fn reason(&self) -> Option<String> {
        self.failure.as_ref()?.get_details_error_info().map(|info| info.reason)
    }

    /// Which item was found to be another one than before.
    pub(crate) fn reused(&self) -> Option<usize> {
        let details = self.failure.as_ref().and_then(|status| status.get_details_error_info());
        let status = details.filter(|info| info.reason == "REQUEST_ID_REUSED").map(|info| info.metadata);
        let ended = self.termination.clone();
        let ended = ended.filter(|failure| failure.reason() == ErrorReason::RequestIdReused);
        let metadata = status.or(ended.map(|failure| failure.metadata))?;
        metadata.get("index")?.parse().ok()
    }

    pub(crate) fn tell(&self) -> String {
        let each = self.results.iter().map(|result| match result.disposition() {
            Disposition::Added => 'A',
            Disposition::Invalid => 'v',
            Disposition::Rejected => 'R',
            Disposition::NotAttempted => '-',
            Disposition::InDoubt => '?',
            Disposition::Pending => '.',
            Disposition::Unspecified | Disposition::Valid => '!',
        });
        let end = match (&self.failure, &self.termination, &self.summary) {
            (Some(status), _, _) => {
                format!("{:?} {}", status.code(), self.reason().unwrap_or_default())
            }
            (None, Some(failure), _) => failure.reason().as_str_name().to_owned(),
            (None, None, Some(_)) => String::new(),
            (None, None, None) => "broken off".to_owned(),
        };
        format!("{} {end}", each.collect::<String>())
    }
}

impl Verb {
    fn options(&self) -> AudienceOptions {
        AudienceOptions { first_index: self.first_index as i64, ..self.import.options() }
    }

    fn keyed<T>(&self, message: T) -> tonic::Request<T> {
        keyed(message, self.import.api_key, self.timeout)
    }

    /// Waits longer than the deadline that the service was told: a network that swallows everything tells
    /// nothing.
    async fn patiently<T>(&self, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let answer = tokio::time::timeout(self.timeout * 2, answer).await;
        answer.unwrap_or_else(|_| Err(Status::cancelled("no answer")))
    }

    pub(crate) async fn add(self, items: Vec<AudienceItem>) -> Answer {
        let first = AddAudienceRequest {
            campaign_id: self.import.campaign.into(),
            options: Some(self.options()),
            items,
        };
        let request = self.keyed(tokio_stream::iter([first]));
        let mut client = self.client.clone();
        match self.patiently(client.add_audience(request)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                Answer {
                    results: answer.results,
                    summary: Some(answer.summary.unwrap_or_default()),
                    termination: answer.termination,
                    ..Answer::default()
                }
            }
            Err(status) => Answer::failed(status),
        }
    }

    /// Brings the items a few at a time, and hears results while more go up.
    pub(crate) async fn ingest(self, items: Vec<AudienceItem>, rng: &mut Rng) -> Answer {
        let size = rng.usize(1..=items.len());
        let pause = Duration::from_millis(*rng.choice(&[0, 5, 100]).unwrap());
        let mut messages: Vec<_> = items
            .chunks(size)
            .map(|items| IngestAudienceRequest { items: items.to_vec(), ..Default::default() })
            .collect();
        messages[0].campaign_id = self.import.campaign.into();
        messages[0].options = Some(self.options());
        let (send, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            for message in messages {
                if send.send(message).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        });
        let request = self.keyed(ReceiverStream::new(stream));
        let mut answer = Answer::default();
        let mut client = self.client.clone();
        let heard = self.patiently(async {
            let mut stream = client.ingest_audience(request).await?.into_inner();
            while let Some(message) = stream.message().await? {
                answer.results.extend(message.results);
                answer.settled_through = Some(message.settled_through);
                if message.summary.is_some() {
                    answer.summary = message.summary;
                    answer.termination = message.termination;
                }
            }
            Ok(())
        });
        let failure = heard.await.err();
        Answer { failure, ..answer }
    }

    /// All that the service remembers, page by page.
    pub(crate) async fn look_back(mut self, page_size: i32) -> Result<Kept, Status> {
        let mut kept = Kept { answer: Answer::default(), state: IngestionState::Unspecified };
        let mut page_token = String::new();
        loop {
            let request = self.keyed(GetIngestionRequest {
                campaign_id: self.import.campaign.into(),
                request_id: self.import.request_id.into(),
                page_size,
                page_token,
                ..Default::default()
            });
            let page = self.client.get_ingestion(request).await?.into_inner();
            kept.state = page.state();
            kept.answer.results.extend(page.results);
            kept.answer.summary = page.summary;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(kept);
            }
        }
    }
}
