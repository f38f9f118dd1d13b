//! `blubash-grpc ledger resolve`

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};

use super::{Office, Which, print::time};
use crate::{
    cli::say,
    config::PlaceFlags,
    operator::protocol::{IngestionName, Item, Request, Shown, Verdict},
};

const AFTER_HELP: &str = "\
Example: blubash-grpc ledger resolve --campaign camp-1 --request-id import-7 --index 41 \\
           --added 0b5e3c52-5d3f-4c39-9d0e-0f4f5f4d6a11 --note 'seen in the console'

The word is final: it is kept with who said it, when, and the note, and a repeat under the same request_id \
answers by it. Nothing is sent by it. Who is rejected and should still be messaged goes into a new call, \
under a new request_id. Write nothing about the contact into the note: it is kept.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[group(id = "verdict", required = true, multiple = false, args = ["added", "rejected"])]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,

    /// The item's index
    #[arg(long, value_name = "N")]
    index: u64,

    /// It was added, as this message
    #[arg(long, value_name = "MESSAGE_ID")]
    added: Option<String>,

    /// It was not added
    #[arg(long)]
    rejected: bool,

    /// How you know; kept with the decision
    #[arg(long, value_name = "TEXT")]
    note: String,

    /// Who decides; the server adds the user id that the system tells it
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    by: String,

    /// Do not ask back
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    place: PlaceFlags,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let mut office = Office::enter(&args.place).await?;
    let of = args.which.find(&mut office.door).await?;
    let item = doubted(&of, args.index, &mut office).await?;
    let verdict = match &args.added {
        Some(id) => Verdict::Added(id.clone()),
        None => Verdict::Rejected,
    };
    say(&intention(&of, &item, &verdict));
    if !args.yes && !confirmed()? {
        bail!("nothing was changed");
    }
    let (index, by, note) = (args.index, args.by, args.note);
    office.door.ask::<()>(Request::Resolve { of, index, verdict, by, note }).await?;
    office.leave().await;
    say("it is on record");
    Ok(())
}

/// The item, if it is one to decide about.
async fn doubted(of: &IngestionName, index: u64, office: &mut Office) -> anyhow::Result<Item> {
    let request = Request::Show { of: of.clone(), from: index, limit: 1 };
    let shown: Option<Shown> = office.door.ask(request).await?;
    let item = shown.and_then(|shown| shown.items.into_iter().find(|item| item.index == index));
    let item = item.with_context(|| format!("ingestion {} has no item {index} on record", of.request_id))?;
    if item.disposition != "IN_DOUBT" {
        bail!("item {index} is {}, not in doubt: there is nothing to resolve", item.disposition);
    }
    Ok(item)
}

fn intention(of: &IngestionName, item: &Item, verdict: &Verdict) -> String {
    let becomes = match verdict {
        Verdict::Added(id) => format!("ADDED, as message {id}"),
        Verdict::Rejected => "REJECTED: it was not added".to_owned(),
    };
    format!(
        "item {} of ingestion {} (campaign {}, workspace {}), in doubt since {}, will be on record as\n  \
         {becomes}\nThat is final. Nothing is sent by it, and a repeat under this request_id answers by it.",
        item.index,
        of.request_id,
        of.campaign,
        of.workspace,
        item.claim_time.map(time).unwrap_or_default(),
    )
}

/// Asks the person at the terminal.
fn confirmed() -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("there is no terminal to ask on: add --yes to do it unasked");
    }
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(b"Go on? [y/N] ").and_then(|()| stderr.flush()).context("cannot ask")?;
    drop(stderr);
    let mut answer = String::new();
    stdin.read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
