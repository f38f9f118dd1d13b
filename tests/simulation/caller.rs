//! A caller: brings its import, hangs up, loses patience, and comes again under the same request id until
//! each item has met its end.

use std::{sync::Arc, time::Duration};

use blubash_grpc::pb::{
    AddAudienceRequest, AddAudienceResponse, Disposition, campaigns_service_client::CampaignsServiceClient,
};
use fastrand::Rng;
use hyper_util::rt::TokioIo;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use tower::service_fn;

use crate::{import::Import, support::calls::keyed, world::World};

/// With everything well again, so many calls must be enough.
const LAST_CALLS: usize = 40;

pub(crate) struct Caller {
    world: World,
    import: Arc<Import>,
    /// Whether another caller brings the same import at the same time.
    has_twin: bool,
    rng: Rng,
    channel: Option<CampaignsServiceClient<Channel>>,
}

impl Caller {
    pub(crate) fn new(world: World, import: Arc<Import>, has_twin: bool, seed: u64) -> Self {
        Self { world, import, has_twin, rng: Rng::with_seed(seed), channel: None }
    }

    pub(crate) async fn live(mut self) -> turmoil::Result {
        self.rest(800).await;
        while !self.world.is_calm() {
            if self.is_settled() && self.rng.u8(0..8) > 0 {
                self.rest(400).await;
                continue;
            }
            let timeout = Duration::from_millis(*self.rng.choice(&[60, 400, 2_000, 10_000]).unwrap());
            if self.rng.u8(0..5) == 0 {
                let patience = Duration::from_millis(self.rng.u64(1..600));
                self.world.event(|| "a caller will hang up".to_owned());
                let _ = tokio::time::timeout(patience, self.call(timeout)).await;
                self.channel = None;
            } else {
                self.call(timeout).await;
            }
            self.rest(300).await;
        }
        for _ in 0..LAST_CALLS {
            self.call(Duration::from_secs(20)).await;
            if self.is_settled() {
                return Ok(());
            }
            self.rest(500).await;
        }
        let unsettled = format!("never settled: {:?}", self.import.book.lock().unwrap().unsettled());
        self.world.fault(unsettled);
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.import.book.lock().unwrap().is_settled()
    }

    async fn rest(&mut self, most: u64) {
        let rest = Duration::from_millis(self.rng.u64(0..=most));
        tokio::time::sleep(rest).await;
    }

    /// One call, heard to its end.
    async fn call(&mut self, timeout: Duration) {
        let versions = self.import.versions();
        let items = self.import.items(&versions);
        let turn = Open::new(&self.world, &self.import);
        let answer = self.add(items, timeout).await;
        let (turn, alone) = turn.close();
        let mut book = self.import.book.lock().unwrap();
        match answer {
            Ok(answer) => {
                self.world.event(|| format!("caller: {}", tell(&answer)));
                book.hear(&self.world, &answer, alone);
                for result in &answer.results {
                    let index = usize::try_from(result.index).unwrap_or(0);
                    let may_change = match result.disposition() {
                        Disposition::Invalid => !self.import.stays_invalid(index),
                        // A twin may have it on its way by now.
                        Disposition::NotAttempted => !self.has_twin && self.rng.bool(),
                        _ => false,
                    };
                    if may_change {
                        self.import.change(index, versions[index]);
                        book.forget_invalid(index);
                    }
                }
            }
            Err(status) => {
                self.channel = None;
                let info = status.get_details_error_info();
                let reason = info.map(|info| info.reason).unwrap_or_default();
                self.world.event(|| format!("caller: {:?} {reason}", status.code()));
                // These say nothing about what another call did, or still does.
                let is_about_another = ["", "REQUEST_ID_IN_USE", "DEADLINE_EXCEEDED"].contains(&&*reason);
                if alone && !is_about_another {
                    book.hear_failure(&self.world, &turn, &reason);
                }
            }
        }
    }

    async fn add(
        &mut self,
        items: Vec<blubash_grpc::pb::AudienceItem>,
        timeout: Duration,
    ) -> Result<AddAudienceResponse, Status> {
        let first = AddAudienceRequest {
            campaign_id: self.import.campaign.into(),
            options: Some(self.import.options()),
            items,
        };
        let request = keyed(tokio_stream::iter([first]), self.import.api_key, timeout);
        let mut client = self.channel.get_or_insert_with(connect).clone();
        let answer = tokio::time::timeout(timeout * 2, client.add_audience(request)).await;
        answer.unwrap_or_else(|_| Err(Status::cancelled("no answer"))).map(tonic::Response::into_inner)
    }
}

fn connect() -> CampaignsServiceClient<Channel> {
    let channel = Endpoint::from_static("http://service:50051").connect_with_connector_lazy(service_fn(
        |_: http::Uri| async {
            turmoil::net::TcpStream::connect(("service", crate::service::PORT)).await.map(TokioIo::new)
        },
    ));
    CampaignsServiceClient::new(channel)
}

fn tell(answer: &AddAudienceResponse) -> String {
    let each = answer.results.iter().map(|result| match result.disposition() {
        Disposition::Added => 'A',
        Disposition::Invalid => 'v',
        Disposition::Rejected => 'R',
        Disposition::NotAttempted => '-',
        Disposition::InDoubt => '?',
        Disposition::Pending => '.',
        Disposition::Unspecified | Disposition::Valid => '!',
    });
    let termination = answer.termination.as_ref().map(|failure| failure.reason().as_str_name());
    format!("{} {}", each.collect::<String>(), termination.unwrap_or_default())
}

/// A call that is under way, also for as long as nobody waits for it any more.
struct Open {
    import: Arc<Import>,
    turn: Option<crate::book::Turn>,
}

impl Open {
    fn new(world: &World, import: &Arc<Import>) -> Self {
        let turn = Some(import.book.lock().unwrap().begin(world));
        Self { import: Arc::clone(import), turn }
    }

    fn close(mut self) -> (crate::book::Turn, bool) {
        let turn = self.turn.take().unwrap();
        let alone = self.import.book.lock().unwrap().end(&turn);
        (turn, alone)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.import.book.lock().unwrap().end(&turn);
        }
    }
}
