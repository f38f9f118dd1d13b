//! `blubash-grpc ledger list`

use super::{
    Office,
    print::{Output, Table, duration_since, print, ranges, time},
    short,
};
use crate::{
    cli::say,
    config::PlaceFlags,
    operator::protocol::{Doubts, Request},
};

const AFTER_HELP: &str = "\
Example: blubash-grpc ledger list --campaign camp-1 --output jsonl | jq -r .request_id";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Of this campaign only
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,

    /// The most batches
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// How to print: table for people, json as one array, jsonl as a line a batch
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,

    #[command(flatten)]
    place: PlaceFlags,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let mut office = Office::enter(&args.place).await?;
    let request = Request::Doubts { campaign: args.campaign, limit: args.limit as usize };
    let doubts: Doubts = office.door.ask(request).await?;
    office.leave().await;
    match args.output {
        Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&doubts.batches)?))?,
        Output::Jsonl => {
            for doubt in &doubts.batches {
                print(&format!("{}\n", serde_json::to_string(doubt)?))?;
            }
        }
        Output::Table if doubts.batches.is_empty() => say("nothing is in doubt"),
        Output::Table => {
            let mut table =
                Table::new(&["WORKSPACE", "CAMPAIGN", "REQUEST_ID", "ITEMS", "INDEXES", "SINCE", "WHY"]);
            for doubt in &doubts.batches {
                table.row([
                    short(&doubt.of.workspace).to_owned(),
                    doubt.of.campaign.clone(),
                    doubt.of.request_id.clone(),
                    doubt.items.to_string(),
                    ranges(&doubt.indexes),
                    format!("{} ({})", time(doubt.claim_time), duration_since(doubt.claim_time)),
                    format!("{}: {}", doubt.cause.reason, doubt.cause.message),
                ]);
            }
            print(&table.to_string())?;
        }
    }
    let listed = doubts.batches.len() as u64;
    if listed < doubts.in_batches {
        say(&format!(
            "{} items in {} batches are in doubt; the {listed} oldest batches are listed (--limit)",
            doubts.items, doubts.in_batches
        ));
    }
    Ok(())
}
