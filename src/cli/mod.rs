//! The command line: one file a command. Data goes to stdout, everything else to stderr.

mod access;
mod admin;
mod ledger;
mod open;
mod sandbox;
mod serve;

use std::process::ExitCode;

use crate::telemetry;
use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

const AFTER_HELP: &str = "\
Try it: `blubash-grpc serve --sandbox` starts the service on an emulator of the vendor's API and prints a
first call to paste. RUST_LOG sets the log level (info). Exit codes: 0 done, or ended in order; 1 could not
start, or could not do it; 2 wrong usage; 130 ended at once by a second signal.";

/// The gRPC face of the BluBash Campaigns API.
#[derive(Debug, Parser)]
#[command(name = "blubash-grpc", version = version(), about, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Campaigns API over gRPC
    Serve(Box<serve::Args>),
    /// Emulate the vendor's REST API, for development and tests: nobody is messaged
    Sandbox(Box<sandbox::Args>),
    /// Look at what is in doubt in the ledger, and decide it
    Ledger(Box<ledger::Args>),
    /// Prepare what an access file holds (serve --access-file)
    Access(access::Args),
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::anyhow!("the runtime cannot start: {error}")),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Sandbox(args) => {
                telemetry::log_only();
                sandbox::run(*args).await
            }
            Command::Ledger(args) => {
                telemetry::log_only();
                ledger::run(*args).await
            }
            Command::Access(args) => {
                access::run(&args);
                Ok(())
            }
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn version() -> String {
    // Which hour a wall-clock time means depends on this release.
    format!("{} (IANA time zones {})", env!("CARGO_PKG_VERSION"), chrono_tz::IANA_TZDB_VERSION)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    say(&format!("error: {error:#}"));
    ExitCode::FAILURE
}

/// Says something to the person at the terminal.
#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}

/// The signals that end the process: SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on a signal no longer ends the process by itself: before it is said that the server
    /// listens, so that who stops it at that very moment gets a drain.
    fn install() -> anyhow::Result<Self> {
        let install = |kind| signal(kind).context("signals cannot be awaited");
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Ends with the first signal; from then on a second one ends the process at once.
    async fn shutdown(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            say("second signal: ending at once");
            #[allow(
                clippy::disallowed_methods,
                reason = "skipping the drain is what a second signal asks for"
            )]
            std::process::exit(130);
        });
    }
}
