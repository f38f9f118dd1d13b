//! What `serve` can be told: flags and variables in, plain and checked component settings out.

mod flags;
mod listening;
mod place;
mod workspace_keys;

use std::{num::NonZeroU32, time::Duration};

use bytesize::ByteSize;

pub use self::{
    flags::{Batches, Flags, Idempotency, LogFormat},
    listening::{Calls, Connections},
    place::{LedgerPlace, Place, PlaceFlags},
};
use crate::{
    access::Access,
    campaigns::{audience, cache, watch::WatchConfig},
    ledger,
    model::ApiKey,
    tls::{self, Tls},
    upstream,
};

/// The vendor's base URL (the Campaigns API page).
pub const DEFAULT_UPSTREAM_URL: &str = "https://api.blubash.io/api/v1/campaigns";

/// The most batches of one ingestion in flight, once a clean answer has shown that batches work.
const WINDOW: usize = 4;

/// The same where batches hold one item each.
const SINGLES_WINDOW: usize = 16;

/// What the ledger may take where nobody says.
const MEMORY_MAX_BYTES: ByteSize = ByteSize::mib(256);
const FILE_MAX_BYTES: ByteSize = ByteSize::gib(8);

/// A setting that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct ConfigError {
    flag: &'static str,
    problem: String,
}

impl From<tls::Fault> for ConfigError {
    fn from(fault: tls::Fault) -> Self {
        Self { flag: fault.flag, problem: fault.problem }
    }
}

/// Checked settings, a part for each component.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where calls go.
    pub upstream: upstream::Config,
    /// Where the ledger lives, with its secret and its socket.
    pub place: Place,
    /// How much is remembered.
    pub ledger: ledger::Config,
    /// Lists of keys that open the same workspace, which the first of each names.
    pub workspace_keys: Vec<Vec<ApiKey>>,
    /// Who may call, where this server holds the keys.
    pub access: Option<Access>,
    /// How an ingestion is sent.
    pub audience: audience::Limits,
    /// What is kept of reads, and for how long.
    pub cache: cache::Limits,
    /// How campaigns are watched.
    pub watch: WatchConfig,
    /// What connections may do.
    pub connections: Connections,
    /// What calls may do.
    pub calls: Calls,
    /// What connections are encrypted with. `None`: they are not.
    pub tls: Option<Tls>,
    /// How often files that may change are looked at.
    pub reload_interval: Duration,
    /// How long calls in flight may take to end.
    pub drain_timeout: Duration,
    /// How long to report NOT_SERVING before new connections are refused.
    pub drain_delay: Duration,
}

impl Flags {
    /// Checks what the flags' types cannot, all problems at once. `upstream_url` is where calls go: the
    /// flag's, or the sandbox's own.
    ///
    /// # Errors
    /// Every setting that cannot be used.
    pub fn check(&self, upstream_url: &str) -> Result<Config, Vec<ConfigError>> {
        let mut problems = Vec::new();
        let (second, minute, day) =
            (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(86_400));
        let (pace, hour) = (Duration::from_millis(100)..=10 * minute, Duration::ZERO..=60 * minute);
        // The bounds in words as people write them: humantime would say "2months 29days".
        let own = WatchConfig::default().poll_interval_idle.max(self.poll_interval);
        let poll_interval_idle = self.poll_interval_idle.unwrap_or(own);
        if poll_interval_idle < self.poll_interval {
            problems.push(ConfigError {
                flag: "--poll-interval-idle",
                problem: "must not be below --poll-interval".to_owned(),
            });
        }
        for (flag, value, bounds, words) in [
            ("--poll-interval", self.poll_interval, pace, "100ms and 10m"),
            ("--cache-moving-for", self.cache_moving_for, hour.clone(), "0s and 1h"),
            ("--cache-terminal-for", self.cache_terminal_for, Duration::ZERO..=30 * day, "0s and 30d"),
            ("--cache-missing-for", self.cache_missing_for, Duration::ZERO..=minute, "0s and 1m"),
            ("--poll-interval-idle", poll_interval_idle, second..=60 * minute, "1s and 1h"),
            ("--resume-window", self.resume_window, Duration::ZERO..=day, "0s and 24h"),
            ("--ledger-retention", self.ledger_retention, minute..=90 * day, "1m and 90d"),
            ("--batch-max-age", self.batch_max_age, Duration::ZERO..=10 * second, "0s and 10s"),
            (
                "--reload-interval",
                self.reload_interval,
                Duration::from_millis(100)..=5 * minute,
                "100ms and 5m",
            ),
            (
                "--handshake-timeout",
                self.handshake_timeout,
                Duration::from_millis(100)..=minute,
                "100ms and 1m",
            ),
            ("--stream-idle-timeout", self.stream_idle_timeout, second..=60 * minute, "1s and 1h"),
            ("--connection-age-grace", self.connection_age_grace, Duration::ZERO..=day, "0s and 24h"),
            ("--drain-timeout", self.drain_timeout, hour.clone(), "0s and 1h"),
            ("--drain-delay", self.drain_delay, hour, "0s and 1h"),
        ] {
            if !bounds.contains(&value) {
                problems.push(ConfigError { flag, problem: format!("must lie between {words}") });
            }
        }
        let mut bytes = |flag, value: ByteSize, low: ByteSize, high: ByteSize| {
            if value < low || value > high {
                problems.push(ConfigError { flag, problem: format!("must lie between {low} and {high}") });
            }
            usize::try_from(value.as_u64()).unwrap_or(usize::MAX)
        };
        let batch_max_bytes =
            bytes("--batch-max-bytes", self.batch_max_bytes, ByteSize::kb(1), ByteSize::mib(16));
        let history_max_bytes = bytes(
            "--watch-history-max-bytes",
            self.watch_history_max_bytes,
            ByteSize::b(0),
            ByteSize::tib(1),
        );
        let cache_max_bytes =
            bytes("--cache-max-bytes", self.cache_max_bytes, ByteSize::b(0), ByteSize::tib(1));
        let place = self.place.place(self.sandbox);
        let in_file = place.as_ref().is_ok_and(|place| place.ledger != LedgerPlace::Memory);
        let max_bytes =
            self.ledger_max_bytes.unwrap_or(if in_file { FILE_MAX_BYTES } else { MEMORY_MAX_BYTES });
        let max_bytes = bytes("--ledger-max-bytes", max_bytes, ByteSize::mib(1), ByteSize::tib(1));
        let place = place.map_err(|problem| problems.push(problem));
        let connections = self.connections(&mut problems);
        let tls = self.tls(&mut problems);
        let workspace_keys = match &self.workspace_keys_file {
            Some(path) => workspace_keys::load(path).unwrap_or_else(|problem| {
                problems.push(ConfigError { flag: "--workspace-keys-file", problem });
                Vec::new()
            }),
            None => Vec::new(),
        };
        if self.upstream_bulk_concurrency > self.upstream_concurrency {
            problems.push(ConfigError {
                flag: "--upstream-bulk-concurrency",
                problem: "must not be above --upstream-concurrency".to_owned(),
            });
        }
        if self.access_file.is_some() && self.workspace_keys_file.is_some() {
            problems.push(ConfigError {
                flag: "--workspace-keys-file",
                problem: "has no use beside --access-file: give each workspace there its oldest key as \
                          first_key_file"
                    .to_owned(),
            });
        }
        let access = self.access_file.as_ref().and_then(|path| {
            let refuse = |problem| problems.push(ConfigError { flag: "--access-file", problem });
            Access::load(path).map_err(refuse).ok()
        });
        let upstream = upstream::Config::new(upstream_url).map_err(|fault| {
            problems.push(ConfigError { flag: "--upstream-url", problem: fault.to_string() })
        });
        match (upstream, place) {
            (Ok(mut upstream), Ok(place)) if problems.is_empty() => {
                upstream.batches = match self.upstream_batches {
                    Batches::Unproven => upstream::Batches::Unproven,
                    Batches::Atomic => upstream::Batches::Atomic,
                };
                upstream.rate = self.upstream_rate.and_then(NonZeroU32::new);
                upstream.poll_share = self.poll_share;
                upstream.concurrency = self.upstream_concurrency as usize;
                upstream.bulk_concurrency = self.upstream_bulk_concurrency as usize;
                Ok(Config {
                    upstream,
                    place,
                    ledger: ledger::Config { retention: self.ledger_retention, max_bytes },
                    workspace_keys,
                    access,
                    audience: audience::Limits {
                        batch_max_items: self.batch_max_items as usize,
                        batch_max_bytes,
                        batch_max_age: self.batch_max_age,
                        window: WINDOW,
                        singles_window: SINGLES_WINDOW,
                        doubt: audience::DoubtLimits {
                            in_a_row: self.doubts_in_a_row,
                            unresolved: self.doubt_limit,
                        },
                        proven_keys: self.upstream_idempotency == Idempotency::Proven,
                    },
                    cache: cache::Limits {
                        moving_for: self.cache_moving_for,
                        terminal_for: self.cache_terminal_for,
                        missing_for: self.cache_missing_for,
                        max_bytes: cache_max_bytes as u64,
                    },
                    watch: WatchConfig {
                        poll_interval: self.poll_interval,
                        poll_interval_idle,
                        poll_rate: self.poll_rate,
                        resume_window: self.resume_window,
                        history_max_bytes,
                        ..WatchConfig::default()
                    },
                    connections,
                    calls: Calls { max: self.max_calls as usize, stream_idle: self.stream_idle_timeout },
                    tls,
                    reload_interval: self.reload_interval,
                    drain_timeout: self.drain_timeout,
                    drain_delay: self.drain_delay,
                })
            }
            _ => Err(problems),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
        assert_eq!(
            check(&["--ledger=memory:", "--connection-max-age=0s"]).unwrap().connections.max_age,
            None
        );
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
            "--handshake-timeout=61s",
            "--stream-idle-timeout=1ms",
            "--connection-max-age=999ms",
            "--connection-age-grace=25h",
            "--reload-interval=6m",
        ] {
            let problem = check(&["--ledger=memory:", word]).unwrap_err();
            assert!(problem.contains(word.split('=').next().unwrap()), "{word}: {problem}");
        }
    }
}
