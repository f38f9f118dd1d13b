//! `blubash-grpc ledger show`

use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;

use super::{
    Office, Which, api_key,
    candidates::{self, Candidate},
    print::{Output, Table, print, time},
};
use crate::{
    cli::say,
    config::{DEFAULT_UPSTREAM_URL, PlaceFlags},
    operator::protocol::{Audit, IngestionName, Item, Request, Shown, Verdict},
};

const AFTER_HELP: &str = "\
Example: blubash-grpc ledger show --campaign camp-1 --request-id import-7 --in-doubt

Candidates are messages of the campaign that no record of this ledger names, created from 2 minutes before a \
listed item's claim to 15 minutes after it (all of them where the upstream tells no time). Whether one of \
them is the item's is yours to find out: this command only shows.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,

    /// This item only
    #[arg(long, value_name = "N")]
    index: Option<u64>,

    /// From this index
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "index")]
    from: u64,

    /// Only items that are in doubt
    #[arg(long)]
    in_doubt: bool,

    /// The most items
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    /// Ask the upstream for messages that may be those of the items in doubt. Reads only
    #[arg(long, requires = "api_key_file")]
    candidates: bool,

    /// File with the workspace's API key, for --candidates (mode 0600 or 0400)
    #[arg(long, env = "BLUBASH_API_KEY_FILE", value_name = "PATH")]
    api_key_file: Option<PathBuf>,

    /// Base URL of the Campaigns API, for --candidates
    #[arg(long, env = "BLUBASH_UPSTREAM_URL", hide_env_values = true, value_name = "URL",
          default_value = DEFAULT_UPSTREAM_URL)]
    upstream_url: String,

    /// How to print: table for people, json as one object, jsonl as a line an item or candidate
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,

    #[command(flatten)]
    place: PlaceFlags,
}

/// Everything that the command shows.
#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    of: IngestionName,
    #[serde(flatten)]
    shown: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Candidate>>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    // What is wrong with the key is said before anything is asked.
    let key = match &args.api_key_file {
        Some(path) if args.candidates => Some(api_key(path)?),
        _ => None,
    };
    let mut office = Office::enter(&args.place).await?;
    let of = args.which.find(&mut office.door).await?;
    let shown = items(&args, &of, &mut office).await?;
    let candidates = match key {
        Some(key) => {
            Some(candidates::find(&mut office.door, &of, key, &args.upstream_url, &shown.items).await?)
        }
        None => None,
    };
    office.leave().await;

    let next = shown.next;
    let view = View { of, shown, candidates };
    match args.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&view)?))?,
        Output::Jsonl => {
            for item in &view.shown.items {
                print(&format!("{}\n", serde_json::json!({ "item": item })))?;
            }
            for candidate in view.candidates.iter().flatten() {
                print(&format!("{}\n", serde_json::json!({ "candidate": candidate })))?;
            }
        }
        Output::Table => print(&text(&view))?,
    }
    if let Some(next) = next {
        say(&format!("more items follow: --from {next}, or a larger --limit"));
    }
    Ok(())
}

/// The items that the arguments ask for; `next` where there are more.
async fn items(args: &Args, of: &IngestionName, office: &mut Office) -> anyhow::Result<Shown> {
    let (mut from, limit) = match args.index {
        Some(index) => (index, 1),
        None => (args.from, args.limit as usize),
    };
    let mut all: Option<Shown> = None;
    loop {
        let request = Request::Show { of: of.clone(), from, limit };
        let Some(mut page) = office.door.ask::<Option<Shown>>(request).await? else {
            bail!("the ledger has forgotten ingestion {}", of.request_id);
        };
        page.items.retain(|item| match args.index {
            Some(index) => item.index == index,
            None => !args.in_doubt || item.disposition == "IN_DOUBT",
        });
        let shown = match &mut all {
            None => all.insert(page),
            Some(shown) => {
                shown.items.append(&mut page.items);
                shown.next = page.next;
                shown
            }
        };
        if let Some(beyond) = shown.items.get(limit).map(|item| item.index) {
            shown.items.truncate(limit);
            shown.next = Some(beyond);
        }
        match (args.index, shown.next) {
            (Some(index), _) if shown.items.is_empty() => {
                bail!("ingestion {} has no item {index} on record", of.request_id)
            }
            (None, Some(next)) if shown.items.len() < limit => from = next,
            _ => break,
        }
    }
    match all {
        Some(mut shown) => {
            if args.index.is_some() {
                shown.next = None;
            }
            Ok(shown)
        }
        None => bail!("the ledger has forgotten ingestion {}", of.request_id),
    }
}

fn text(view: &View) -> String {
    let View { of, shown, candidates } = view;
    let counts = shown.summary;
    let mut text = format!(
        "workspace   {}\ncampaign    {}\nrequest_id  {}\nstate       {}, first used {}{}\n\
         items       {} received: {} added, {} rejected, {} in doubt, {} pending, {} invalid, {} not attempted\n\n",
        of.workspace,
        of.campaign,
        of.request_id,
        shown.state,
        time(shown.create_time),
        shown.expire_time.map(|end| format!(", remembered until {}", time(end))).unwrap_or_default(),
        counts.received,
        counts.added,
        counts.rejected,
        counts.in_doubt,
        counts.pending,
        counts.invalid,
        counts.not_attempted,
    );
    text.push_str(&item_table(&shown.items).to_string());
    if shown.items.iter().any(|item| !item.audit.is_empty()) {
        text.push('\n');
    }
    for (item, audit) in shown.items.iter().flat_map(|item| item.audit.iter().map(move |audit| (item, audit)))
    {
        text.push_str(&decision(item, audit));
    }
    if let Some(candidates) = candidates {
        text.push_str("\nMessages of the campaign that no record names:\n\n");
        match candidates.is_empty() {
            true => text.push_str("none\n"),
            false => text.push_str(&candidates::table(candidates).to_string()),
        }
    }
    text
}

fn item_table(items: &[Item]) -> Table {
    let mut table =
        Table::new(&["INDEX", "ITEM_ID", "DISPOSITION", "CLAIMED", "ATTEMPTS", "MESSAGE_ID", "WHY"]);
    for item in items {
        table.row([
            item.index.to_string(),
            item.item_id.clone(),
            item.disposition.clone(),
            item.claim_time.map(time).unwrap_or_default(),
            item.attempts.to_string(),
            item.message_id.clone().unwrap_or_default(),
            item.cause
                .as_ref()
                .map(|cause| format!("{}: {}", cause.reason, cause.message))
                .unwrap_or_default(),
        ]);
    }
    table
}

fn decision(item: &Item, audit: &Audit) -> String {
    let verdict = match &audit.verdict {
        Verdict::Added(id) => format!("added as {id}"),
        Verdict::Rejected => "not added".to_owned(),
    };
    format!("item {}: {} on {} by {}: {}\n", item.index, verdict, time(audit.at), audit.by, audit.note)
}
