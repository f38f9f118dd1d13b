//! What is measured. The instruments are made once, at the first use, from the meter that `telemetry::start` has
//! installed by then; without one they cost next to nothing.

use std::{sync::LazyLock, time::Duration};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram},
};

use super::names::{attribute, metric};

/// The bounds that the semantic conventions give for durations, in seconds.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bounds for what a disk does, in seconds.
const DISK_SECONDS: [f64; 10] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

/// What became of a read that the cache was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheResult {
    /// It was kept.
    Hit,
    /// It was on its way for another caller.
    Shared,
    /// The upstream was asked for it.
    Miss,
}

/// The instruments.
pub(crate) struct Metrics {
    rpc: Histogram<f64>,
    http: Histogram<f64>,
    retries: Counter<u64>,
    throttled: Counter<u64>,
    unknown_statuses: Counter<u64>,
    cache: Counter<u64>,
    cache_results: [[KeyValue; 1]; 3],
    dispositions: Counter<u64>,
    schedule_mismatches: Counter<u64>,
    poll_calls: Counter<u64>,
    poll_failures: Counter<u64>,
    ledger_commits: Histogram<f64>,
    reloads: Counter<u64>,
    connections_refused: Counter<u64>,
    shed: Counter<u64>,
}

/// The instruments of this process.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let meter = global::meter("blubash-grpc");
        let seconds = |name, what, bounds: &[f64]| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(what)
                .with_boundaries(bounds.to_vec())
                .build()
        };
        let counter = |name, what| meter.u64_counter(name).with_description(what).build();
        let result = |word| [KeyValue::new(attribute::RESULT, word)];
        let build = [
            KeyValue::new("version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("iana_release", chrono_tz::IANA_TZDB_VERSION),
        ];
        meter
            .u64_gauge(metric::BUILD_INFO)
            .with_description("1, with the version and the release of the IANA time zone database")
            .build()
            .record(1, &build);
        let metrics = Self {
            rpc: seconds(metric::RPC_DURATION, "Duration of calls to this service", &SECONDS),
            http: seconds(metric::HTTP_DURATION, "Duration of attempts at the upstream", &SECONDS),
            retries: counter(metric::RETRIES, "Attempts at the upstream beyond the first of a call"),
            throttled: counter(metric::THROTTLED, "Attempts that the upstream answered with 429"),
            unknown_statuses: counter(
                metric::UNKNOWN_STATUSES,
                "Messages in a status that this version does not know",
            ),
            cache: counter(metric::CACHE_REQUESTS, "Reads, by what became of them at the cache"),
            cache_results: [result("hit"), result("shared"), result("miss")],
            dispositions: counter(
                metric::DISPOSITIONS,
                "Items told, by their disposition; replayed ones too",
            ),
            schedule_mismatches: counter(
                metric::SCHEDULE_MISMATCHES,
                "Messages that the upstream scheduled for another instant than the IANA database gives",
            ),
            poll_calls: counter(metric::POLL_CALLS, "Calls that polling made to the upstream"),
            connections_refused: counter(
                metric::CONNECTIONS_REFUSED,
                "Connections that were closed before they could make a call, by why",
            ),
            shed: counter(
                metric::CALLS_SHED,
                "Calls refused before anything was done, for want of a place; they count in no duration",
            ),
            poll_failures: counter(metric::POLL_FAILURES, "Rounds of polling that failed"),
            ledger_commits: seconds(
                metric::LEDGER_COMMITS,
                "Duration of the ledger's commits to its file",
                &DISK_SECONDS,
            ),
            reloads: counter(
                metric::RELOADS,
                "Looks at files that are read anew which found them changed, or refused them",
            ),
        };
        metrics.begin_at_nothing();
        metrics
    }

    /// What has not happened yet shows as 0, so that its first time shows as a rise.
    fn begin_at_nothing(&self) {
        for counter in [
            &self.retries,
            &self.throttled,
            &self.unknown_statuses,
            &self.schedule_mismatches,
            &self.poll_calls,
            &self.poll_failures,
        ] {
            counter.add(0, &[]);
        }
        for reason in ["full", "handshake", "slow"] {
            self.connections_refused.add(0, &[KeyValue::new(attribute::REASON, reason)]);
        }
        for kind in ["read", "write", "workspace"] {
            self.shed.add(0, &[KeyValue::new(attribute::KIND, kind)]);
        }
        for (what, result) in
            [("access", "changed"), ("access", "refused"), ("tls", "changed"), ("tls", "refused")]
        {
            self.reloads
                .add(0, &[KeyValue::new(attribute::WHAT, what), KeyValue::new(attribute::RESULT, result)]);
        }
    }

    /// A call to this service has ended. `failed`: the code is one that says so of the server.
    pub(crate) fn rpc(&self, took: Duration, method: &'static str, code: &'static str, failed: bool) {
        let attributes = [
            KeyValue::new(attribute::RPC_SYSTEM, "grpc"),
            KeyValue::new(attribute::RPC_METHOD, method),
            KeyValue::new(attribute::RPC_STATUS, code),
            KeyValue::new(attribute::ERROR_TYPE, code),
        ];
        // The last one only where there is an error.
        let count = attributes.len() - usize::from(!failed);
        self.rpc.record(took.as_secs_f64(), &attributes[..count]);
    }

    /// An attempt at the upstream has ended, with a status or for a reason that there is none.
    pub(crate) fn http(
        &self,
        took: Duration,
        method: &'static str,
        template: &'static str,
        ended: Result<u16, &'static str>,
    ) {
        let outcome = match ended {
            Ok(status) => KeyValue::new(attribute::HTTP_STATUS, i64::from(status)),
            Err(why) => KeyValue::new(attribute::ERROR_TYPE, why),
        };
        let attributes = [
            KeyValue::new(attribute::HTTP_METHOD, method),
            KeyValue::new(attribute::URL_TEMPLATE, template),
            outcome,
        ];
        self.http.record(took.as_secs_f64(), &attributes);
        if ended == Ok(429) {
            self.throttled.add(1, &[]);
        }
    }

    /// A call is tried once more.
    pub(crate) fn retry(&self) {
        self.retries.add(1, &[]);
    }

    /// So many messages were in a status that this version does not know.
    pub(crate) fn unknown_statuses(&self, count: u64) {
        self.unknown_statuses.add(count, &[]);
    }

    /// A read came to the cache.
    pub(crate) fn cache(&self, result: CacheResult) {
        self.cache.add(1, &self.cache_results[result as usize]);
    }

    /// So many items were told with each disposition.
    pub(crate) fn dispositions(&self, told: &[(&'static str, u64)]) {
        for (disposition, count) in told.iter().filter(|(_, count)| *count > 0) {
            self.dispositions.add(*count, &[KeyValue::new(attribute::DISPOSITION, *disposition)]);
        }
    }

    /// The upstream scheduled a message for another instant than it should have.
    pub(crate) fn schedule_mismatch(&self) {
        self.schedule_mismatches.add(1, &[]);
    }

    /// Polling made a call.
    pub(crate) fn poll_call(&self) {
        self.poll_calls.add(1, &[]);
    }

    /// A round of polling failed.
    pub(crate) fn poll_failure(&self) {
        self.poll_failures.add(1, &[]);
    }

    /// A look at files that are read anew found them changed, or had to refuse them.
    pub(crate) fn reload(&self, what: &'static str, result: &'static str) {
        self.reloads
            .add(1, &[KeyValue::new(attribute::WHAT, what), KeyValue::new(attribute::RESULT, result)]);
    }

    /// A connection was closed before it could make a call.
    pub(crate) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.add(1, &[KeyValue::new(attribute::REASON, reason)]);
    }

    /// A call was refused for want of a place for its kind, or by its workspace's share.
    pub(crate) fn shed(&self, kind: &'static str) {
        self.shed.add(1, &[KeyValue::new(attribute::KIND, kind)]);
    }

    /// The ledger has committed.
    pub(crate) fn ledger_commit(&self, took: Duration) {
        self.ledger_commits.record(took.as_secs_f64(), &[]);
    }
}

/// Lets whoever collects metrics look at a number whenever it does.
pub(crate) fn watch(
    name: &'static str,
    what: &'static str,
    number: impl Fn() -> u64 + Send + Sync + 'static,
) {
    global::meter("blubash-grpc")
        .u64_observable_gauge(name)
        .with_description(what)
        .with_callback(move |gauge| gauge.observe(number(), &[]))
        .build();
}
