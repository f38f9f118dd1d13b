//! `blubash-grpc serve`

use anyhow::{Context as _, anyhow, bail};
use tokio::net::TcpListener;

use super::{Signals, say};
use crate::{
    clock::Clock,
    config::{DEFAULT_UPSTREAM_URL, Flags},
    sandbox::{self, Sandbox},
    secret::Secret,
    server::{self, Server},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    sandbox: sandbox::Flags,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.flags;
    // Not clap's to refuse: it counts a variable that says `false` as given.
    if flags.sandbox && flags.upstream_url != DEFAULT_UPSTREAM_URL {
        bail!("--sandbox cannot be used with --upstream-url: choose the emulator, or an upstream");
    }
    let sandbox = match flags.sandbox {
        true => {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("the sandbox cannot listen")?;
            Some(Sandbox::serve(listener, args.sandbox.into()).await.context("the sandbox cannot start")?)
        }
        false => None,
    };
    let upstream_url = sandbox.as_ref().map_or_else(|| flags.upstream_url.clone(), Sandbox::campaigns_url);
    let config = flags.check(&upstream_url).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow!("these settings cannot be used:\n  {}", problems.join("\n  "))
    })?;
    let secret = match &flags.secret_file {
        Some(path) => Secret::load_or_create(path).map_err(|fault| anyhow!("--secret-file: {fault}"))?,
        None => Secret::random(),
    };
    let signals = Signals::install()?;
    let server =
        Server::new(&config, &secret, Clock::System).context("the upstream client cannot be built")?;
    let listener = server::listen(flags.listen).await.map_err(|problem| anyhow!(problem))?;
    let addr = listener.local_addr()?;

    match &sandbox {
        Some(sandbox) => say(&banner(addr, sandbox)),
        None => {
            tracing::warn!(
                "the ledger is in memory: after a restart, a repeated request_id sends its items again"
            );
            say(&format!("blubash-grpc serves {upstream_url}"));
        }
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
        say("draining; a second signal ends at once");
    };
    Ok(server.serve(listener, shutdown).await?)
}

fn banner(addr: std::net::SocketAddr, sandbox: &Sandbox) -> String {
    format!(
        "blubash-grpc serves its SANDBOX, an emulator in this process: nobody is messaged, nothing is kept.\n\
         The emulated REST API: {url}\n\n\
         A first call to paste into another terminal:\n\n  \
         grpcurl -plaintext -H 'x-api-key: {key}' -d '{{\"campaign_id\": \"{campaign}\"}}' {addr} \
         blubash.campaigns.v1.CampaignsService/ListMessages\n",
        url = sandbox.campaigns_url(),
        key = sandbox::ACME_API_KEY,
        campaign = sandbox::SEEDED,
    )
}
