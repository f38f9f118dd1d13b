//! What the process says of itself: logs on stderr, traces and metrics for a collector, metrics for whoever
//! scrapes them. Where nobody collects, no span is made and no instrument counts.

mod json;
mod metrics;
pub(crate) mod names;
mod otlp;
pub(crate) mod trace;

use std::{io::IsTerminal as _, time::Duration};

use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_sdk::{metrics::SdkMeterProvider, trace::SdkTracerProvider};
use prometheus::{Encoder as _, Registry, TextEncoder};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub(crate) use self::metrics::{CacheResult, metrics, watch};
use self::otlp::{Fault, Wanted};

/// These print headers and frames below INFO, and so keys and personal data: RUST_LOG cannot open them.
const CAPPED: [&str; 6] = ["hyper", "hyper_util", "h2", "reqwest", "rustls", "tonic"];

/// What the last spans and metrics get to leave, each.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(3);

/// What has been started, and is to be ended in order.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
    registry: Option<Registry>,
}

/// Starts logging to stderr, as RUST_LOG asks (default: info), and, as the OTEL_ variables ask, traces and metrics.
/// `json`: an object a line. `scraped`: somebody may ask for the metrics. To be called inside the runtime.
///
/// # Errors
/// Where an OTEL_ variable cannot be used.
pub(crate) fn start(json: bool, scraped: bool) -> Result<Telemetry, Fault> {
    let wanted = Wanted::read(|name| std::env::var(name).ok())?;
    // The exporters' own clients need one; a second installation is no fault.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let traces = wanted.traces.then(otlp::traces).transpose()?;
    let (metrics, registry) = meters(wanted.metrics, scraped)?;
    log(json, traces.as_ref());
    if let Some(metrics) = &metrics {
        global::set_meter_provider(metrics.clone());
    }
    Ok(Telemetry { traces, metrics, registry })
}

/// Whether the OTEL_ variables can be used, without starting anything.
///
/// # Errors
/// The one that cannot.
pub(crate) fn check() -> Result<(), Fault> {
    otlp::check()
}

/// Starts logging alone.
pub(crate) fn log_only() {
    log(false, None);
}

fn meters(sent: bool, scraped: bool) -> Result<(Option<SdkMeterProvider>, Option<Registry>), Fault> {
    if !sent && !scraped {
        return Ok((None, None));
    }
    let mut builder = SdkMeterProvider::builder().with_resource(otlp::resource());
    if sent {
        builder = otlp::metrics(builder)?;
    }
    let mut registry = None;
    if scraped {
        let own = Registry::new();
        let reader = opentelemetry_prometheus::exporter().with_registry(own.clone()).build();
        // Only a name that is taken could be refused, and the registry is new.
        if let Ok(reader) = reader {
            builder = builder.with_reader(reader);
            registry = Some(own);
        }
    }
    Ok((Some(builder.build()), registry))
}

fn log(json: bool, traces: Option<&SdkTracerProvider>) {
    let asked = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let caps = CAPPED.iter().fold(Targets::new().with_default(LevelFilter::TRACE), |caps, name| {
        caps.with_target(*name, LevelFilter::INFO)
    });
    // Spans are for the collector; what they say is no line of a log.
    let caps = caps.with_target(names::SPANS, LevelFilter::OFF);
    let stderr = if json {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(json::Lines);
        lines.with_writer(std::io::stderr).boxed()
    } else {
        let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
    };
    let spans = traces.map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer("blubash-grpc"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            // Spans find their parents among tracing's own, and what goes upstream is asked of the span: nothing here
            // needs OpenTelemetry's current context, which would change with each poll of each future.
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(names::SPANS, LevelFilter::TRACE))
    });
    // A second subscriber (tests install their own) is no reason to fail.
    let _ = tracing_subscriber::registry().with(stderr.with_filter(asked.and(caps))).with(spans).try_init();
}

impl Telemetry {
    /// Whether anybody collects metrics.
    pub(crate) fn is_measured(&self) -> bool {
        self.metrics.is_some()
    }

    /// A way to scrape; `None` where nobody was to ask for the metrics.
    pub(crate) fn scraper(&self) -> Option<Scraper> {
        self.registry.clone().map(Scraper)
    }

    /// Sends what is left. Off the workers of the runtime: it blocks.
    pub(crate) async fn end(self) {
        let Self { traces, metrics, .. } = self;
        let flushed = tokio::task::spawn_blocking(|| otlp::flush(traces, metrics, LAST_SPANS_WITHIN));
        let _ = tokio::time::timeout(2 * LAST_SPANS_WITHIN, flushed).await;
    }
}

/// The metrics as Prometheus reads them.
#[derive(Clone)]
pub(crate) struct Scraper(Registry);

impl Scraper {
    pub(crate) fn scrape(&self) -> Option<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text).ok()?;
        String::from_utf8(text).ok()
    }
}
