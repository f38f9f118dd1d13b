//! The layers, of a command that is not ours: whatever flags there are.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Command, builder::BoolishValueParser, value_parser};

use super::{Origin, Problem, Reading, Refused, layers::read};

/// Variables that nobody sets.
fn command() -> Command {
    let file = || Arg::new("config").long("config").value_parser(value_parser!(PathBuf));
    let number = || {
        Arg::new("number")
            .long("number")
            .env("LAYERS_NUMBER")
            .value_parser(value_parser!(u8))
            .default_value("1")
    };
    Command::new("program")
        .subcommand(
            Command::new("server")
                .arg(file())
                .arg(number())
                .arg(Arg::new("name").long("name").env("LAYERS_NAME"))
                .arg(Arg::new("form").long("form").env("LAYERS_FORM").value_parser(["text", "json"]))
                .arg(Arg::new("url").long("url").env("LAYERS_URL").value_name("URL"))
                .arg(
                    Arg::new("many")
                        .long("many")
                        .env("LAYERS_MANY")
                        .action(ArgAction::Append)
                        .value_parser(value_parser!(u8)),
                )
                .arg(
                    Arg::new("switch")
                        .long("switch")
                        .env("LAYERS_SWITCH")
                        .action(ArgAction::SetTrue)
                        .value_parser(BoolishValueParser::new()),
                )
                .arg(Arg::new("shape").long("shape")),
        )
        .subcommand(
            Command::new("other").subcommand(
                Command::new("deep")
                    .arg(file())
                    .arg(number())
                    .arg(Arg::new("name").long("name"))
                    .arg(Arg::new("needed").long("needed").required(true)),
            ),
        )
        .subcommand(Command::new("plain").arg(number()))
}

/// Reads these words, where a file holds this text.
fn read_with(text: &str, words: &[&str]) -> Result<Reading, Refused> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, text).unwrap();
    let words = [&["program"], words, &["--config", path.to_str().unwrap()]].concat();
    read(&command(), "server", &words.iter().map(OsString::from).collect::<Vec<_>>())
}

fn problems(text: &str, words: &[&str]) -> Vec<String> {
    match read_with(text, words) {
        Err(Refused::Settings(useless)) => useless.problems.iter().map(Problem::to_string).collect(),
        Err(Refused::Usage(error)) => vec![format!("usage: {error}")],
        Ok(_) => Vec::new(),
    }
}

fn setting(reading: &Reading, name: &str) -> (String, &'static str) {
    let (values, origin) = reading.settings.of(name).unwrap();
    let origin = match origin {
        Origin::Default => "default",
        Origin::File(_) => "file",
        Origin::Environment => "environment",
        Origin::Flag => "flag",
    };
    (values.join(","), origin)
}

#[test]
fn a_file_outweighs_the_default_and_a_flag_the_file() {
    let text = "number = 2\nswitch = true\nmany = [3, \"4\"]\nname = \"from file\"";
    let reading = read_with(text, &["server", "--name=from flag"]).unwrap();
    assert_eq!(setting(&reading, "number"), ("2".into(), "file"));
    assert_eq!(setting(&reading, "switch"), ("true".into(), "file"));
    assert_eq!(setting(&reading, "many"), ("3,4".into(), "file"));
    assert_eq!(setting(&reading, "name"), ("from flag".into(), "flag"));
    assert_eq!(setting(&reading, "form"), (String::new(), "default"));
    let (_, matches) = reading.matches.subcommand().unwrap();
    assert_eq!((matches.get_one("number"), matches.get_flag("switch")), (Some(&2_u8), true));
    let reading = read_with("", &["server", "--many=5", "--many=6", "--switch"]).unwrap();
    assert_eq!(setting(&reading, "many"), ("5,6".into(), "flag"));
    assert_eq!(setting(&reading, "switch"), ("true".into(), "flag"));
    assert_eq!(setting(&reading, "number"), ("1".into(), "default"));
    assert_eq!(
        setting(&read_with("switch = false", &["server"]).unwrap(), "switch"),
        ("false".into(), "file")
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_by_its_place() {
    let text =
        "number = 256\nform = \"xml\"\nswitch = \"perhaps\"\nmany = [1, 300]\nnumbr = 1\nname = [\"a\"]";
    let told = problems(text, &["server", "--number=-1", "--form=yaml"]);
    for (place, word) in [
        ("file: number: ", "256"),
        ("file: form: ", "text, json"),
        ("file: switch: ", "boolean"),
        ("file: many: ", "300"),
        ("file: numbr: ", "did you mean number?"),
        ("file: name: ", "one value"),
        ("--number: ", "-1"),
        ("--form: ", "text, json"),
    ] {
        let of_place: Vec<_> = told.iter().filter(|line| line.contains(place)).collect();
        assert_eq!(of_place.len(), 1, "{place}: {told:#?}");
        assert!(of_place[0].contains(word), "{word}: {told:#?}");
    }
    assert_eq!(told.len(), 8, "{told:#?}");
}

#[test]
fn the_rest_of_what_is_wrong_in_part_can_be_looked_at() {
    let text = "number = 256\nname = \"a\"\nunknown-key = 1";
    let Err(Refused::Settings(useless)) = read_with(text, &["server", "--form=yaml", "--switch", "--many=1"])
    else {
        panic!("it was taken");
    };
    let rest = useless.rest.unwrap();
    assert_eq!(setting(&rest, "number"), ("1".into(), "default"));
    assert_eq!(setting(&rest, "name"), ("a".into(), "file"));
    assert_eq!(setting(&rest, "form"), (String::new(), "default"));
    assert_eq!(setting(&rest, "switch"), ("true".into(), "flag"));
    assert_eq!(setting(&rest, "many"), ("1".into(), "flag"));
}

#[test]
fn a_file_says_nothing_about_what_has_no_variable_nor_where_the_file_is() {
    for key in ["shape", "config", "help", "needed", "\"\"", "\"name=x --number\""] {
        let told = problems(&format!("{key} = \"x\""), &["server"]);
        assert!(told.len() == 1 && told[0].contains("there is no such setting"), "{key}: {told:?}");
    }
}

#[test]
fn a_wrong_command_line_alone_is_claps_to_tell() {
    for words in [
        &["server", "--number=256"][..],
        &["server", "--unknown"],
        &["server", "--number"],
        &["server", "--help"],
    ] {
        let told = problems("number = 3", words);
        assert!(told.len() == 1 && told[0].starts_with("usage: "), "{words:?}: {told:?}");
    }
    let told = problems("", &["other", "deep"]);
    assert!(told[0].contains("--needed"), "{told:?}");
}

#[test]
fn another_command_takes_of_the_servers_settings_those_that_it_has_too() {
    let reading =
        read_with("number = 4\nform = \"text\"\nname = \"x\"", &["other", "deep", "--needed=1"]).unwrap();
    assert_eq!(setting(&reading, "number"), ("4".into(), "file"));
    // The same word, but not the same variable: another thing.
    let (_, deep) = reading.matches.subcommand().unwrap().1.subcommand().unwrap();
    assert_eq!(deep.get_one::<String>("name"), None);
    let told = problems("number = 256\nunknown = 1", &["other", "deep", "--needed=1"]);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_command_without_the_flag_reads_no_file() {
    let words = ["program", "plain", "--number=9"].map(OsString::from);
    let reading = read(&command(), "server", &words).unwrap();
    assert_eq!(reading.settings.iter().count(), 0);
    assert_eq!(reading.matches.subcommand().unwrap().1.get_one("number"), Some(&9_u8));
}

#[test]
fn a_url_is_not_shown_where_it_may_hold_a_password() {
    let reading = read_with("url = \"https://user:canary@example.com\"", &["server"]).unwrap();
    assert_eq!(setting(&reading, "url"), ("***".into(), "file"));
}
