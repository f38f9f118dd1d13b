//! The one stack between an operation and the wire, top-down.

use std::convert::Infallible;

use tokio::time::{Instant, timeout, timeout_at};
use tower::{
    Service, ServiceBuilder, ServiceExt as _, layer::layer_fn, service_fn, util::BoxCloneSyncService,
};

use super::{
    config::Batches,
    evidence::{Broken, Evidence},
    request::Call,
    retry::Retry,
};
use crate::{
    clock::Clock,
    error::{Error, Reason},
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
        // One hanging connection must not eat the time of the attempts that could still succeed.
        .layer(layer_fn(attempt_timeout))
        .service(transport)
}

/// Ends a read when nobody waits for it any more. A write is never cut: it would only become unknown.
fn operation_timeout<S>(
    inner: S,
) -> impl Service<Call, Response = Evidence, Error = Error, Future: Send> + Clone + Send + Sync + 'static
where
    S: Service<Call, Response = Evidence, Error = Infallible, Future: Send> + Clone + Send + Sync + 'static,
{
    service_fn(move |call: Call| {
        let inner = inner.clone();
        async move {
            let (until, is_callers) = (call.until, call.until_is_callers);
            if call.operation.is_write() {
                return inner.oneshot(call).await.map_err(|never| match never {});
            }
            // tokio polls the work before the timer: with no time left nothing is begun.
            if until <= Instant::now() {
                return Err(too_late(is_callers));
            }
            match timeout_at(until, inner.oneshot(call)).await {
                Ok(Ok(evidence)) => Ok(evidence),
                Ok(Err(never)) => match never {},
                Err(_) => Err(too_late(is_callers)),
            }
        }
    })
}

fn too_late(is_callers: bool) -> Error {
    if is_callers {
        Error::new(Reason::DeadlineExceeded, "the deadline passed before the upstream answered")
    } else {
        Error::new(Reason::UpstreamUnavailable, "the upstream did not answer within the operation timeout")
            .retry_after(super::classify::DEFAULT_RETRY_AFTER)
    }
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
    service_fn(move |call: Call| {
        let inner = inner.clone();
        async move {
            let (operation, attempt, is_write) =
                (call.operation.name(), call.attempt, call.operation.is_write());
            let began = Instant::now();
            let evidence = match timeout(call.attempt_timeout, inner.oneshot(call)).await {
                Ok(Ok(evidence)) => evidence,
                Ok(Err(never)) => match never {},
                Err(_) => Evidence::Broken { why: Broken::Timeout },
            };
            tell(operation, attempt, is_write, began, &evidence);
            Ok(evidence)
        }
    })
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
