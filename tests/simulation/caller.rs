//! A caller: brings its import, hangs up, loses patience, and comes again under the same request id until
//! each item has met its end.

use std::{ops::Range, sync::Arc, time::Duration};

use blubash_grpc::pb::{Disposition, campaigns_service_client::CampaignsServiceClient};
use fastrand::Rng;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::{import::Import, verbs::Verb, world::World};

/// With everything well again, so many calls must be enough.
const LAST_CALLS: usize = 40;

pub(crate) struct Caller {
    world: World,
    import: Arc<Import>,
    /// Whether another caller brings the same import at the same time.
    has_twin: bool,
    rng: Rng,
    channel: Option<CampaignsServiceClient<Channel>>,
    /// Whether the last call ended in order.
    has_ended: bool,
}

impl Caller {
    pub(crate) fn new(world: World, import: Arc<Import>, has_twin: bool, seed: u64) -> Self {
        Self { world, import, has_twin, rng: Rng::with_seed(seed), channel: None, has_ended: false }
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
                self.world.event(|| format!("{} will hang up", self.import.prefix()));
                let _ = tokio::time::timeout(patience, self.call(timeout)).await;
                self.channel = None;
            } else {
                self.call(timeout).await;
            }
            self.rest(300).await;
        }
        for _ in 0..LAST_CALLS {
            self.call(Duration::from_secs(20)).await;
            if self.is_settled() && self.has_ended {
                self.look_back().await;
                if !self.has_twin {
                    self.reuse().await;
                }
                return Ok(());
            }
            // Longer in all than the doubt breaker keeps two probes apart.
            self.rest(2_000).await;
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
        let range = self.range(items.len());
        let turn = Open::new(&self.world, &self.import);
        let client = self.channel.get_or_insert_with(connect).clone();
        let verb = Verb { client, import: Arc::clone(&self.import), first_index: range.start, timeout };
        let items = items[range.clone()].to_vec();
        let answer =
            if self.rng.bool() { verb.add(items).await } else { verb.ingest(items, &mut self.rng).await };
        let (turn, alone) = turn.close();
        self.world.event(|| {
            let changed = &versions[range.clone()];
            format!("{} {range:?} {changed:?}: {}", self.import.prefix(), answer.tell())
        });
        let mut book = self.import.book.lock().unwrap();
        book.hear(&self.world, &answer, range, &turn, alone);
        self.has_ended = answer.failure.is_none();
        if !self.has_ended {
            self.channel = None;
        }
        if let Some(index) = answer.reused() {
            if !self.world.was_disturbed() && !self.has_twin {
                self.world.fault(format!("item {index} was not changed since it was settled"));
            }
            return self.import.restore(index);
        }
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

    /// Which items to bring: all of them, at times only what is not known to be settled, or fewer.
    fn range(&mut self, count: usize) -> Range<usize> {
        let settled = self.import.book.lock().unwrap().settled_through();
        let start = if self.rng.u8(0..4) == 0 { self.rng.usize(0..=settled).min(count - 1) } else { 0 };
        let end = if self.rng.u8(0..8) == 0 { self.rng.usize(start + 1..=count) } else { count };
        start..end
    }

    /// Other items under the same request id are found out, and nothing of the call is sent.
    async fn reuse(&mut self) {
        let Some(index) = self.import.book.lock().unwrap().any_settled() else { return };
        let mut items = self.import.items(&self.import.versions());
        items[index].email = "someone.else@example.com".to_owned();
        let timeout = Duration::from_secs(20);
        let verb = Verb { client: connect(), import: Arc::clone(&self.import), first_index: 0, timeout };
        let before = self.world.exposures(&self.import.prefix());
        let answer = verb.add(items).await;
        self.world.event(|| format!("caller: reused {}", answer.tell()));
        let cause = answer.termination.as_ref().map(|failure| failure.reason().as_str_name().to_owned());
        let cause = answer.reason().or(cause).unwrap_or_default();
        // Its last crash may be of this moment, or its disk's last failure: then nobody could be asked.
        let is_found_out = cause.ends_with("REQUEST_ID_REUSED")
            || (answer.failure.is_some() && ["", "LEDGER_UNAVAILABLE"].contains(&&*cause));
        if !is_found_out {
            self.world.fault(format!("another item in a settled place: {}", answer.tell()));
        }
        if self.world.exposures(&self.import.prefix()) != before {
            self.world.fault("a call with another item in a settled place was sent".to_owned());
        }
    }

    /// What the service remembers is what it told.
    async fn look_back(&mut self) {
        let mut failure = String::new();
        for _ in 0..LAST_CALLS {
            let client = connect();
            let timeout = Duration::from_secs(20);
            let verb = Verb { client, import: Arc::clone(&self.import), first_index: 0, timeout };
            match verb.look_back(self.rng.i32(0..5)).await {
                Ok(kept) => {
                    self.world.event(|| format!("caller: kept {}", kept.answer.tell()));
                    let book = self.import.book.lock().unwrap();
                    return book.compare_kept(&self.world, &kept, self.has_twin);
                }
                Err(status) => failure = status.to_string(),
            }
            // Its last crash may be of this moment. And a ledger without a thread of its own, as here, finds out only by
            // a write that its disk works again.
            self.rest(500).await;
            self.call(Duration::from_secs(20)).await;
        }
        self.world.fault(format!("what was settled cannot be read: {failure}"));
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
            let mut book = self.import.book.lock().unwrap();
            book.end(&turn);
            book.lose_sight();
        }
    }
}
