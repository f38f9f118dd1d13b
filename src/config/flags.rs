//! The flags of `serve`, as clap reads them. What their types cannot check, `check` does.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use clap::ValueEnum;

use super::{DEFAULT_UPSTREAM_URL, PlaceFlags};

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

    /// Address of the admin port: /livez, /readyz, /metrics, /buildinfo and a page for operators at /. Without
    /// it there is none. Keep it to those who run the service: it asks for no key
    #[arg(long, env = "BLUBASH_ADMIN_LISTEN", value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,

    /// How the log looks; json writes an object a line, with the ids of the trace that it belongs to
    #[arg(long, env = "BLUBASH_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Certificate of this server in PEM, followed by those between it and the root: serve TLS. Read anew when it
    /// changes, as are the other files of TLS
    #[arg(long, env = "BLUBASH_TLS_CERT_FILE", value_name = "PATH")]
    pub tls_cert_file: Option<PathBuf>,

    /// Its private key in PEM, for the user that runs this server only
    #[arg(long, env = "BLUBASH_TLS_KEY_FILE", value_name = "PATH")]
    pub tls_key_file: Option<PathBuf>,

    /// Certificates, in PEM, of who vouches for callers: each must bring a certificate of theirs. With --access-file
    /// they may, and others come with a token
    #[arg(long, env = "BLUBASH_TLS_CLIENT_CA_FILE", value_name = "PATH")]
    pub tls_client_ca_file: Option<PathBuf>,

    /// How often files that may change (certificates, keys, who may call) are looked at; 100ms to 5m
    #[arg(long, env = "BLUBASH_RELOAD_INTERVAL", value_name = "DURATION", default_value = "10s",
          value_parser = humantime::parse_duration)]
    pub reload_interval: Duration,

    /// Origin of web pages that may call by gRPC-Web, for example https://app.example; several: repeat it, or
    /// separate them by commas. Without it HTTP/2 alone is spoken
    #[arg(long, env = "BLUBASH_WEB_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub web_origin: Vec<String>,

    /// Most connections at once; a further one is closed as it comes. 1 to 1000000
    #[arg(long, env = "BLUBASH_MAX_CONNECTIONS", value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// Most calls at once of one connection; 1 to 100000
    #[arg(long, env = "BLUBASH_MAX_STREAMS", value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_streams: u32,

    /// Most calls at once until their answers begin, of all callers together; what is more is refused with
    /// OVERLOADED, reads already at 80 percent of it. 1 to 1000000
    #[arg(long, env = "BLUBASH_MAX_CALLS", value_name = "N", default_value_t = 2_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_calls: u32,

    /// Most of those calls of one workspace; 1 to 1000000
    #[arg(long, env = "BLUBASH_WORKSPACE_MAX_CALLS", value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub workspace_max_calls: u32,

    /// Most calls a second that a workspace may make here, with bursts of a second's worth; 1 to 1000000. Without
    /// it: as many as it likes
    #[arg(long, env = "BLUBASH_WORKSPACE_RATE", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub workspace_rate: Option<u32>,

    /// Longest time from a connection to its first bytes, and that a TLS handshake takes; 100ms to 1m
    #[arg(long, env = "BLUBASH_HANDSHAKE_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = humantime::parse_duration)]
    pub handshake_timeout: Duration,

    /// Longest time that a call waits for its caller's next message; 1s to 1h
    #[arg(long, env = "BLUBASH_STREAM_IDLE_TIMEOUT", value_name = "DURATION", default_value = "5m",
          value_parser = humantime::parse_duration)]
    pub stream_idle_timeout: Duration,

    /// Age at which a connection takes no new calls and its watches move on, so that callers spread over new
    /// servers; up to a tenth more or less. 0s (never) or 1s to 30d
    #[arg(long, env = "BLUBASH_CONNECTION_MAX_AGE", value_name = "DURATION", default_value = "30m",
          value_parser = humantime::parse_duration)]
    pub connection_max_age: Duration,

    /// How long the calls of such a connection may still take to end; 0s to 24h
    #[arg(long, env = "BLUBASH_CONNECTION_AGE_GRACE", value_name = "DURATION", default_value = "1h",
          value_parser = humantime::parse_duration)]
    pub connection_age_grace: Duration,

    /// Base URL of the Campaigns API; plain http is allowed to loopback only
    #[arg(long, env = "BLUBASH_UPSTREAM_URL", hide_env_values = true, value_name = "URL",
          default_value = DEFAULT_UPSTREAM_URL)]
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

    /// File that says who may call with which token or client certificate, in which workspaces, and where their
    /// API keys are: this server then holds the keys, and no caller sends one. Without it, callers send theirs
    /// as x-api-key
    #[arg(long, env = "BLUBASH_ACCESS_FILE", value_name = "PATH")]
    pub access_file: Option<PathBuf>,

    /// How old an answer about a message that may still change can be, and a first page or a count, unless the
    /// call's max_staleness says otherwise; 0s to 1h, and 0s asks the upstream each time
    #[arg(long, env = "BLUBASH_CACHE_MOVING_FOR", value_name = "DURATION", default_value = "2s",
          value_parser = humantime::parse_duration)]
    pub cache_moving_for: Duration,

    /// The same for a message that is SENT, FAILED or CANCELLED; nothing is kept for longer than the longer
    /// of the two. 0s to 30d
    #[arg(long, env = "BLUBASH_CACHE_TERMINAL_FOR", value_name = "DURATION", default_value = "1h",
          value_parser = humantime::parse_duration)]
    pub cache_terminal_for: Duration,

    /// Longest time that a message which the upstream does not know is answered for without asking again,
    /// whatever max_staleness says; 0s to 1m
    #[arg(long, env = "BLUBASH_CACHE_MISSING_FOR", value_name = "DURATION", default_value = "1s",
          value_parser = humantime::parse_duration)]
    pub cache_missing_for: Duration,

    /// Most bytes, about, of what was read that are kept, of all workspaces together; what is asked for
    /// least goes first. 0B to 1TiB, and 0B keeps nothing
    #[arg(long, env = "BLUBASH_CACHE_MAX_BYTES", value_name = "SIZE", default_value = "64MiB",
          value_parser = size)]
    pub cache_max_bytes: ByteSize,

    /// Fastest pace at which a watched campaign is polled, however many watch it; 100ms to 10m
    #[arg(long, env = "BLUBASH_POLL_INTERVAL", value_name = "DURATION", default_value = "2s",
          value_parser = humantime::parse_duration)]
    pub poll_interval: Duration,

    /// Slowest pace of polling, which a campaign comes to where nothing moves; 1s to 1h, and at least
    /// --poll-interval. Without it: 60s, or --poll-interval where that is more
    #[arg(long, env = "BLUBASH_POLL_INTERVAL_IDLE", value_name = "DURATION",
          value_parser = humantime::parse_duration)]
    pub poll_interval_idle: Option<Duration>,

    /// Most calls a second that polling makes for one campaign, on average; 1 to 10000
    #[arg(long, env = "BLUBASH_POLL_RATE", value_name = "N", default_value_t = 40,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub poll_rate: u32,

    /// Most of --upstream-rate that polling uses, in percent; 1 to 100
    #[arg(long, env = "BLUBASH_POLL_SHARE", value_name = "PERCENT", default_value_t = 25,
          value_parser = clap::value_parser!(u8).range(1..=100))]
    pub poll_share: u8,

    /// How long after its last watcher left a campaign's history is kept, without polling, so that a
    /// resume_token goes on where it was; 0s to 24h, and 0s drops it at once
    #[arg(long, env = "BLUBASH_RESUME_WINDOW", value_name = "DURATION", default_value = "10m",
          value_parser = humantime::parse_duration)]
    pub resume_window: Duration,

    /// Most bytes of such histories, about, of all campaigns that nobody watches; the one kept longest goes
    /// first. 0B to 1TiB
    #[arg(long, env = "BLUBASH_WATCH_HISTORY_MAX_BYTES", value_name = "SIZE", default_value = "256MiB",
          value_parser = size)]
    pub watch_history_max_bytes: ByteSize,

    /// Most items in one upstream call; 1 to 10000
    #[arg(long, env = "BLUBASH_BATCH_MAX_ITEMS", value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch_max_items: u32,

    /// Most bytes in one upstream call's body; 1kB to 16MiB
    #[arg(long, env = "BLUBASH_BATCH_MAX_BYTES", value_name = "SIZE", default_value = "90kB",
          value_parser = size)]
    pub batch_max_bytes: ByteSize,

    /// Longest time that an item waits for others to fill its batch; 0s to 10s
    #[arg(long, env = "BLUBASH_BATCH_MAX_AGE", value_name = "DURATION", default_value = "100ms",
          value_parser = humantime::parse_duration)]
    pub batch_max_age: Duration,

    /// Most requests a second that a workspace sends upstream, with bursts of a second's worth. Without it:
    /// as many as it has
    #[arg(long, env = "BLUBASH_UPSTREAM_RATE", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub upstream_rate: Option<u32>,

    /// Most calls of a workspace on their way upstream at once; 1 to 65536
    #[arg(long, env = "BLUBASH_UPSTREAM_CONCURRENCY", value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub upstream_concurrency: u32,

    /// Most batches of a workspace among those calls, so that imports leave room for lookups; 1 to
    /// --upstream-concurrency
    #[arg(long, env = "BLUBASH_UPSTREAM_BULK_CONCURRENCY", value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub upstream_bulk_concurrency: u32,

    /// So many batches of a campaign in doubt one after the other, for want of an answer, and sending to it
    /// stops but for one item now and then, until an answer is clean; 1 to 1000
    #[arg(long, env = "BLUBASH_DOUBTS_IN_A_ROW", value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub doubts_in_a_row: u32,

    /// So many unresolved items in doubt in a campaign, and sending to it stops until an operator has
    /// resolved some (`blubash-grpc ledger`); 1 to 1000000000
    #[arg(long, env = "BLUBASH_DOUBT_LIMIT", value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub doubt_limit: u64,

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

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
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
