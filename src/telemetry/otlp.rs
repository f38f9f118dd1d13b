//! What leaves for a collector, as the standard OTEL_ variables say. Those that the SDK does not read by itself
//! (which exporters, whether at all) are read here.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{MetricExporter, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider},
    trace::SdkTracerProvider,
};

/// What the process is told to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) traces: bool,
    pub(super) metrics: bool,
}

/// Which protocol a signal goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Why telemetry cannot start: the variable, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(String);

impl Wanted {
    /// Reads the variables: a signal is sent where its exporter is `otlp`, or where nothing is said of it and an
    /// endpoint is named.
    pub(super) fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        if var("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        let wanted = |signal: &str| {
            let exporter = format!("OTEL_{signal}_EXPORTER");
            match var(&exporter).as_deref() {
                Some("otlp") => Ok(true),
                Some("none") => Ok(false),
                Some(_) => Err(Fault(format!("{exporter}: this service knows \"otlp\" and \"none\""))),
                None => Ok(var("OTEL_EXPORTER_OTLP_ENDPOINT").is_some()
                    || var(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")).is_some()),
            }
        };
        Ok(Self { traces: wanted("TRACES")?, metrics: wanted("METRICS")? })
    }
}

impl Protocol {
    fn of(signal: &str, var: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
        let named = [own.as_str(), "OTEL_EXPORTER_OTLP_PROTOCOL"];
        let said = named.iter().find_map(|name| var(name).filter(|value| !value.is_empty()));
        match said.as_deref() {
            None | Some("http/protobuf") => Ok(Self::HttpProtobuf),
            Some("grpc") => Ok(Self::Grpc),
            Some(_) => Err(Fault(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL: this service speaks \"grpc\" and \"http/protobuf\" ({signal})"
            ))),
        }
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What is said of the process with every span and metric; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say more.
pub(super) fn resource() -> Resource {
    let named = env("OTEL_SERVICE_NAME").is_some()
        || env("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|said| said.contains("service.name="));
    let builder =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named { builder } else { builder.with_service_name("blubash-grpc") }.build()
}

/// Whether the variables can be used.
pub(super) fn check() -> Result<(), Fault> {
    let wanted = Wanted::read(env)?;
    for (signal, is_wanted) in [("TRACES", wanted.traces), ("METRICS", wanted.metrics)] {
        if is_wanted {
            Protocol::of(signal, env)?;
        }
    }
    Ok(())
}

/// What takes spans to the collector. To be called inside the runtime.
pub(super) fn traces() -> Result<SdkTracerProvider, Fault> {
    let builder = SpanExporter::builder();
    let exporter = match Protocol::of("TRACES", env)? {
        Protocol::Grpc => builder.with_tonic().build(),
        Protocol::HttpProtobuf => builder.with_http().build(),
    };
    let exporter = exporter.map_err(|error| Fault(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}")))?;
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build())
}

/// Adds what takes metrics to the collector. To be called inside the runtime.
pub(super) fn metrics(builder: MeterProviderBuilder) -> Result<MeterProviderBuilder, Fault> {
    let exporter = MetricExporter::builder();
    let exporter = match Protocol::of("METRICS", env)? {
        Protocol::Grpc => exporter.with_tonic().build(),
        Protocol::HttpProtobuf => exporter.with_http().build(),
    };
    let exporter = exporter.map_err(|error| Fault(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}")))?;
    Ok(builder.with_reader(PeriodicReader::builder(exporter).build()))
}

/// Sends what is left, for so long at most: a collector that is gone holds no process up.
pub(super) fn flush(traces: Option<SdkTracerProvider>, metrics: Option<SdkMeterProvider>, within: Duration) {
    if let Some(Err(error)) = traces.map(|traces| traces.shutdown_with_timeout(within)) {
        tracing::warn!(%error, "the last spans could not be sent");
    }
    if let Some(Err(error)) = metrics.map(|metrics| metrics.shutdown_with_timeout(within)) {
        tracing::warn!(%error, "the last metrics could not be sent");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)]) -> Result<Wanted, Fault> {
        Wanted::read(|name| {
            said.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_sent_unless_an_endpoint_or_an_exporter_is_named() {
        assert_eq!(read(&[]).unwrap(), Wanted::default());
        let all = Wanted { traces: true, metrics: true };
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")]).unwrap(), all);
        let endpoint = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:4318/v1/traces");
        assert_eq!(read(&[endpoint]).unwrap(), Wanted { traces: true, metrics: false });
        assert_eq!(read(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]).unwrap(), Wanted::default());
        assert!(read(&[("OTEL_METRICS_EXPORTER", "otlp")]).unwrap().metrics);
        let disabled = [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "otlp")];
        assert_eq!(read(&disabled).unwrap(), Wanted::default());
    }

    #[test]
    fn an_exporter_or_protocol_that_is_not_known_is_refused_by_its_variable() {
        let fault = read(&[("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err().to_string();
        assert!(fault.contains("OTEL_TRACES_EXPORTER"), "{fault}");
        let json = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| "http/json".to_owned());
        assert!(
            Protocol::of("TRACES", json).unwrap_err().to_string().contains("OTEL_EXPORTER_OTLP_PROTOCOL")
        );
        let grpc = |name: &str| (name == "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").then(|| "grpc".to_owned());
        assert_eq!(Protocol::of("TRACES", grpc).unwrap(), Protocol::Grpc);
        assert_eq!(Protocol::of("METRICS", grpc).unwrap(), Protocol::HttpProtobuf);
    }
}
