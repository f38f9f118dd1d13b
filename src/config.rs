//! What `serve` can be told: flags and variables in, plain and checked component settings out.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use bytesize::ByteSize;
use clap::ValueEnum;

use crate::{campaigns::audience, ledger, upstream};

/// The vendor's base URL (the Campaigns API page).
pub const DEFAULT_UPSTREAM_URL: &str = "https://api.blubash.io/api/v1/campaigns";

/// The most batches of one ingestion in flight, once a clean answer has shown that batches work.
const WINDOW: usize = 4;

/// The same where batches hold one item each.
const SINGLES_WINDOW: usize = 16;

/// The flags of `blubash-grpc serve`. Each has a variable of the same name.
#[derive(Clone, Debug, clap::Args)]
// Its own name would collide with the sandbox's flags on one command.
#[group(skip)]
pub struct Flags {
    /// Address to serve gRPC on; port 0 picks a free one
    #[arg(long, env = "BLUBASH_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,

    /// Write the bound address to this file once callers can connect, for scripts that use port 0
    #[arg(long, env = "BLUBASH_PORT_FILE", value_name = "PATH")]
    pub port_file: Option<PathBuf>,

    /// Base URL of the Campaigns API; plain http is allowed to loopback only
    #[arg(long, env = "BLUBASH_UPSTREAM_URL", value_name = "URL", default_value = DEFAULT_UPSTREAM_URL)]
    pub upstream_url: String,

    /// Start an emulator of the Campaigns API in this process and serve it: nobody is messaged
    #[arg(long, env = "BLUBASH_SANDBOX", value_parser = clap::builder::BoolishValueParser::new())]
    pub sandbox: bool,

    /// Where to remember what was sent: `memory:` forgets with the process. (`file:PATH` comes with the
    /// next version.)
    #[arg(long, env = "BLUBASH_LEDGER", value_name = "memory:|file:PATH", default_value = "memory:")]
    pub ledger: LedgerPlace,

    /// How long after its last use a request_id is remembered; 1m to 90d
    #[arg(long, env = "BLUBASH_LEDGER_RETENTION", value_name = "DURATION", default_value = "7d",
          value_parser = humantime::parse_duration)]
    pub ledger_retention: Duration,

    /// How much memory the ledger may take; full, it refuses and nothing is sent. 256 MiB hold about a
    /// million items
    #[arg(long, env = "BLUBASH_LEDGER_MAX_BYTES", value_name = "SIZE", default_value = "256MiB",
          value_parser = size)]
    pub ledger_max_bytes: ByteSize,

    /// File with the server's 32-byte secret (64 hex digits), made at the first start; page tokens hold
    /// as long as it does. Without it: a new secret at every start
    #[arg(long, env = "BLUBASH_SECRET_FILE", value_name = "PATH")]
    pub secret_file: Option<PathBuf>,

    /// Fastest pace at which a watched campaign is polled, however many watch it; 100ms to 10m
    #[arg(long, env = "BLUBASH_POLL_INTERVAL", value_name = "DURATION", default_value = "2s",
          value_parser = humantime::parse_duration)]
    pub poll_interval: Duration,

    /// Most items in one upstream call; 1 to 10000
    #[arg(long, env = "BLUBASH_BATCH_MAX_ITEMS", value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_max_items: u32,

    /// Most bytes in one upstream call's body; 1kB to 16MiB
    #[arg(long, env = "BLUBASH_BATCH_MAX_BYTES", value_name = "SIZE", default_value = "90kB",
          value_parser = size)]
    pub batch_max_bytes: ByteSize,

    /// Whether the upstream is known to refuse a batch as a whole when one item of it is bad
    #[arg(long, env = "BLUBASH_UPSTREAM_BATCHES", value_name = "BELIEF", default_value = "unproven")]
    pub upstream_batches: Batches,

    /// Whether the upstream is known to honour X-Idempotency-Key on adds, so that a batch in doubt may be
    /// sent again. Declared falsely, people are messaged twice
    #[arg(long, env = "BLUBASH_UPSTREAM_IDEMPOTENCY", value_name = "BELIEF", default_value = "unproven")]
    pub upstream_idempotency: Idempotency,

    /// How long calls in flight may take to end after SIGTERM or Ctrl-C
    #[arg(long, env = "BLUBASH_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s",
          value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,

    /// How long to report NOT_SERVING before new connections are refused, so that balancers notice
    #[arg(long, env = "BLUBASH_DRAIN_DELAY", value_name = "DURATION", default_value = "0s",
          value_parser = humantime::parse_duration)]
    pub drain_delay: Duration,
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "expected a size, for example 90kB or 256MiB".to_owned())
}

/// Where the ledger lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerPlace {
    /// In this process, forgotten with it.
    Memory,
}

impl FromStr for LedgerPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("file", _)) => {
                Err("a ledger in a file comes with the next version; until then: memory:".to_owned())
            }
            _ => Err("expected memory:".to_owned()),
        }
    }
}

/// What is known of the upstream's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Batches {
    /// Nothing: a refused batch may have been applied in part, so its items are in doubt.
    Unproven,
    /// A batch is refused as a whole: it is halved until the bad item is found.
    Atomic,
}

/// What is known of the upstream's idempotency keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Idempotency {
    /// Nothing: keys are sent and never relied on.
    Unproven,
    /// They are honoured: a batch in doubt is sent again under its key.
    Proven,
}

/// A setting that cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: {problem}")]
pub struct ConfigError {
    flag: &'static str,
    problem: String,
}

/// Checked settings, a part for each component.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where calls go.
    pub upstream: upstream::Config,
    /// How much is remembered.
    pub ledger: ledger::Config,
    /// How an ingestion is sent.
    pub audience: audience::Limits,
    /// The fastest pace of watching.
    pub poll_interval: Duration,
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
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        let (pace, hour) = (Duration::from_millis(100)..=10 * minute, Duration::ZERO..=60 * minute);
        // The bounds in words as people write them: humantime would say "2months 29days".
        for (flag, value, bounds, words) in [
            ("--poll-interval", self.poll_interval, pace, "100ms and 10m"),
            ("--ledger-retention", self.ledger_retention, minute..=90 * day, "1m and 90d"),
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
        let max_bytes =
            bytes("--ledger-max-bytes", self.ledger_max_bytes, ByteSize::mib(1), ByteSize::tib(1));
        let upstream = upstream::Config::new(upstream_url).map_err(|fault| {
            problems.push(ConfigError { flag: "--upstream-url", problem: fault.to_string() })
        });
        match upstream {
            Ok(mut upstream) if problems.is_empty() => {
                upstream.batches = match self.upstream_batches {
                    Batches::Unproven => upstream::Batches::Unproven,
                    Batches::Atomic => upstream::Batches::Atomic,
                };
                Ok(Config {
                    upstream,
                    ledger: ledger::Config { retention: self.ledger_retention, max_bytes },
                    audience: audience::Limits {
                        batch_max_items: self.batch_max_items as usize,
                        batch_max_bytes,
                        batch_max_age: Duration::from_millis(100),
                        window: WINDOW,
                        singles_window: SINGLES_WINDOW,
                        doubt: audience::DoubtLimits::default(),
                        proven_keys: self.upstream_idempotency == Idempotency::Proven,
                    },
                    poll_interval: self.poll_interval,
                    drain_timeout: self.drain_timeout,
                    drain_delay: self.drain_delay,
                })
            }
            _ => Err(problems),
        }
    }
}
