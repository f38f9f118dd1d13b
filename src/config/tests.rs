#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    flags: Flags,
}

fn check(words: &[&str]) -> Result<Config, String> {
    let flags =
        Program::try_parse_from([&["serve"], words].concat()).map_err(|error| error.to_string())?.flags;
    flags
        .check(DEFAULT_UPSTREAM_URL)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn what_is_said_reaches_the_component_that_it_is_for() {
    let config = check(&[
        "--ledger=memory:",
        "--batch-max-age=2s",
        "--upstream-rate=7",
        "--upstream-concurrency=9",
        "--upstream-bulk-concurrency=8",
        "--doubts-in-a-row=3",
        "--doubt-limit=40",
        "--poll-interval-idle=90s",
        "--poll-rate=13",
        "--poll-share=5",
        "--resume-window=3m",
        "--watch-history-max-bytes=5MiB",
        "--cache-moving-for=3s",
        "--cache-terminal-for=2m",
        "--cache-missing-for=500ms",
        "--cache-max-bytes=7MiB",
        "--web-origin=https://a.example,http://localhost:1",
        "--max-connections=11",
        "--max-streams=12",
        "--max-calls=13",
        "--workspace-max-calls=10",
        "--workspace-rate=9",
        "--handshake-timeout=14s",
        "--stream-idle-timeout=15s",
        "--connection-max-age=16s",
        "--connection-age-grace=17s",
        "--reload-interval=18s",
    ])
    .unwrap();
    assert_eq!(config.audience.batch_max_age, Duration::from_secs(2));
    let audience::DoubtLimits { in_a_row, unresolved } = config.audience.doubt;
    assert_eq!((in_a_row, unresolved), (3, 40));
    assert_eq!(config.watch.resume_window, Duration::from_secs(180));
    assert_eq!((config.watch.poll_interval_idle, config.watch.poll_rate), (Duration::from_secs(90), 13));
    assert_eq!(config.watch.history_max_bytes, 5 << 20);
    assert_eq!(config.cache.moving_for, Duration::from_secs(3));
    assert_eq!(config.cache.terminal_for, Duration::from_secs(120));
    assert_eq!(config.cache.missing_for, Duration::from_millis(500));
    assert_eq!(config.cache.max_bytes, 7 << 20);
    let (connections, second) = (config.connections, Duration::from_secs(1));
    assert_eq!(connections.web_origins, ["https://a.example", "http://localhost:1"]);
    assert_eq!((connections.max, connections.max_streams, config.calls.max), (11, 12, 13));
    assert_eq!((config.calls.workspace_max, config.calls.workspace_rate), (10, NonZeroU32::new(9)));
    assert_eq!(connections.handshake_timeout, 14 * second);
    assert_eq!(config.calls.stream_idle, 15 * second);
    assert_eq!((connections.max_age, connections.age_grace), (Some(16 * second), 17 * second));
    assert_eq!(config.reload_interval, 18 * second);
    let upstream = config.upstream;
    assert_eq!((upstream.rate, upstream.poll_share), (NonZeroU32::new(7), 5));
    assert_eq!((upstream.concurrency, upstream.bulk_concurrency), (9, 8));
}

#[test]
fn unsaid_the_components_have_their_own_defaults_and_a_file_more_room_than_memory() {
    let config = check(&["--ledger=memory:"]).unwrap();
    let upstream = upstream::Config::new(DEFAULT_UPSTREAM_URL).unwrap();
    assert_eq!(config.upstream.rate, upstream.rate);
    assert_eq!(config.upstream.concurrency, upstream.concurrency);
    assert_eq!(config.upstream.poll_share, upstream.poll_share);
    assert_eq!(config.upstream.bulk_concurrency, upstream.bulk_concurrency);
    let (told, own) = (config.audience.doubt, audience::DoubtLimits::default());
    assert_eq!((told.in_a_row, told.unresolved), (own.in_a_row, own.unresolved));
    let (told, own) = (config.watch, WatchConfig::default());
    assert_eq!(told.resume_window, own.resume_window);
    assert_eq!(told.history_max_bytes, own.history_max_bytes);
    assert_eq!((told.poll_interval_idle, told.poll_rate), (own.poll_interval_idle, own.poll_rate));
    let (told, own) = (config.cache, cache::Limits::default());
    assert_eq!((told.moving_for, told.terminal_for), (own.moving_for, own.terminal_for));
    assert_eq!((told.missing_for, told.max_bytes), (own.missing_for, own.max_bytes));
    let slow = check(&["--ledger=memory:", "--poll-interval=5m"]).unwrap().watch;
    assert_eq!(slow.poll_interval_idle, Duration::from_secs(300));
    assert_eq!(config.ledger.max_bytes, 256 << 20);
    assert_eq!(check(&["--ledger=file:x"]).unwrap().ledger.max_bytes as u64, 8 << 30);
    assert_eq!(check(&["--ledger=file:x", "--ledger-max-bytes=1GiB"]).unwrap().ledger.max_bytes, 1 << 30);
}

#[test]
fn keys_are_either_passed_through_or_held() {
    let problem =
        check(&["--ledger=memory:", "--access-file=/not/there", "--workspace-keys-file=/nor/there"]);
    let problem = problem.unwrap_err();
    assert!(problem.contains("first_key_file"), "{problem}");
}

#[test]
fn a_connection_may_grow_as_old_as_it_likes() {
    assert_eq!(check(&["--ledger=memory:", "--connection-max-age=0s"]).unwrap().connections.max_age, None);
}

#[test]
fn what_is_out_of_range_is_refused_by_its_flag() {
    for word in [
        "--batch-max-age=10001ms",
        "--upstream-rate=0",
        "--upstream-concurrency=0",
        "--upstream-bulk-concurrency=257",
        "--doubts-in-a-row=0",
        "--doubt-limit=0",
        "--ledger-max-bytes=1kB",
        "--poll-interval-idle=999ms",
        "--poll-interval-idle=1900ms",
        "--poll-rate=0",
        "--poll-share=101",
        "--resume-window=25h",
        "--watch-history-max-bytes=2TiB",
        "--cache-moving-for=61m",
        "--cache-terminal-for=31d",
        "--cache-missing-for=61s",
        "--cache-max-bytes=2TiB",
        "--ledger-retention=91d",
        "--workspace-keys-file=/not/there",
        "--access-file=/not/there",
        "--reload-interval=99ms",
        "--web-origin=*",
        "--max-connections=0",
        "--max-streams=0",
        "--max-calls=0",
        "--workspace-max-calls=0",
        "--workspace-rate=0",
        "--handshake-timeout=61s",
        "--stream-idle-timeout=1ms",
        "--connection-max-age=999ms",
        "--connection-age-grace=25h",
        "--reload-interval=6m",
        "--tls-cert-file=x",
        "--tls-key-file=x",
        "--tls-client-ca-file=x",
    ] {
        let problem = check(&["--ledger=memory:", word]).unwrap_err();
        assert!(problem.contains(word.split('=').next().unwrap()), "{word}: {problem}");
    }
}
