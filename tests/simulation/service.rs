//! The service's host: the real server around the simulated road, started anew after each crash.

use std::time::Duration;

use blubash_grpc::{
    clock::Clock, config::Config, ledger::Ledger, secret::Secret, server::Server, upstream::Client,
};
use tokio::{sync::watch, time::Instant};
use turmoil::net::TcpListener;

use crate::{leaf::Leaf, power::Door, support::calls::config, world::World};

pub(crate) const PORT: u16 = 50_051;

/// What outlives the process.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) world: World,
    pub(crate) config: Config,
    pub(crate) secret: Secret,
    pub(crate) ledger: Ledger,
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
    pub(crate) async fn serve(mut self) -> turmoil::Result {
        self.world.power_on();
        self.world.event(|| "the service starts".to_owned());
        let epoch = "2026-03-11T09:00:00Z".parse::<chrono::DateTime<chrono::Utc>>()?;
        let wall = epoch + turmoil::sim_elapsed().unwrap_or_default();
        let clock = Clock::Anchored { wall, at: Instant::now() };
        let leaf = Leaf { world: self.world.clone() };
        let client = Client::with_transport(leaf, &self.config.upstream, clock);
        let server = Server::assemble(&self.config, &self.secret, clock, client, self.ledger.clone());
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
        self.world.event(|| "the service ends".to_owned());
        Ok(())
    }
}
