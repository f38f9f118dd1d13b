//! The real service (its real HTTP client, a real gRPC caller) in front of the faulty upstream.

use std::time::Duration;

use blubash_grpc::{
    clock::Clock,
    ledger::Ledger,
    pb::{self, Disposition, campaigns_service_client::CampaignsServiceClient},
    secret::Secret,
    server::{self, Server},
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{Status, transport::Channel};

use crate::{
    support::calls::{config, keyed},
    upstream::{Fault, Upstream},
};

/// How long the service waits for an answer, where a test does not wait for just that.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);
/// How long it waits where the answer will not come.
pub(crate) const IMPATIENT: Duration = Duration::from_millis(250);

pub(crate) struct App {
    pub(crate) upstream: Upstream,
    client: CampaignsServiceClient<Channel>,
    _stop: oneshot::Sender<()>,
    _server: JoinHandle<()>,
}

impl App {
    /// The service, waiting so long for each answer, in front of an upstream with these faults to come.
    pub(crate) async fn start(patience: Duration, faults: impl IntoIterator<Item = Fault>) -> Self {
        let upstream = Upstream::start(faults).await;
        let mut config = config(&upstream.url(), &[]);
        config.upstream.write_attempt_timeout = patience;
        // It would stop the sending for longer than a test takes.
        config.audience.doubt.in_a_row = 1_000;
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Ledger::in_memory(config.ledger, Clock::System);
        let server = Server::new(&config, &Secret::random(), Clock::System, ledger).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async {
            let stopped = async {
                let _ = stopped.await;
            };
            server.serve(listener, stopped).await.unwrap();
        });
        let client = CampaignsServiceClient::connect(address).await.unwrap();
        Self { upstream, client, _stop: stop, _server: server }
    }

    /// Adds persons `0..count`, so many to one upstream call.
    pub(crate) async fn add(
        &self,
        request_id: &str,
        count: usize,
        batch: i32,
    ) -> Result<pb::AddAudienceResponse, Status> {
        self.add_within(request_id, count, batch, Duration::from_secs(60)).await
    }

    pub(crate) async fn add_within(
        &self,
        request_id: &str,
        count: usize,
        batch: i32,
        timeout: Duration,
    ) -> Result<pb::AddAudienceResponse, Status> {
        let first = pb::AddAudienceRequest {
            campaign_id: "campaign".into(),
            options: Some(pb::AudienceOptions {
                request_id: request_id.into(),
                max_batch_size: batch,
                ..Default::default()
            }),
            items: (0..count).map(|n| item(person(n))).collect(),
        };
        let request = keyed(tokio_stream::iter([first]), "the-key", timeout);
        self.client.clone().add_audience(request).await.map(tonic::Response::into_inner)
    }

    /// That what was told is true, and that nobody was messaged twice.
    pub(crate) fn hold_against_the_truth(&self, answer: &pb::AddAudienceResponse, story: &str) {
        let truth = &self.upstream.state.truth;
        let untrue = answer.results.iter().filter_map(|result| {
            let index = usize::try_from(result.index).unwrap();
            truth.untrue(&person(index), result)
        });
        let faults: Vec<_> = untrue.chain(truth.twice()).collect();
        assert!(faults.is_empty(), "{story}: {faults:?}");
    }
}

pub(crate) fn person(n: usize) -> String {
    format!("55119{n:08}")
}

pub(crate) fn dispositions(answer: &pb::AddAudienceResponse) -> Vec<Disposition> {
    answer.results.iter().map(pb::AudienceItemResult::disposition).collect()
}

/// Three persons meet this fault in one batch, and are told this; `messaged` is how many it reaches. Then the
/// upstream is well again, and the repeat of the call tells the same and sends nothing.
pub(crate) async fn meets(fault: Fault, patience: Duration, told: Disposition, messaged: usize) {
    let app = App::start(patience, [fault]).await;
    let answer = app.add("faulty", 3, 3).await.unwrap();
    app.hold_against_the_truth(&answer, &format!("{fault:?}"));
    assert_eq!(dispositions(&answer), [told; 3], "{fault:?}");
    assert_eq!(app.upstream.state.truth.count(), messaged, "{fault:?}");
    app.upstream.mend();
    let again = app.add("faulty", 3, 3).await.unwrap();
    app.hold_against_the_truth(&again, &format!("{fault:?}, repeated"));
    assert_eq!(dispositions(&again), [told; 3], "{fault:?}");
    assert!(again.results.iter().all(|result| result.replayed), "{fault:?}");
    assert_eq!((app.upstream.exchanges(), app.upstream.led_astray()), (1, 0), "{fault:?}");
    assert_eq!(app.upstream.state.truth.count(), messaged, "{fault:?}");
}

/// An item for this address, sent at once.
fn item(identifier: String) -> pb::AudienceItem {
    pb::AudienceItem {
        recipient: Some(pb::audience_item::Recipient::Identifier(identifier)),
        schedule: Some(pb::Schedule { when: Some(pb::schedule::When::Immediate(pb::Immediate {})) }),
        ..Default::default()
    }
}
