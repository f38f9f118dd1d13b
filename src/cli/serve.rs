//! `blubash-grpc serve`

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Signals,
    admin::{AdminPort, Levels},
    config,
    open::{self, Opened},
    say,
};
use crate::{
    clock::Clock,
    config::{Flags, LedgerPlace, LogFormat, Place, Settings},
    error::Error,
    ledger::Ledger,
    operator::OperatorSocket,
    sandbox::{self, Sandbox},
    server::{self, Server},
    telemetry,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) flags: Flags,
    #[command(flatten)]
    sandbox: sandbox::Flags,
}

pub(super) async fn run(args: Args, settings: &Settings) -> anyhow::Result<()> {
    let telemetry =
        telemetry::start(args.flags.log_format == LogFormat::Json, args.flags.admin_listen.is_some())?;
    let scrape = telemetry.scraper();
    let served = serve(args, settings, scrape, telemetry.is_measured()).await;
    // Last of all, so that what the drain did is told, too.
    telemetry.end().await;
    served
}

async fn serve(
    args: Args,
    settings: &Settings,
    scrape: Option<telemetry::Scraper>,
    is_measured: bool,
) -> anyhow::Result<()> {
    let flags = args.flags;
    let sandbox = match flags.sandbox {
        true => {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("the sandbox cannot listen")?;
            Some(Sandbox::serve(listener, args.sandbox.into()).await.context("the sandbox cannot start")?)
        }
        false => None,
    };
    let upstream_url = sandbox.as_ref().map_or_else(|| flags.upstream_url.clone(), Sandbox::campaigns_url);
    let config = flags.check(&upstream_url).map_err(|problems| {
        config::unusable(&problems.iter().map(|problem| settings.tell(problem)).collect::<Vec<_>>())
    })?;
    let signals = Signals::install()?;
    let Opened { ledger, secret, is_new } = open::open_or_make(&config.place, config.ledger)?;
    let operator = match &config.place.operator_socket {
        Some(path) => {
            let socket =
                OperatorSocket::bind(path).await.map_err(|fault| anyhow!("--operator-socket: {fault}"))?;
            let stopping = CancellationToken::new();
            let serving = socket.serve(ledger.clone(), stopping.clone());
            Some((stopping, tokio::spawn(serving)))
        }
        None => None,
    };
    let server = Server::new(&config, &secret, Clock::System, ledger.clone())
        .context("the upstream client cannot be built")?;
    let listener = server::listen(flags.listen).await.map_err(|problem| anyhow!(problem))?;
    let addr = listener.local_addr()?;
    let draining = CancellationToken::new();
    let levels = Levels::new(&server, &ledger);
    let admin = match flags.admin_listen {
        Some(at) => Some(AdminPort::open(at, &levels, scrape, draining.clone()).await?),
        None => None,
    };

    match &sandbox {
        Some(sandbox) => say(&banner(addr, sandbox, config.access.is_some())),
        None => say(&format!("blubash-grpc serves {upstream_url}")),
    }
    tell_of(&config.place, is_new, sandbox.is_some());
    if are_keys_in_the_clear(addr, config.tls.is_some()) {
        tracing::warn!(
            "{addr} can be reached from other machines, and keys or tokens come to it in the clear: set \
             --tls-cert-file and --tls-key-file, or let a service mesh encrypt what comes"
        );
    }
    let doubts = in_doubt(&ledger).await.map_err(|error| anyhow!("--ledger: {error}"))?;
    if let Some(admin) = &admin {
        say(&format!("the admin port is http://{}", admin.addr));
    }
    if is_measured {
        levels.collect(doubts);
    }
    if doubts > 0 {
        say(&format!("{doubts} items are in doubt: blubash-grpc ledger list{}", named(&config.place)));
    }
    if let Some(path) = &flags.port_file {
        // Whole or not at all: a script may be waiting for the file to appear.
        let draft = path.with_extension("tmp");
        std::fs::write(&draft, addr.to_string())
            .and_then(|()| std::fs::rename(&draft, path))
            .with_context(|| format!("--port-file: cannot write {}", path.display()))?;
    }
    say(&format!("listening on {addr}"));

    let shutdown = async {
        signals.shutdown().await;
        draining.cancel();
        say("draining; a second signal ends at once");
    };
    let served = server.serve(listener, shutdown).await;
    // Until here an operator may ask what the drain waits for.
    if let Some(admin) = admin {
        admin.close().await;
    }
    if let Some((stopping, serving)) = operator {
        stopping.cancel();
        let _ = serving.await;
    }
    ledger.close().await;
    Ok(served?)
}

/// Whether others on the network could read what callers send.
fn are_keys_in_the_clear(addr: SocketAddr, tls: bool) -> bool {
    !tls && !addr.ip().to_canonical().is_loopback()
}

/// Says where the memory of what was sent is.
fn tell_of(place: &Place, is_new: bool, sandbox: bool) {
    match &place.ledger {
        LedgerPlace::File(file) if is_new => {
            say(&format!(
                "the ledger is {}, made just now: nothing sent before is known to it",
                file.display()
            ));
        }
        LedgerPlace::File(file) => say(&format!("the ledger is {}", file.display())),
        LedgerPlace::Memory if sandbox => {}
        LedgerPlace::Memory => tracing::warn!(
            "the ledger is in memory: after a restart, a repeated request_id sends its items again"
        ),
    }
}

/// The flag by which a command finds the same ledger.
fn named(place: &Place) -> String {
    match &place.ledger {
        _ if place.is_default => String::new(),
        LedgerPlace::File(file) => format!(" --ledger file:{}", file.display()),
        LedgerPlace::Memory => String::new(),
    }
}

/// How many items are in doubt, in all campaigns.
pub(super) async fn in_doubt(ledger: &Ledger) -> Result<u64, Error> {
    let (mut items, mut after) = (0, None);
    loop {
        let page = ledger.list_doubts(after, 500).await?;
        items += page.entries.iter().map(|entry| entry.indexes.len() as u64).sum::<u64>();
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(items),
        }
    }
}

fn banner(addr: SocketAddr, sandbox: &Sandbox, is_held: bool) -> String {
    let shown = match is_held {
        true => "authorization: Bearer TOKEN".to_owned(),
        false => format!("x-api-key: {}", sandbox::ACME_API_KEY),
    };
    format!(
        "blubash-grpc serves its SANDBOX, an emulator in this process: nobody is messaged, nothing is kept.\n\
         The emulated REST API: {url}\n\n\
         A first call to paste into another terminal:\n\n  \
         grpcurl -plaintext -H '{shown}' -d '{{\"campaign_id\": \"{campaign}\"}}' {addr} \
         blubash.campaigns.v1.CampaignsService/ListMessages\n",
        url = sandbox.campaigns_url(),
        campaign = sandbox::SEEDED,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::are_keys_in_the_clear;

    #[test]
    fn only_loopback_and_tls_keep_keys_from_the_network() {
        for (addr, exposed) in [
            ("127.0.0.1:1", false),
            ("127.8.0.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            assert_eq!(are_keys_in_the_clear(addr.parse().unwrap(), false), exposed, "{addr}");
            assert!(!are_keys_in_the_clear(addr.parse().unwrap(), true), "{addr}");
        }
    }
}
