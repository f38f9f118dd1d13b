//! What `serve` can be told: flags and variables in, plain and checked component settings out.

mod place;
mod workspace_keys;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::ValueEnum;

pub use self::place::{LedgerPlace, Place, PlaceFlags};
use crate::{campaigns::audience, ledger, model::ApiKey, upstream};

/// The vendor's base URL (the Campaigns API page).
pub const DEFAULT_UPSTREAM_URL: &str = "https://api.blubash.io/api/v1/campaigns";

/// The most batches of one ingestion in flight, once a clean answer has shown that batches work.
const WINDOW: usize = 4;

/// What the ledger may take where nobody says.
const MEMORY_MAX_BYTES: ByteSize = ByteSize::mib(256);
const FILE_MAX_BYTES: ByteSize = ByteSize::gib(8);

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

    #[command(flatten)]
    #[allow(missing_docs)] // The flags in it say what they are.
    pub place: PlaceFlags,

    /// How long after its last use a request_id is remembered; 1m to 90d
    #[arg(long, env = "BLUBASH_LEDGER_RETENTION", value_name = "DURATION", default_value = "7d",
          value_parser = humantime::parse_duration)]
    pub ledger_retention: Duration,

    /// How much the ledger may take, of memory or of the disk; full, it refuses and nothing is sent. 1MiB
    /// to 1TiB. Without it: 256MiB of memory, for about a million items; 8GiB of the disk
    #[arg(long, env = "BLUBASH_LEDGER_MAX_BYTES", value_name = "SIZE", value_parser = size)]
    pub ledger_max_bytes: Option<ByteSize>,

    /// File that names old and new API keys of a workspace as one, so that a request_id holds for all of
    /// them: a line a workspace, its keys with spaces between them, the oldest first; # begins a comment
    /// line. For the user that runs this server only (mode 0600 or 0400)
    #[arg(long, env = "BLUBASH_WORKSPACE_KEYS_FILE", value_name = "PATH")]
    pub workspace_keys_file: Option<PathBuf>,

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
    /// Where the ledger lives, with its secret and its socket.
    pub place: Place,
    /// How much is remembered.
    pub ledger: ledger::Config,
    /// Lists of keys that open the same workspace, which the first of each names.
    pub workspace_keys: Vec<Vec<ApiKey>>,
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
        let place = self.place.place(self.sandbox);
        let in_file = place.as_ref().is_ok_and(|place| place.ledger != LedgerPlace::Memory);
        let max_bytes =
            self.ledger_max_bytes.unwrap_or(if in_file { FILE_MAX_BYTES } else { MEMORY_MAX_BYTES });
        let max_bytes = bytes("--ledger-max-bytes", max_bytes, ByteSize::mib(1), ByteSize::tib(1));
        let place = place.map_err(|problem| problems.push(problem));
        let workspace_keys = match &self.workspace_keys_file {
            Some(path) => workspace_keys::load(path).unwrap_or_else(|problem| {
                problems.push(ConfigError { flag: "--workspace-keys-file", problem });
                Vec::new()
            }),
            None => Vec::new(),
        };
        let upstream = upstream::Config::new(upstream_url).map_err(|fault| {
            problems.push(ConfigError { flag: "--upstream-url", problem: fault.to_string() })
        });
        match (upstream, place) {
            (Ok(mut upstream), Ok(place)) if problems.is_empty() => {
                upstream.batches = match self.upstream_batches {
                    Batches::Unproven => upstream::Batches::Unproven,
                    Batches::Atomic => upstream::Batches::Atomic,
                };
                Ok(Config {
                    upstream,
                    place,
                    ledger: ledger::Config { retention: self.ledger_retention, max_bytes },
                    workspace_keys,
                    audience: audience::Limits {
                        batch_max_items: self.batch_max_items as usize,
                        batch_max_bytes,
                        window: WINDOW,
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
