//! The layer that refuses calls before there are more than this server can answer in time: a call that waits
//! until its caller has given up costs as much as one that is answered, and helps nobody.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use tonic::body::Body as TonicBody;
use tower::Service;

use super::{OUR_PATHS, quota, status::status};
use crate::{
    error::{Error, Reason},
    telemetry::metrics,
};

/// The share of the places that reads may take, in percent: the others are for calls that change something, which
/// are refused last.
const READS: usize = 80;

/// When a refused caller may come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// The calls that change nothing.
const READING: [&str; 5] = ["GetIngestion", "GetMessage", "ListMessages", "CountMessages", "WatchMessages"];

/// Refuses what is too much. A call has a place until its answer begins: those that run on for long (watches,
/// imports) have bounds of their own, and what was let in is never cut.
#[derive(Clone)]
pub struct Shed<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
    max: usize,
}

impl<S> Shed<S> {
    /// Lets at most `max` calls in at once.
    pub fn new(inner: S, max: usize) -> Self {
        Self { inner, calls: Arc::default(), max }
    }

    /// A place for a call of this path, if there is one. Health and reflection are always answered.
    fn enter(&self, path: &str) -> Result<Option<Ticket>, &'static str> {
        let Some(method) = path.strip_prefix(OUR_PATHS).and_then(|rest| rest.rsplit('/').next()) else {
            return Ok(None);
        };
        let (kind, max) = match READING.contains(&method) {
            true => ("read", self.max * READS / 100),
            false => ("write", self.max),
        };
        // Counted first: of two that come together for the last place one is refused, and never both let in.
        let place = Place(Arc::clone(&self.calls));
        if self.calls.fetch_add(1, Relaxed) >= max.max(1) {
            return Err(kind);
        }
        Ok(Some(Ticket::new(place)))
    }
}

/// An extension of each request: what its call occupies until its answer begins. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ticket(Arc<Occupied>);

struct Occupied {
    _of_all: Place,
    of_workspace: OnceLock<quota::Place>,
}

impl Ticket {
    fn new(of_all: Place) -> Self {
        Self(Arc::new(Occupied { _of_all: of_all, of_workspace: OnceLock::new() }))
    }

    /// Occupies this too. A call is of one workspace: there is no second time.
    pub(super) fn occupy(&self, place: quota::Place) {
        let _ = self.0.of_workspace.set(place);
    }
}

/// A place, given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<S, B> Service<Request<B>> for Shed<S>
where
    S: Service<Request<B>, Response = Response<TonicBody>, Error = Infallible>,
{
    type Response = Response<TonicBody>;
    type Error = Infallible;
    type Future = ShedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.enter(request.uri().path()) {
            Ok(ticket) => {
                if let Some(ticket) = &ticket {
                    request.extensions_mut().insert(ticket.clone());
                }
                ShedFuture::Let { inner: Box::pin(self.inner.call(request)), _ticket: ticket }
            }
            Err(kind) => {
                metrics().shed(kind);
                ShedFuture::Refused
            }
        }
    }
}

/// The answer of [`Shed`].
pub enum ShedFuture<F> {
    /// What the service behind answers.
    #[allow(missing_docs, private_interfaces)]
    Let { inner: Pin<Box<F>>, _ticket: Option<Ticket> },
    /// There was no place.
    Refused,
}

impl<F> Future for ShedFuture<F>
where
    F: Future<Output = Result<Response<TonicBody>, Infallible>>,
{
    type Output = Result<Response<TonicBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut *self {
            Self::Let { inner, .. } => ready!(inner.as_mut().poll(cx)),
            Self::Refused => Ok(refused()),
        })
    }
}

/// Made once: what is refused must cost next to nothing.
fn refused() -> Response<TonicBody> {
    static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
        let error = Error::new(
            Reason::Overloaded,
            "this server has as many calls as it can answer in time; nothing was done",
        );
        status(&error.retry_after(COME_AGAIN)).into_http::<TonicBody>().headers().clone()
    });
    let mut response = Response::new(TonicBody::empty());
    response.headers_mut().clone_from(&HEADERS);
    response
}
