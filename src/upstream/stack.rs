//! The one stack between an operation and the wire, top-down.

use std::{convert::Infallible, sync::Arc};

use tokio::time::{Instant, timeout, timeout_at};
use tower::{
    Service, ServiceBuilder, ServiceExt as _, layer::layer_fn, service_fn, util::BoxCloneSyncService,
};

use tracing::{Span, field::Empty};

use super::{
    config::Batches,
    evidence::{Broken, Evidence},
    lane::Leave,
    request::Call,
    retry::Retry,
};
use crate::{
    clock::Clock,
    error::Error,
    telemetry::{metrics, names, trace},
};

/// The stack: evidence, or this server's own reason to stop waiting.
pub(super) type Stack = BoxCloneSyncService<Call, Evidence, Error>;

pub(super) fn stack<T>(transport: T, batches: Batches, clock: Clock) -> Stack
where
    T: Service<Call, Response = Evidence, Error = Infallible> + Clone + Send + Sync + 'static,
    T::Future: Send,
{
    ServiceBuilder::new()
        // The transport's type ends here: nobody above needs to know it.
        .layer_fn(BoxCloneSyncService::new)
        // A caller waits for all attempts of a read together, and never past its own deadline.
        .layer(layer_fn(operation_timeout))
        // Every attempt below has the same bytes, key and idempotency key.
        .retry(Retry::new(batches, clock))
        // An open circuit spends no token, and one workspace waits for none of another's. Each attempt asks
        // anew: what was learned while the last one failed holds for the next.
        .layer(layer_fn(move |inner| lane(inner, clock)))
        // One hanging connection must not eat the time of the attempts that could still succeed.
        .layer(layer_fn(attempt_timeout))
        .service(transport)
}

/// Ends a read when nobody waits for it any more. A write is never cut: it would only become unknown.
fn operation_timeout<S>(
    inner: S,
) -> impl Service<Call, Response = Evidence, Error = Error, Future: Send> + Clone + Send + Sync + 'static
where
    S: Service<Call, Response = Evidence, Error = Error, Future: Send> + Clone + Send + Sync + 'static,
{
    service_fn(move |call: Call| {
        let inner = inner.clone();
        async move {
            let patience = call.patience;
            // With no time left nothing is begun, but for what has been admitted.
            if patience.is_over() && call.leave.0.is_none() {
                return Err(patience.exhausted());
            }
            if call.operation.is_write() {
                return inner.oneshot(call).await;
            }
            match timeout_at(patience.until, inner.oneshot(call)).await {
                Ok(result) => result,
                Err(_) => Err(patience.unanswered()),
            }
        }
    })
}

/// Waits for the workspace's circuit breaker and rate, and tells them what came of the attempt.
fn lane<S>(
    inner: S,
    clock: Clock,
) -> impl Service<Call, Response = Evidence, Error = Error, Future: Send> + Clone + Send + Sync + 'static
where
    S: Service<Call, Response = Evidence, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    service_fn(move |mut call: Call| {
        let inner = inner.clone();
        async move {
            let lane = Arc::clone(&call.lane);
            let Leave { pass, permit } = match call.leave.0.take() {
                Some(pass) => pass.into(),
                // Refused here, nothing was done: no earlier attempt may have been applied, or there
                // would be no other.
                None => lane.attempt(call.class, call.patience).await?,
            };
            let evidence = match inner.oneshot(call).await {
                Ok(evidence) => evidence,
                Err(never) => match never {},
            };
            drop(permit);
            pass.settle(&evidence);
            lane.heed(&evidence, || evidence.retry_after(clock.now()));
            Ok(evidence)
        }
    })
}

/// Ends one attempt, and says so at debug level: which operation, which attempt, what came. Never what
/// was in it.
fn attempt_timeout<S>(
    inner: S,
) -> impl Service<Call, Response = Evidence, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static
where
    S: Service<Call, Response = Evidence, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    service_fn(move |mut call: Call| {
        let inner = inner.clone();
        async move {
            let (operation, attempt, is_write) =
                (call.operation.name(), call.attempt, call.operation.is_write());
            let (method, template) = call.operation.route();
            let span = span(method, template, attempt);
            trace::carry_on(&span, call.request.headers_mut());
            let began = Instant::now();
            // Not entered: nothing below makes a span or says anything, and entering costs with each poll.
            let evidence = match timeout(call.attempt_timeout, inner.oneshot(call)).await {
                Ok(Ok(evidence)) => evidence,
                Ok(Err(never)) => match never {},
                Err(_) => Evidence::Broken { why: Broken::Timeout },
            };
            measure(&span, method, template, began, &evidence);
            tell(operation, attempt, is_write, began, &evidence);
            Ok(evidence)
        }
    })
}

/// A span for one attempt, made only where somebody collects it.
fn span(method: &'static str, template: &'static str, attempt: u32) -> Span {
    let span = tracing::trace_span!(
        target: names::SPANS,
        "attempt",
        "otel.name" = format_args!("{method} {template}"),
        "otel.kind" = "client",
        "otel.status_code" = Empty,
        "http.request.method" = method,
        "url.template" = template,
        "http.request.resend_count" = Empty,
        "http.response.status_code" = Empty,
        "error.type" = Empty,
    );
    if attempt > 1 {
        span.record("http.request.resend_count", attempt - 1);
    }
    span
}

/// How long the attempt took, and how it ended.
fn measure(span: &Span, method: &'static str, template: &'static str, began: Instant, evidence: &Evidence) {
    let ended = match evidence {
        Evidence::Answered { status, .. } => Ok(status.as_u16()),
        Evidence::NotSent { why } => Err(why.name()),
        Evidence::Broken { why } => Err(why.name()),
    };
    match ended {
        Ok(status) => {
            span.record("http.response.status_code", status);
            if status >= 400 {
                span.record("otel.status_code", "ERROR");
            }
        }
        Err(why) => {
            span.record("error.type", why);
            span.record("otel.status_code", "ERROR");
        }
    }
    metrics().http(began.elapsed(), method, template, ended);
}

fn tell(operation: &'static str, attempt: u32, is_write: bool, began: Instant, evidence: &Evidence) {
    let elapsed = began.elapsed();
    match evidence {
        Evidence::NotSent { why } => {
            tracing::debug!(operation, attempt, ?elapsed, ?why, "the upstream was not reached");
        }
        Evidence::Broken { why } => {
            tracing::debug!(operation, attempt, ?elapsed, ?why, "the upstream did not answer");
        }
        Evidence::Answered { status, .. } => {
            tracing::debug!(operation, attempt, ?elapsed, status = status.as_u16(), "the upstream answered");
            if is_write && status.is_redirection() {
                tracing::warn!(
                    operation,
                    status = status.as_u16(),
                    "the upstream redirects writes: it is not followed, and the outcome is unknown; \
                     check the upstream URL"
                );
            }
        }
    }
}
