//! `blubash-grpc sandbox`

use std::net::SocketAddr;

use anyhow::{Context as _, anyhow};

use super::{Signals, say};
use crate::{
    sandbox::{self, Sandbox},
    server,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address to emulate the REST API on; port 0 picks a free one
    #[arg(long, env = "BLUBASH_SANDBOX_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    sandbox: sandbox::Flags,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let signals = Signals::install()?;
    let listener = server::listen(args.listen).await.map_err(|problem| anyhow!(problem))?;
    let sandbox = Sandbox::serve(listener, args.sandbox.into()).await.context("the sandbox cannot start")?;
    say(&format!(
        "An EMULATOR of the BluBash Campaigns API: nobody is messaged, nothing is kept, and what the vendor's\n\
         page does not tell is a guess (see --help).\n\n  \
         curl -H 'X-API-Key: {key}' {url}/{campaign}/messages\n\n\
         Serve it over gRPC: blubash-grpc serve --upstream-url {url}\n\
         listening on {addr}",
        key = sandbox::ACME_API_KEY,
        campaign = sandbox::SEEDED,
        url = sandbox.campaigns_url(),
        addr = sandbox.addr(),
    ));
    signals.shutdown().await;
    Ok(())
}
