//! The layer that says of each call what it was, how long it took and how it ended: a span that joins the
//! caller's trace, and a duration. Health and reflection are not told of.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body as TonicBody};
use tower::Service;
use tracing::Span;

use super::status::code_name;
use crate::telemetry::{metrics, names, trace};

/// The calls that are told of, as they are named. Any other path is no method of ours.
const METHODS: [&str; 9] = [
    "blubash.campaigns.v1.CampaignsService/AddAudience",
    "blubash.campaigns.v1.CampaignsService/IngestAudience",
    "blubash.campaigns.v1.CampaignsService/GetIngestion",
    "blubash.campaigns.v1.CampaignsService/GetMessage",
    "blubash.campaigns.v1.CampaignsService/ListMessages",
    "blubash.campaigns.v1.CampaignsService/CountMessages",
    "blubash.campaigns.v1.CampaignsService/CancelMessage",
    "blubash.campaigns.v1.CampaignsService/CancelMessages",
    "blubash.campaigns.v1.CampaignsService/WatchMessages",
];

/// Tells of the calls to what it wraps.
#[derive(Clone)]
pub struct Observe<S>(S);

impl<S> Observe<S> {
    /// Wraps a service.
    pub fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S, B> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<TonicBody>, Error = Infallible>,
{
    type Response = Response<TonicBody>;
    type Error = Infallible;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path().trim_start_matches('/');
        let telling = METHODS.iter().find(|method| **method == path).map(|method| {
            let telling = Telling::begin(method);
            trace::join(&telling.span, request.headers());
            telling
        });
        let inner = match &telling {
            Some(telling) => telling.span.in_scope(|| self.0.call(request)),
            None => self.0.call(request),
        };
        Observed { inner: Box::pin(inner), telling }
    }
}

/// The answer of [`Observe`].
pub struct Observed<F> {
    inner: Pin<Box<F>>,
    telling: Option<Telling>,
}

impl<F> Future for Observed<F>
where
    F: Future<Output = Result<Response<TonicBody>, Infallible>>,
{
    type Output = Result<Response<TonicBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { inner, telling } = &mut *self;
        let entered = telling.as_ref().map(|telling| telling.span.enter());
        let Ok(response) = ready!(inner.as_mut().poll(cx));
        drop(entered);
        let Some(mut telling) = telling.take() else { return Poll::Ready(Ok(response)) };
        telling.saw(response.headers());
        Poll::Ready(Ok(response.map(|inner| TonicBody::new(ObservedBody { inner, telling }))))
    }
}

/// One call that is under way. Dropped before its status is known, it was given up by its caller.
struct Telling {
    span: Span,
    method: &'static str,
    began: Instant,
    code: Option<Code>,
}

impl Telling {
    fn begin(method: &'static str) -> Self {
        let span = tracing::trace_span!(
            target: names::SPANS,
            "call",
            "otel.name" = method,
            "otel.kind" = "server",
            "otel.status_code" = tracing::field::Empty,
            "rpc.system.name" = "grpc",
            "rpc.method" = method,
            "rpc.response.status_code" = tracing::field::Empty,
            "error.type" = tracing::field::Empty,
        );
        Self { span, method, began: Instant::now(), code: None }
    }

    /// Takes the status from headers or trailers, if it stands there.
    fn saw(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get(Status::GRPC_STATUS) {
            self.code = Some(Code::from_bytes(code.as_bytes()));
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let (name, failed) = (code_name(code), is_failure(code));
        self.span.record("rpc.response.status_code", name);
        if failed {
            self.span.record("error.type", name);
            self.span.record("otel.status_code", "ERROR");
        }
        let took: Duration = self.began.elapsed();
        metrics().rpc(took, self.method, name, failed);
    }
}

/// The codes that say of the server that it failed; the others say so of the call.
fn is_failure(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// An answer's body, which ends the telling.
struct ObservedBody {
    inner: TonicBody,
    telling: Telling,
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { inner, telling } = &mut *self;
        let entered = telling.span.enter();
        let frame = ready!(Pin::new(inner).poll_frame(cx));
        drop(entered);
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            telling.saw(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::METHODS;

    #[test]
    fn every_method_of_the_contract_is_told_of() {
        let contract = include_str!("../../proto/blubash/campaigns/v1/campaigns_service.proto");
        let rpcs = contract.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
        let rpcs: Vec<_> = rpcs.map(|rpc| format!("blubash.campaigns.v1.CampaignsService/{rpc}")).collect();
        assert_eq!(rpcs, METHODS);
    }
}
