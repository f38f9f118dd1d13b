//! What holds of the flags of `serve`, whichever there are.

use std::{collections::BTreeSet, ffi::OsString};

use clap::{Arg, ArgAction, CommandFactory as _};

use super::{Cli, SERVER};
use crate::config::{Origin, Refused, read};

fn settings() -> Vec<Arg> {
    let command = Cli::command();
    let server = command.find_subcommand(SERVER).unwrap();
    server.get_arguments().filter(|arg| arg.get_long() != Some("config")).cloned().collect()
}

/// A value that the flag takes.
fn sample(arg: &Arg) -> String {
    if let Some(value) = arg.get_default_values().first() {
        return value.to_str().unwrap().to_owned();
    }
    if !arg.get_action().takes_values() {
        return "true".to_owned();
    }
    let name = arg.get_value_names().unwrap()[0].as_str();
    let value = match name {
        "ADDR" => "127.0.0.1:0",
        "DURATION" => "90s",
        "INSTANT" => "2026-03-01T00:00:00Z",
        "N" => "7",
        "SIZE" => "8GiB",
        "file:PATH|memory:" => "memory:",
        // A text of any kind.
        _ => "/a b/\"c\"",
    };
    value.to_owned()
}

#[test]
fn every_flag_of_serve_can_stand_in_the_file_under_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    let list = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append);
    let line = |arg: &Arg| {
        let value = format!("{:?}", sample(arg));
        let value = if list(arg) { format!("[{value}]") } else { value };
        format!("{} = {value}\n", arg.get_long().unwrap())
    };
    std::fs::write(&path, settings().iter().map(line).collect::<String>()).unwrap();
    for command in [&[SERVER][..], &["config", "check"], &["config", "print"]] {
        let words = [&["blubash-grpc"], command, &["--config", path.to_str().unwrap()]].concat();
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let reading = match read(&Cli::command(), SERVER, &words) {
            Ok(reading) => reading,
            Err(Refused::Usage(error)) => panic!("{error}"),
            Err(Refused::Settings(useless)) => panic!("{:?}", useless.problems),
        };
        let in_file: BTreeSet<_> = reading
            .settings
            .iter()
            .filter(|setting| setting.origin == Origin::File(path.clone()))
            .map(|setting| (setting.name.clone(), setting.shown().join("")))
            .collect();
        let expected: BTreeSet<_> =
            settings().iter().map(|arg| (arg.get_long().unwrap().to_owned(), sample(arg))).collect();
        assert_eq!(in_file, expected);
    }
}

#[test]
fn no_flag_of_serve_needs_or_forbids_another_by_clap_which_does_not_count_what_a_file_says() {
    let words = |args: &[Arg]| {
        let word = |arg: &Arg| match arg.get_action().takes_values() {
            true => format!("--{}={}", arg.get_long().unwrap(), sample(arg)),
            false => format!("--{}", arg.get_long().unwrap()),
        };
        ["blubash-grpc".to_owned(), SERVER.to_owned()].into_iter().chain(args.iter().map(word)).collect()
    };
    let all = settings();
    let alone = all.chunks(1).map(<[Arg]>::to_vec);
    for args in alone.chain([all.clone(), Vec::new()]) {
        let words: Vec<String> = words(&args);
        let parsed = Cli::command().try_get_matches_from(&words);
        assert!(parsed.is_ok(), "check it in `Flags::check`: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_flag_of_serve_has_a_variable_of_its_name() {
    for arg in settings() {
        let long = arg.get_long().unwrap();
        let variable = format!("BLUBASH_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()), "--{long}");
    }
}
