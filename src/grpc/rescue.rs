//! The layer that brings tonic's own errors into our form, catches panics, and tells a stream that a
//! caller ended from one that broke off.
//!
//! That last is not tonic's to tell: when a caller resets its stream with CANCEL, tonic's `Streaming`
//! ends as if the caller had half-closed, and an AddAudience whose caller hung up in the middle would be
//! sent upstream. So the layer turns every way in which a request's body can break into an error that
//! tonic passes on.

mod body;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tonic::{Code, Status, Streaming, body::Body as TonicBody};
use tower::{Layer, Service};
use tower_http::catch_panic::{CatchPanic, CatchPanicLayer};

use super::{
    OUR_PATHS,
    deadline::Received,
    status::{code_name, status},
};
use crate::error::{Error, Reason};

pub use body::Inbound;

/// Why a request's stream gave no further message although its caller did not end it.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamFault {
    /// What came is not a message: the call ends with this error.
    Invalid(Error),
    /// The caller is gone, or the connection is: nobody reads an answer.
    Gone,
}

/// The next message of a request's stream; `None`: the caller has half-closed. After a fault there is
/// nothing more to read. Only behind [`RescueLayer`] is `None` to be trusted.
pub async fn receive<T>(stream: &mut Streaming<T>) -> Result<Option<T>, StreamFault> {
    stream.message().await.map_err(|status| from_tonic(&status))
}

/// What one of tonic's own errors about a request means.
pub fn from_tonic(status: &Status) -> StreamFault {
    // tonic's texts can quote the request (prost names a field, gzip its input): none of them is told.
    match status.code() {
        // Over the limit as it says itself, or once decompressed.
        Code::OutOfRange | Code::ResourceExhausted => StreamFault::Invalid(Error::new(
            Reason::MessageTooLarge,
            "a message of the request is larger than this service takes; send smaller ones",
        )),
        // Not protobuf, text that is not UTF-8, a bad compression flag, cut short, or no message at all.
        Code::Internal => StreamFault::Invalid(Error::invalid_field(
            "request",
            "cannot be decoded as a message of its type; is it built from this service's contract?",
        )),
        // Of our own making: see `Inbound`.
        Code::DeadlineExceeded => StreamFault::Invalid(Error::new(
            Reason::DeadlineExceeded,
            "nothing came on the request's stream for longer than this server waits; send sooner, or half-close",
        )),
        _ => StreamFault::Gone,
    }
}

/// Makes [`Rescue`]. It stands directly around tonic's routes.
#[derive(Clone, Copy, Debug)]
pub struct RescueLayer {
    idle: Duration,
}

impl RescueLayer {
    /// A request's stream may be silent for `idle` while it is waited for.
    pub fn new(idle: Duration) -> Self {
        Self { idle }
    }
}

type PanicHandler = fn(Box<dyn Any + Send>) -> Response<TonicBody>;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner: CatchPanicLayer::custom(panicked as PanicHandler).layer(inner), idle: self.idle }
    }
}

/// tonic's routes, whose every error is in our form.
#[derive(Clone)]
pub struct Rescue<S> {
    inner: CatchPanic<S, PanicHandler>,
    idle: Duration,
}

impl<S, B, R> Service<Request<B>> for Rescue<S>
where
    S: Service<Request<TonicBody>, Response = Response<R>, Error = Infallible>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<tower::BoxError>,
{
    type Response = Response<TonicBody>;
    type Error = Infallible;
    type Future = RescueFuture<<CatchPanic<S, PanicHandler> as Service<Request<TonicBody>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let ours = request.uri().path().starts_with(OUR_PATHS);
        if request.extensions().get::<Received>().is_none() {
            request.extensions_mut().insert(Received(Instant::now()));
        }
        let version = request.version();
        let idle = self.idle;
        let request = request.map(|body| TonicBody::new(Inbound::new(body, version, idle)));
        RescueFuture { inner: Box::pin(self.inner.call(request)), ours }
    }
}

/// The answer of [`Rescue`].
pub struct RescueFuture<F> {
    inner: Pin<Box<F>>,
    ours: bool,
}

impl<F, R> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<R>, Infallible>>,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<tower::BoxError>,
{
    type Output = Result<Response<TonicBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match ready!(self.inner.as_mut().poll(cx)) {
            Ok(response) => response.map(TonicBody::new),
            Err(never) => match never {},
        };
        Poll::Ready(Ok(if self.ours { rescued(response) } else { response }))
    }
}

/// The response in our form. Only an answer without messages is looked at, and only its headers: tonic's
/// own errors about a request are always that.
fn rescued(response: Response<TonicBody>) -> Response<TonicBody> {
    let headers = response.headers();
    let Some(code) = headers.get(Status::GRPC_STATUS) else { return response };
    let code = Code::from_bytes(code.as_bytes());
    // Ours always have details. UNIMPLEMENTED has none by the contract.
    let ours = headers.contains_key(Status::GRPC_STATUS_DETAILS);
    if ours || code == Code::Ok || code == Code::Unimplemented {
        return response;
    }
    let error = match (from_tonic(&Status::new(code, "")), code) {
        (StreamFault::Invalid(error), _) => error,
        // The caller ended it, and is not there to read this.
        (StreamFault::Gone, Code::Aborted | Code::Cancelled) => {
            return Status::cancelled("the call ended before its request had come in").into_http();
        }
        // None of tonic's own: a handler that went past the table.
        (StreamFault::Gone, _) => {
            Error::new(Reason::Internal, format!("a bare status left a handler: {}", code_name(code)))
                .maybe_applied()
        }
    };
    status(&error).into_http()
}

/// Where a handler panicked it is unknown what it had done by then.
fn panicked(_: Box<dyn Any + Send>) -> Response<TonicBody> {
    // The panic's own text is the panic hook's to print: it may quote anything.
    let error = Error::new(Reason::Internal, "a handler of this server panicked").maybe_applied();
    status(&error).into_http()
}
