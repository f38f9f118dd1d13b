//! `blubash-grpc ledger list | show | resolve`

mod candidates;
mod list;
mod resolve;
mod show;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;

use super::{open, print};
use crate::{
    config::{LedgerPlace, PlaceFlags},
    ledger::{self, Ledger},
    operator::{
        Door,
        protocol::{IngestionName, Request},
    },
};

const AFTER_HELP: &str = "\
An item is in doubt when it was sent and no trustworthy answer came back: its contact may have been \
messaged, or not. It is never sent again by itself. Look at the upstream (show --candidates), decide, and \
put it on record:

  blubash-grpc ledger list
  blubash-grpc ledger show --campaign camp-1 --request-id import-7 \\
    --candidates --api-key-file key
  blubash-grpc ledger resolve --campaign camp-1 --request-id import-7 --index 41 --rejected \\
    --note 'no message of that minute in the BluBash console'

The commands ask the running server over its socket; with no server running they open the ledger's file, \
for which they need its secret too. Give --ledger, --secret-file and --operator-socket, or --config, as for \
serve, and run as the user that runs it. Data goes to stdout, all else to stderr. Exit codes: 0 done, 1 \
could not, 2 wrong usage.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the batches that have items in doubt, oldest first
    List(list::Args),
    /// Show what is on record of an ingestion, item by item
    Show(show::Args),
    /// Put on record what became of an item in doubt
    Resolve(resolve::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::List(args) => list::run(args).await,
        Command::Show(args) => show::run(args).await,
        Command::Resolve(args) => resolve::run(args).await,
    }
}

/// Which ingestion is meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// The campaign's id
    #[arg(long, value_name = "ID")]
    campaign: String,

    /// The ingestion's request_id
    #[arg(long, value_name = "ID")]
    request_id: String,

    /// The workspace: its digest as log lines and `ledger list` show it, or the beginning of it. Needed
    /// only where several workspaces have such an ingestion
    #[arg(long, value_name = "HEX")]
    workspace: Option<String>,
}

impl Which {
    /// The one ingestion that is meant.
    async fn find(&self, door: &mut Door) -> anyhow::Result<IngestionName> {
        let request = Request::Find { campaign: self.campaign.clone(), request_id: self.request_id.clone() };
        let mut found: Vec<IngestionName> = door.ask(request).await?;
        let prefix = self.workspace.as_deref().unwrap_or_default().to_ascii_lowercase();
        found.retain(|name| name.workspace.starts_with(&prefix));
        match found.as_slice() {
            [only] => Ok(only.clone()),
            [] => bail!(
                "the ledger holds no ingestion {} of campaign {}{}: see `blubash-grpc ledger list`, and mind that \
                 ingestions are forgotten some days after their last use",
                self.request_id,
                self.campaign,
                if prefix.is_empty() { String::new() } else { format!(" in a workspace {prefix}...") },
            ),
            several => {
                let workspaces: Vec<&str> = several.iter().map(|name| name.workspace.as_str()).collect();
                bail!(
                    "several workspaces have an ingestion {} of campaign {}; add one of:\n  --workspace {}",
                    self.request_id,
                    self.campaign,
                    workspaces.join("\n  --workspace "),
                )
            }
        }
    }
}

/// The door, and the ledger that must be closed behind it, where this process has opened one.
struct Office {
    door: Door,
    opened: Option<Ledger>,
}

impl Office {
    /// Of the running server; with none running, of the ledger's file.
    async fn enter(place: &PlaceFlags) -> anyhow::Result<Self> {
        let place = place.place(false)?;
        if let Some(socket) = &place.operator_socket {
            let server = Door::to_server(socket).await.with_context(|| {
                format!(
                    "the operator's socket {} cannot be reached; run this as the user that runs the server",
                    socket.display()
                )
            })?;
            if let Some(door) = server {
                return Ok(Self { door, opened: None });
            }
        }
        let silent = match &place.operator_socket {
            Some(socket) => {
                format!("no server answers on {} (--operator-socket, as serve has it)", socket.display())
            }
            None => "no --operator-socket is named".to_owned(),
        };
        let LedgerPlace::File(file) = &place.ledger else {
            bail!(
                "a ledger in memory is reached through its running server only, and {silent}: name the \
                 --operator-socket that serve was given"
            );
        };
        if !open::exists(file)? {
            bail!("there is no ledger {}: name it as serve has it, --ledger file:PATH", file.display());
        }
        let opened = open::open(file, &place, lasting())
            .map_err(|error| anyhow!("{silent}, and its file cannot be opened: {error:#}"))?;
        Ok(Self { door: Door::to_ledger(opened.ledger.clone()), opened: Some(opened.ledger) })
    }

    async fn leave(self) {
        drop(self.door);
        if let Some(ledger) = self.opened {
            ledger.close().await;
        }
    }
}

/// How the operator opens a ledger whose server's settings it does not know: nothing is forgotten early, and a
/// full one can still be put in order.
fn lasting() -> ledger::Config {
    ledger::Config { retention: Duration::from_secs(90 * 86_400), max_bytes: usize::MAX }
}

/// The beginning of a workspace's digest, as log lines show it.
fn short(workspace: &str) -> &str {
    workspace.get(..12).unwrap_or(workspace)
}

/// One API key, from a file of its own.
fn api_key(path: &Path) -> anyhow::Result<crate::model::ApiKey> {
    use crate::{model::ApiKey, secret};
    let content = secret::read_private(path, 4096)
        .map_err(|fault| anyhow!("--api-key-file: {fault}"))?
        .with_context(|| format!("--api-key-file: there is no file {}", path.display()))?;
    match std::str::from_utf8(&content).map(str::trim_ascii) {
        Ok(key) if ApiKey::is_well_formed(key) => Ok(ApiKey::new(key)),
        _ => bail!("--api-key-file: {} must hold one API key and nothing else", path.display()),
    }
}
