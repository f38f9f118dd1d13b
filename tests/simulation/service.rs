//! The service's host: the real server around the simulated road, started anew after each crash.

use std::time::Duration;

use blubash_grpc::{
    clock::Clock, config::Config, ledger::Ledger, secret::Purpose, server::Server, upstream::Client,
};
use futures_util::FutureExt as _;
use tokio::{sync::watch, time::Instant};
use turmoil::net::TcpListener;

use crate::{
    leaf::Leaf,
    power::Door,
    storage::{Storage, secret},
    support::calls::config,
    world::World,
};

pub(crate) const PORT: u16 = 50_051;

/// How often in a row the ledger may fail to open on a disk that works, but stumbles.
const PATIENCE: u32 = 2;

/// What outlives the process.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) world: World,
    pub(crate) config: Config,
    pub(crate) storage: Storage,
    /// How often it was told to go.
    pub(crate) drains: watch::Receiver<u32>,
}

/// What `serve` makes of these flags, with the patience of a simulation.
pub(crate) fn settings(flags: &[&str]) -> Config {
    let mut config = config("http://127.0.0.1/api/v1/campaigns", flags);
    config.upstream.write_attempt_timeout = Duration::from_secs(2);
    config.upstream.operation_timeout = Duration::from_secs(6);
    config
}

impl Service {
    /// An empty ledger, made in peace: what a crash leaves of its making is a draft that nobody opens.
    pub(crate) fn install(&self) {
        let clock = Clock::anchored(chrono::DateTime::UNIX_EPOCH);
        let key = secret().derive(Purpose::Sealing);
        let ledger = Ledger::on_disk(self.storage.mount(), &key, self.config.ledger, clock).unwrap();
        ledger.close().now_or_never().unwrap();
    }

    pub(crate) async fn serve(mut self) -> turmoil::Result {
        self.world.power_on();
        self.world.event(|| "the service starts".to_owned());
        let epoch = "2026-03-11T09:00:00Z".parse::<chrono::DateTime<chrono::Utc>>()?;
        let wall = epoch + turmoil::sim_elapsed().unwrap_or_default();
        let clock = Clock::Anchored { wall, at: Instant::now() };
        let leaf = Leaf { world: self.world.clone() };
        let client = Client::with_transport(leaf, &self.config.upstream, clock);
        let Some(ledger) = self.open(clock).await else { return Ok(()) };
        let server = Server::assemble(&self.config, &secret(), clock, client, ledger.clone());
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let door = Door { listener, world: self.world.clone() };
        self.drains.mark_unchanged();
        server
            .serve(door, async move {
                if self.drains.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
            .await?;
        ledger.close().await;
        self.world.event(|| "the service ends".to_owned());
        Ok(())
    }

    /// Opens the ledger. Whatever the disk went through, it opens as soon as the disk works.
    async fn open(&self, clock: Clock) -> Option<Ledger> {
        let mut failed = 0;
        loop {
            if self.world.is_off() {
                std::future::pending::<()>().await;
            }
            let key = secret().derive(Purpose::Sealing);
            match Ledger::on_disk(self.storage.mount(), &key, self.config.ledger, clock) {
                Ok(ledger) => return Some(ledger),
                Err(fault) if failed == PATIENCE && self.storage.works() && !self.world.is_off() => {
                    self.world.fault(format!("the ledger does not open: {fault}"));
                    return None;
                }
                // Whoever starts it would try again.
                Err(_) if self.storage.works() => failed += 1,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}
