//! Traces that join: the caller's `traceparent` in, ours out. Never baggage: what callers write there is not the
//! vendor's to read.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Makes the caller's span, if it named one, the parent of this one.
pub(crate) fn join(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let parent = TraceContextPropagator::new().extract(&Headers(headers));
    if parent.span().span_context().is_valid() {
        let _ = span.set_parent(parent);
    }
}

/// Carries this span on in a request.
pub(crate) fn carry_on(span: &Span, headers: &mut HeaderMap) {
    if span.is_disabled() {
        return;
    }
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(headers));
}

/// A span that others point at, without keeping it from ending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link(Option<SpanContext>);

impl Link {
    /// The span that is current here.
    pub(crate) fn here() -> Self {
        let span = Span::current();
        if span.is_disabled() {
            return Self(None);
        }
        let context = span.context();
        Self(Some(context.span().span_context().clone()).filter(SpanContext::is_valid))
    }

    /// Makes a span point at it.
    pub(crate) fn add_to(&self, span: &Span) {
        if let Some(context) = self.0.clone().filter(|_| !span.is_disabled()) {
            span.add_link(context);
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
