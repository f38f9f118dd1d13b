//! The README is true.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use blubash_grpc::{grpc::status, sandbox};

const BEGIN: &str = "<!-- errors -->\n";
const END: &str = "<!-- /errors -->";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn help() -> String {
    let serve = Command::new(env!("CARGO_BIN_EXE_blubash-grpc")).args(["serve", "--help"]).output().unwrap();
    String::from_utf8(serve.stdout).unwrap()
}

/// The words of a text that are between two marks, or begin with a prefix.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .collect()
}

#[test]
fn the_first_calls_stand_in_it_as_ci_runs_them() {
    let readme = read("README.md");
    for program in ["python/first_call.py", "node/first_call.js", "go/first_call/main.go"] {
        assert!(readme.contains(read(&format!("clients/{program}")).trim_end()), "{program}: copy it anew");
    }
}

#[test]
fn its_error_table_is_the_services_own() {
    let readme = read("README.md");
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let truth = format!("{}\n", status::markdown().trim_end());
    if table != truth && std::env::var_os("BLESS").is_some() {
        fs::write(root().join("README.md"), format!("{before}{BEGIN}{truth}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(table, truth, "renew it: BLESS=1 cargo test --test api readme");
}

#[test]
fn its_configuration_table_names_every_flag_with_its_variable_and_no_other() {
    let readme = read("README.md");
    let help = help();
    let flags: BTreeSet<_> = words(&help, "--")
        .into_iter()
        .filter(|flag| !flag.starts_with("--sandbox-") && *flag != "--help")
        .collect();
    let rows: BTreeSet<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `--")?.split_once('`'))
        .map(|(flag, rest)| {
            let variable = format!("BLUBASH_{}", flag.to_uppercase().replace('-', "_"));
            assert!(rest.contains(&format!("`{variable}`")), "--{flag} has no {variable}");
            assert!(help.contains(&variable), "{variable}");
            let default = rest.split('|').nth(2).unwrap().trim().trim_matches('`');
            let shown = format!("[default: {default}]");
            assert!(matches!(default, "" | "off") || help.contains(&shown), "--{flag}: {shown}");
            format!("--{flag}")
        })
        .collect();
    assert_eq!(rows.iter().map(String::as_str).collect::<BTreeSet<_>>(), flags);
}

#[test]
fn its_example_of_a_file_is_one_that_the_server_takes() {
    let readme = read("README.md");
    let example =
        readme.split_once("<!-- config-file -->\n```toml\n").unwrap().1.split_once("```").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("blubash.toml"), example).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_blubash-grpc"))
        .args(["config", "check", "--config", "blubash.toml"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), "ok\n", "{:?}", String::from_utf8(checked.stderr));
}

#[test]
fn every_variable_that_it_names_is_one() {
    let (readme, help) = (read("README.md"), help());
    let known = words(&help, "BLUBASH_");
    for variable in words(&readme, "BLUBASH_") {
        assert!(known.contains(variable), "{variable}");
    }
}

#[test]
fn its_rpc_table_names_every_rpc_of_the_contract() {
    let readme = read("README.md");
    let contract = read("proto/blubash/campaigns/v1/campaigns_service.proto");
    let rpcs = contract.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    for rpc in rpcs {
        assert!(readme.contains(&format!("| `{rpc}` |")), "{rpc}");
    }
}

#[test]
fn the_keys_and_campaigns_that_it_names_are_the_sandboxs() {
    let readme = read("README.md");
    let keys = [sandbox::ACME_API_KEY, sandbox::GLOBEX_API_KEY, sandbox::FREE_PLAN_API_KEY];
    assert_eq!(words(&readme, "sandbox-key-"), keys.into());
    let campaigns = [
        sandbox::EVERGREEN,
        sandbox::SEEDED,
        sandbox::EMPTY,
        sandbox::PAUSED,
        sandbox::CANCELLED,
        sandbox::FAILED,
        sandbox::NOT_EVERGREEN,
        sandbox::GLOBEX,
        sandbox::FREE_PLAN,
    ];
    assert_eq!(words(&readme, "camp-"), campaigns.into());
}

#[test]
fn what_it_links_to_exists() {
    for file in ["README.md", "CONTRIBUTING.md", "BENCHMARKS.md", "clients/README.md"] {
        let text = read(file);
        let folder = root().join(file).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let is_file = !link.starts_with("http") && !link.starts_with('#');
            assert!(!is_file || folder.join(link).exists(), "{file}: {link}");
        }
    }
}
