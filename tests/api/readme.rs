//! The README is true: what it shows is what runs, and what it names exists.

use std::{collections::BTreeSet, fs, path::Path};

use blubash_grpc::{cli::Cli, grpc::status, sandbox};
use clap::{Arg, Command, CommandFactory as _};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CONTRACT: &str = include_str!("../../proto/blubash/campaigns/v1/campaigns_service.proto");

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn readme() -> String {
    file("README.md")
}

fn command(name: &str) -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand(name).unwrap().clone()
}

/// The flags of a command that have a variable: all but --help.
fn flags(name: &str) -> Vec<Arg> {
    command(name).get_arguments().filter(|flag| flag.get_env().is_some()).cloned().collect()
}

/// The rows of the table under this heading line, each split into its cells.
fn table(readme: &str, heading: &str) -> Vec<Vec<String>> {
    let rows = readme.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split(" |").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Every longest word of these characters that begins with `prefix`.
fn words<'a>(text: &'a str, prefix: &str, belongs: impl Fn(char) -> bool) -> BTreeSet<&'a str> {
    text.match_indices(prefix)
        .filter(|(at, _)| !text[..*at].ends_with(|c| belongs(c)))
        .map(|(at, _)| {
            let rest = &text[at..];
            rest[..rest.find(|c| !belongs(c)).unwrap_or(rest.len())].trim_end_matches('-')
        })
        .collect()
}

fn in_kebab_case(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

#[test]
fn the_first_calls_that_it_shows_are_the_programs_that_ci_runs() {
    let readme = readme();
    for (language, program) in [
        ("python", "clients/python/first_call.py"),
        ("js", "clients/node/first_call.js"),
        ("go", "clients/go/first_call/main.go"),
    ] {
        let fence = format!("```{language}\n");
        let shown = readme.split(&fence).nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(shown, file(program), "README.md and {program}");
    }
}

#[test]
fn its_table_of_errors_is_the_one_that_the_service_goes_by() {
    let (begin, end) = ("<!-- errors -->\n", "<!-- /errors -->");
    let readme = readme();
    let (before, rest) = readme.split_once(begin).unwrap();
    let (table, after) = rest.split_once(end).unwrap();
    let truth = status::markdown();
    if table == truth {
        return;
    }
    if std::env::var_os("BLESS").is_some() {
        let renewed = format!("{before}{begin}{truth}{end}{after}");
        return fs::write(Path::new(ROOT).join("README.md"), renewed).unwrap();
    }
    panic!("README.md shows another table; renew it: BLESS=1 cargo test --test api readme::\n\n{truth}");
}

#[test]
fn its_table_of_flags_has_every_flag_of_serve_with_its_variable_and_default() {
    let truth: Vec<_> = flags("serve")
        .iter()
        .filter(|flag| !flag.get_long().unwrap().starts_with("sandbox-"))
        .map(|flag| {
            let default = match (flag.get_action().takes_values(), flag.get_default_values()) {
                (false, _) => "off".to_owned(),
                (true, []) => String::new(),
                (true, values) => code(values[0].to_str().unwrap()),
            };
            let variable = flag.get_env().unwrap().to_str().unwrap();
            vec![code(&format!("--{}", flag.get_long().unwrap())), code(variable), default]
        })
        .collect();
    let shown = table(&readme(), "| flag | variable |");
    let shown: Vec<_> = shown.iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(shown, truth);
}

#[test]
fn its_table_of_calls_has_every_call_of_the_contract() {
    let calls = CONTRACT.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
    let calls: Vec<_> = calls.map(|call| code(call.split('(').next().unwrap())).collect();
    let shown: Vec<_> = table(&readme(), "| RPC |").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(shown, calls);
}

#[test]
fn the_campaigns_and_keys_that_it_names_are_those_of_the_sandbox() {
    let readme = readme();
    let campaigns = BTreeSet::from([
        sandbox::EVERGREEN,
        sandbox::SEEDED,
        sandbox::EMPTY,
        sandbox::PAUSED,
        sandbox::CANCELLED,
        sandbox::FAILED,
        sandbox::NOT_EVERGREEN,
        sandbox::GLOBEX,
        sandbox::FREE_PLAN,
    ]);
    assert_eq!(words(&readme, "camp-", in_kebab_case), campaigns);
    let keys = BTreeSet::from([sandbox::ACME_API_KEY, sandbox::GLOBEX_API_KEY, sandbox::FREE_PLAN_API_KEY]);
    assert_eq!(words(&readme, "sandbox-key-", in_kebab_case), keys);
}

#[test]
fn the_flags_and_variables_that_it_names_exist() {
    let readme = readme();
    let known: Vec<_> = ["serve", "sandbox"].into_iter().flat_map(flags).collect();
    let variables: BTreeSet<_> = known.iter().map(|flag| flag.get_env().unwrap().to_str().unwrap()).collect();
    let named = words(&readme, "BLUBASH_", |c| c.is_ascii_uppercase() || c == '_');
    assert_eq!(named.difference(&variables).collect::<Vec<_>>(), Vec::<&&str>::new());

    let flags: BTreeSet<_> = known.iter().map(|flag| format!("--{}", flag.get_long().unwrap())).collect();
    // In prose, a name between backquotes is one of ours; in fenced blocks other programs have theirs.
    let prose = readme.split("```").step_by(2);
    for name in
        prose.flat_map(|text| text.split('`').skip(1).step_by(2)).filter(|name| name.starts_with("--"))
    {
        let flag = name.split([' ', '=']).next().unwrap();
        assert!(flags.contains(flag), "README.md names {name}");
    }
}

#[test]
fn every_flag_has_a_help_text_and_a_variable_of_its_name() {
    for flag in flags("serve") {
        let name = flag.get_long().unwrap();
        let variable = format!("BLUBASH_{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(flag.get_env().unwrap().to_str(), Some(variable.as_str()));
        assert!(flag.get_help().is_some(), "--{name}");
    }
    let without = command("serve").get_arguments().filter(|flag| flag.get_env().is_none()).count();
    assert_eq!(without, 1, "only --help has no variable");
}

#[test]
fn every_link_leads_to_a_file_that_exists() {
    for page in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "clients/README.md"] {
        let folder = Path::new(ROOT).join(page).parent().unwrap().to_owned();
        for rest in file(page).split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            let path = link.split('#').next().unwrap();
            let elsewhere = link.contains("://") || path.is_empty();
            assert!(elsewhere || folder.join(path).exists(), "{page} links to {link}");
        }
    }
}
