//! The command line: one file a command. Data goes to stdout, everything else to stderr.

mod access;
mod admin;
mod config;
mod ledger;
mod open;
mod print;
mod sandbox;
mod serve;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    config::{Reading, Refused, Settings, Useless, read, strangers},
    telemetry,
};

/// The subcommand whose flags are the settings that a file may hold.
const SERVER: &str = "serve";

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
    /// Check and show the settings that `serve` would have
    Config(Box<config::Args>),
}

impl Command {
    /// What `serve` is told, where the command is about that.
    fn of_server(&self) -> Option<&serve::Args> {
        match self {
            Self::Serve(args) => Some(args),
            Self::Config(args) => Some(args.of_server()),
            Self::Sandbox(_) | Self::Ledger(_) | Self::Access(_) => None,
        }
    }
}

/// A worker of the runtime has a queue of 256 tasks; what is more goes to one that all share, and that is looked at
/// between so many of its own. With tokio's own number (61, about) what was put there waits for seconds where there are
/// thousands of calls: those that came first are answered last.
const FAIRNESS: u32 = 2;

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let command = Cli::command();
    let (cli, settings) = match read(&command, SERVER, &words).and_then(understand) {
        Ok(understood) => understood,
        Err(Refused::Usage(error)) => error.exit(),
        Err(Refused::Settings(useless)) => return refuse(*useless),
    };
    if cli.command.of_server().is_some() {
        let strangers = strangers(&command, SERVER);
        if !strangers.is_empty() {
            say(&format!("warning: these variables are no settings: {}", strangers.join(", ")));
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .global_queue_interval(FAIRNESS)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::anyhow!("the runtime cannot start: {error}")),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args, &settings).await,
            Command::Sandbox(args) => {
                telemetry::log_only();
                sandbox::run(*args).await
            }
            Command::Ledger(args) => {
                telemetry::log_only();
                ledger::run(*args).await
            }
            Command::Access(args) => access::run(&args),
            Command::Config(args) => config::run(&args, &settings),
        }
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn understand(reading: Reading) -> Result<(Cli, Settings), Refused> {
    let cli = Cli::from_arg_matches(&reading.matches).map_err(|error| Refused::Usage(Box::new(error)))?;
    Ok((cli, reading.settings))
}

/// Tells all that was said and is of no use, and what is wrong with the rest.
fn refuse(useless: Useless) -> ExitCode {
    let mut told: Vec<String> = useless.problems.iter().map(ToString::to_string).collect();
    let rest = useless.rest.and_then(|rest| understand(rest).ok());
    if let Some((flags, settings)) =
        rest.as_ref().and_then(|(cli, settings)| Some((&cli.command.of_server()?.flags, settings)))
    {
        let more = flags.check(&flags.upstream_url).err().unwrap_or_default();
        let is_new = |error: &&_| !useless.problems.iter().any(|problem| problem.may_cause(error));
        told.extend(more.iter().filter(is_new).map(|error| settings.tell(error)));
    }
    let code = fail(&config::unusable(&told));
    if useless.problems.iter().any(|problem| problem.is_usage) { ExitCode::from(2) } else { code }
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
