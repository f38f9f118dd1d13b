//! What many watchers of one campaign cost: memory a watcher, upstream calls, and how long until all of them
//! have been told. FANOUT.md says what is measured and what is checked.

mod board;
mod measure;
mod report;
mod state;
mod upstream;
mod watcher;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use drivers::Fault;

/// Measures what many watchers of one campaign cost the service and its upstream.
#[derive(Debug, Parser)]
struct Args {
    /// The command that starts the service. It gets --listen, --upstream-url and --port-file, and must be the
    /// service's own process: its memory is measured, and it is killed at the end.
    #[arg(long, value_name = "COMMAND")]
    ours: String,
    /// How many watch: each number is measured with a service of its own.
    #[arg(long, value_delimiter = ',', default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    watchers: Vec<u32>,
    /// The campaign's messages.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// How many single messages change, one after the other.
    #[arg(long, default_value_t = 10)]
    changes: u32,
    /// How long upstream calls are counted, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// How many watchers read their snapshot at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,
    /// How long each step may take, in seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.changes > args.messages {
        eprintln!("--changes: each changes another message, and there are {} --messages", args.messages);
        return ExitCode::from(2);
    }
    drivers::end(run(&args)).await
}

/// Measures each number of watchers, and tells whether all checks held.
async fn run(args: &Args) -> Result<bool, Fault> {
    let (mut measured, mut held) = (Vec::new(), true);
    for &watchers in &args.watchers {
        match measure::measure(args, watchers).await {
            Ok(figures) => measured.push(figures),
            Err(fault) => {
                held = false;
                eprintln!("{watchers} watchers: FAILED: {fault}");
            }
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        report::print(args, &measured);
    }
    Ok(held)
}
