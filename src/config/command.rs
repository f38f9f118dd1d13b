//! What the layers ask of clap's commands, and do to them.

use std::error::Error as _;

use clap::{
    Arg, ArgMatches, Command,
    builder::{Resettable, ValueParser},
    error::{ContextKind, ContextValue},
};

/// The flag that names the file. Which commands have it, read one.
pub(super) const FILE: &str = "config";

/// The variables that begin like those of settings and belong to none, with the one that may have been meant. Other
/// programs may use the prefix: they are for a warning.
pub fn strangers(command: &Command, server: &str) -> Vec<String> {
    let known = variables(command);
    let Some(server) = find(command, &[server]) else { return Vec::new() };
    let mut strangers: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("BLUBASH_") && !known.contains(name))
        .collect();
    strangers.sort();
    for stranger in &mut strangers {
        let key = stranger.trim_start_matches("BLUBASH_").to_ascii_lowercase().replace('_', "-");
        if let Some(near) =
            nearest(server, &key).and_then(|near| argument(server, &near)?.get_env()?.to_str())
        {
            *stranger = format!("{stranger} (did you mean {near}?)");
        }
    }
    strangers
}

fn variables(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// What a file may say: whatever the environment may, but where the file is.
pub(super) fn is_setting(arg: &Arg) -> bool {
    arg.get_env().is_some() && arg.get_long() != Some(FILE)
}

pub(super) fn argument<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(long))
}

/// The same command, which takes any value for any flag.
pub(super) fn lax(command: Command) -> Command {
    command.mut_args(lax_arg).mut_subcommands(lax)
}

pub(super) fn lax_arg(arg: Arg) -> Arg {
    let arg = arg.required(false);
    match arg.get_action().takes_values() {
        true => arg.value_parser(ValueParser::os_string()),
        // Of a switch the environment's value would be read after all.
        false => arg.env(Resettable::Reset),
    }
}

/// The command that the command line names in the end, and what it says to it.
pub(super) fn leaf(mut matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let mut path = Vec::new();
    while let Some((name, below)) = matches.subcommand() {
        path.push(name);
        matches = below;
    }
    (path, matches)
}

pub(super) fn find<'a>(command: &'a Command, path: &[&str]) -> Option<&'a Command> {
    path.iter().try_fold(command, |command, name| command.find_subcommand(name))
}

pub(super) fn at(command: Command, path: &[&str], edit: &dyn Fn(Command) -> Command) -> Command {
    match path {
        [] => edit(command),
        [name, rest @ ..] => command.mut_subcommand(name, |command| at(command, rest, edit)),
    }
}

/// The flag that clap would suggest.
pub(super) fn nearest(command: &Command, name: &str) -> Option<String> {
    let words = [format!("--{name}=x")];
    let error = lax(command.clone()).no_binary_name(true).try_get_matches_from(words).err()?;
    match error.get(ContextKind::SuggestedArg)? {
        ContextValue::String(flag) => flag.strip_prefix("--").map(str::to_owned),
        _ => None,
    }
}

/// What clap says of a value, without the value.
pub(super) fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
            format!("expected one of: {}", valid.join(", "))
        }
        _ => error.kind().as_str().unwrap_or("it cannot be used").to_owned(),
    }
}
