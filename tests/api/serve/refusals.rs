//! What it says when it cannot start, and what it says of itself.

use std::{fs, os::unix::fs::PermissionsExt as _};

use clap::CommandFactory as _;

use super::process::{Process, folder, run};

/// The arguments are refused with this exit code and every one of these texts.
async fn refused(arguments: &[&str], code: i32, texts: &[&str]) {
    let ended = run(arguments, &[]).await;
    assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.err);
    for text in texts {
        assert!(ended.err.contains(text), "{arguments:?} does not say {text:?}: {}", ended.err);
    }
    assert_eq!(ended.out, "", "errors go to stderr");
}

#[tokio::test]
async fn a_taken_port_is_refused_with_the_flag_that_helps() {
    let taken = Process::sandbox().await;
    for command in [&["serve", "--sandbox"][..], &["sandbox"]] {
        let arguments = [command, &["--listen", &taken.address]].concat();
        refused(&arguments, 1, &[&taken.address, "is taken by another program", "--listen"]).await;
    }
}

#[tokio::test]
async fn an_upstream_that_would_show_the_key_to_the_network_is_refused() {
    for (url, text) in [
        ("http://example.com", "plain http is for localhost"),
        ("nonsense", "not a URL with a host"),
        ("ftp://example.com", "must begin with https://"),
        ("https://me:pass@example.com", "must not hold a user or a password"),
        ("https://example.com/?a=b", "must end after its path"),
    ] {
        refused(&["serve", "--upstream-url", url], 1, &["--upstream-url: ", text]).await;
    }
    let ended = run(&["serve", "--upstream-url", "https://me:pass@example.com"], &[]).await;
    assert!(!ended.err.contains("pass@"), "a password is not repeated: {}", ended.err);
}

#[tokio::test]
async fn all_settings_that_cannot_be_used_are_named_at_once() {
    let arguments = "serve --upstream-url http://example.com --poll-interval 1ms --ledger-retention 1s \
                     --drain-timeout 2h --batch-max-bytes 1B --ledger-max-bytes 1kB";
    let texts = [
        "--upstream-url: ",
        "--poll-interval: must lie between 100ms and 10m",
        "--ledger-retention: must lie between 1m and 90d",
        "--drain-timeout: must lie between 0s and 1h",
        "--batch-max-bytes: must lie between 1.0 KiB and 16.0 MiB",
        "--ledger-max-bytes: must lie between 1.0 MiB and ",
    ];
    refused(&arguments.split_whitespace().collect::<Vec<_>>(), 1, &texts).await;
}

#[tokio::test]
async fn wrong_usage_says_what_is_right() {
    refused(&["serve", "--ledger", "file:x"], 2, &["--ledger", "next version", "until then: memory:"]).await;
    refused(&["serve", "--ledger", "x"], 2, &["expected memory:"]).await;
    refused(&["serve", "--ledger-max-bytes", "x"], 2, &["expected a size, for example"]).await;
    refused(&["serve", "--poll-interval", "5"], 2, &["time unit needed, for example"]).await;
    refused(&["serve", "--batch-max-items", "0"], 2, &["--batch-max-items", "1..=10000"]).await;
    let both = ["serve", "--sandbox", "--upstream-url", "http://127.0.0.1:1"];
    refused(&both, 2, &["--sandbox", "cannot be used with", "--upstream-url"]).await;
}

#[tokio::test]
async fn a_variable_is_as_good_as_its_flag() {
    let ended = run(&["serve"], &[("BLUBASH_SANDBOX", "1"), ("BLUBASH_POLL_INTERVAL", "1ms")]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("--poll-interval: must lie"), "{}", ended.err);
    Process::serve_with(&[], &[("BLUBASH_SANDBOX", "1")]).await.says("SANDBOX").await;
}

#[tokio::test]
async fn a_secret_file_that_others_can_read_or_that_holds_something_else_is_refused() {
    let folder = folder();
    let path = folder.path().join("secret");
    let arguments =
        ["serve", "--sandbox", "--listen", "127.0.0.1:0", "--secret-file", path.to_str().unwrap()];

    fs::write(&path, "0".repeat(64)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&arguments, 1, &["--secret-file", "0644", "chmod 600"]).await;

    fs::write(&path, "too short").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&arguments, 1, &["--secret-file", "64 hex digits"]).await;
}

#[tokio::test]
async fn a_port_file_that_cannot_be_written_is_refused() {
    let path = folder().path().join("gone").join("address");
    let path = path.to_str().unwrap();
    let arguments = ["serve", "--sandbox", "--listen", "127.0.0.1:0", "--port-file", path];
    refused(&arguments, 1, &["--port-file", path]).await;
}

#[tokio::test]
async fn the_version_names_the_release_of_the_time_zones() {
    let ended = run(&["--version"], &[]).await;
    let version = env!("CARGO_PKG_VERSION");
    let zones = chrono_tz::IANA_TZDB_VERSION;
    assert_eq!(ended.out, format!("blubash-grpc {version} (IANA time zones {zones})\n"));
    assert_eq!(ended.code, Some(0));
}

#[tokio::test]
async fn the_help_lists_every_variable_and_the_exit_codes() {
    let mut cli = blubash_grpc::cli::Cli::command();
    cli.build();
    for command in ["serve", "sandbox"] {
        let ended = run(&[command, "--help"], &[]).await;
        let flags = cli.find_subcommand(command).unwrap().get_arguments();
        for variable in flags.filter_map(|flag| flag.get_env()) {
            let shown = format!("[env: {}=]", variable.to_str().unwrap());
            assert!(ended.out.contains(&shown), "{command} --help does not say {shown}");
        }
    }
    let ended = run(&["--help"], &[]).await;
    assert!(ended.out.contains("Exit codes: 0") && ended.out.contains("serve --sandbox"), "{}", ended.out);
}
