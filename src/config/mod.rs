//! What `serve` can be told: a file, variables and flags in, plain and checked component settings out.

mod command;
mod file;
mod flags;
mod layers;
#[cfg(test)]
mod layers_tests;
mod listening;
mod place;
mod settings;
mod workspace_keys;

use std::{num::NonZeroU32, time::Duration};

use bytesize::ByteSize;

pub use self::{
    command::strangers,
    flags::{Batches, Flags, Idempotency, LogFormat},
    layers::{Problem, Reading, Refused, Useless, read},
    listening::{Calls, Connections},
    place::{LedgerPlace, Place, PlaceFlags},
    settings::{Origin, Setting, Settings},
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
        // Not clap's to refuse: it counts a variable that says `false` as given.
        if self.sandbox && self.upstream_url != DEFAULT_UPSTREAM_URL {
            problems.push(ConfigError {
                flag: "--sandbox",
                problem: "cannot be used with --upstream-url: choose the emulator, or an upstream".to_owned(),
            });
        }
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
                    calls: self.calls(),
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
mod tests;
