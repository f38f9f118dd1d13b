//! What the service does when more is asked of it than it can answer, when one caller asks for more than its share,
//! when it is told to go, and when its keys and certificates change. LOAD.md says what is measured and checked.

mod calls;
mod drain;
mod noisy;
mod overload;
mod tally;
mod upstream;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Loads the service.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Twice what it can answer, for minutes
    Overload(overload::Args),
    /// One workspace that asks a hundred times as much as the others
    Noisy(noisy::Args),
    /// SIGTERM under load, again and again
    Drain(drain::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Args::parse().what {
        What::Overload(args) => drivers::end(overload::run(args)).await,
        What::Noisy(args) => drivers::end(noisy::run(args)).await,
        What::Drain(args) => drivers::end(drain::run(args)).await,
    }
}
