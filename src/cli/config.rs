//! `blubash-grpc config check | print`

use anyhow::{anyhow, ensure};
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::{
    open,
    print::{Table, print},
    serve,
};
use crate::{
    config::{Origin, Setting, Settings},
    telemetry,
};

const AFTER_HELP: &str = "\
A setting has one name: poll-interval is --poll-interval on the command line, BLUBASH_POLL_INTERVAL in the \
environment, and a key in the file that --config or BLUBASH_CONFIG names. A flag outweighs the variable, the \
variable the file, and the file the default. A file is TOML and flat; durations and sizes are texts:

  upstream-rate = 50
  poll-interval = \"2s\"
  cache-max-bytes = \"128MiB\"
  sandbox = true

An unknown key is refused. No file is looked for by itself. Secrets stand in files of their own, which \
settings name. Begin with a file of what you have now:

  blubash-grpc config print --output toml >blubash.toml
  blubash-grpc config check --config blubash.toml
  blubash-grpc serve --config blubash.toml

Data goes to stdout, all else to stderr. Exit codes: 0 fine, 1 there are settings that cannot be used (all \
are listed), 2 wrong usage.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read all that `serve` would read, and say `ok`, or everything that cannot be used. Binds nothing,
    /// makes nothing, connects to nothing; whether the ledger can be opened is not tried
    Check(Box<serve::Args>),
    /// Print each setting with its value and where that comes from: default, file, environment or flag
    Print(Box<PrintArgs>),
}

#[derive(Debug, clap::Args)]
struct PrintArgs {
    /// How to print: table for people, json as one array, toml as a file that --config reads
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,

    #[command(flatten)]
    server: serve::Args,
}

/// The forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
    Toml,
}

impl Args {
    /// The settings that the command is about.
    pub(super) fn of_server(&self) -> &serve::Args {
        match &self.command {
            Command::Check(args) => args,
            Command::Print(args) => &args.server,
        }
    }
}

pub(super) fn run(args: &Args, settings: &Settings) -> anyhow::Result<()> {
    match &args.command {
        Command::Check(args) => check(args, settings),
        Command::Print(args) => match args.output {
            Output::Table => print(&table(settings)),
            Output::Json => print(&format!("{}\n", json(settings)?)),
            Output::Toml => print(&toml(settings)?),
        },
    }
}

/// What is said of settings that cannot be used, a line each.
pub(super) fn unusable(problems: &[String]) -> anyhow::Error {
    anyhow!("these settings cannot be used:\n  {}", problems.join("\n  "))
}

fn check(args: &serve::Args, settings: &Settings) -> anyhow::Result<()> {
    let flags = &args.flags;
    let mut problems: Vec<String> = match flags.check(&flags.upstream_url) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| settings.tell(error)).collect(),
    };
    if let Ok(place) = flags.place.place(flags.sandbox)
        && let Err(problem) = open::look(&place)
    {
        problems.push(format!("{problem:#}"));
    }
    if let Err(fault) = telemetry::check() {
        problems.push(fault.to_string());
    }
    ensure!(problems.is_empty(), unusable(&problems));
    print("ok\n")
}

fn table(settings: &Settings) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "ORIGIN"]);
    for setting in settings.iter() {
        table.row([setting.name.clone(), setting.shown().join(","), setting.origin.to_string()]);
    }
    table.to_string()
}

/// A setting as JSON has it.
#[derive(Serialize)]
struct Line<'a> {
    setting: &'a str,
    /// As the flag takes it; null where nothing is said and there is no default. An array where the flag takes
    /// several.
    value: serde_json::Value,
    origin: &'static str,
    /// Of the origin `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

fn json(settings: &Settings) -> anyhow::Result<String> {
    let lines: Vec<Line<'_>> = settings.iter().map(line).collect();
    Ok(serde_json::to_string_pretty(&lines)?)
}

fn line(setting: &Setting) -> Line<'_> {
    let values = setting.shown();
    let (origin, path) = match &setting.origin {
        Origin::Default => ("default", None),
        Origin::File(path) => ("file", Some(path.display().to_string())),
        Origin::Environment => ("environment", None),
        Origin::Flag => ("flag", None),
    };
    Line {
        setting: &setting.name,
        value: if setting.is_list { values.into() } else { values.into_iter().next().into() },
        origin,
        path,
    }
}

fn toml(settings: &Settings) -> anyhow::Result<String> {
    let mut text = String::new();
    for setting in settings.iter() {
        ensure!(setting.is_text(), "--{}: its value is not UTF-8, and no TOML can hold it", setting.name);
        let values = setting.shown();
        let values: Vec<String> = values.iter().map(|value| toml_value(value)).collect();
        // What holds no line break cannot end its comment.
        let origin = setting.origin.to_string().replace(|c: char| c.is_control(), "\u{fffd}");
        text += &match values.as_slice() {
            [] => format!("# {} is not set\n", setting.name),
            values if setting.is_list => format!("{} = [{}]  # {origin}\n", setting.name, values.join(", ")),
            [value, ..] => format!("{} = {value}  # {origin}\n", setting.name),
        };
    }
    Ok(text)
}

/// A number or a boolean as such, where it is written as TOML would write it; anything else as a text.
fn toml_value(text: &str) -> String {
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    match text {
        "true" | "false" => text.to_owned(),
        text if is_number => text.to_owned(),
        // The escapes of JSON are escapes of TOML, which wants one more.
        text => serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f"),
    }
}
