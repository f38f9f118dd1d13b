//! The layer that refuses calls before there are more than this server can answer in time: a call that waits
//! until its caller has given up costs as much as one that is answered, and helps nobody.
//!
//! Two things say that there are too many: how many are under way, and how long one that came waits until the
//! runtime first gets to it. The second tells of a processor that cannot keep up, whatever the upstream does.

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
use http_body::Body;
use tokio::time::Instant;
use tonic::body::Body as TonicBody;
use tower::Service;

use super::{OUR_PATHS, deadline::Received, quota, status::status};
use crate::{
    error::{Error, Reason},
    telemetry::metrics,
};

/// The share of the places that reads may take, in percent: the others are for calls that change something, which
/// are refused last.
const READS: usize = 80;

/// How long a call may have waited for the runtime until it is begun. Each of its steps waits about as long again, some
/// five in all. What changes something is refused last here, too.
const PATIENCE: Duration = Duration::from_millis(40);
const PATIENCE_WITH_WRITES: Duration = Duration::from_millis(200);

/// So many frames of a refused call are read, and no more: a whole import could be on its way.
const MOST_FRAMES: usize = 16;

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
    fn enter(&self, path: &str) -> Result<Option<(Ticket, Kind)>, Kind> {
        let Some(method) = path.strip_prefix(OUR_PATHS).and_then(|rest| rest.rsplit('/').next()) else {
            return Ok(None);
        };
        let kind = if READING.contains(&method) { Kind::Read } else { Kind::Write };
        let max = match kind {
            Kind::Read => self.max * READS / 100,
            Kind::Write => self.max,
        };
        // Counted first: of two that come together for the last place one is refused, and never both let in.
        let place = Place(Arc::clone(&self.calls));
        if self.calls.fetch_add(1, Relaxed) >= max.max(1) {
            return Err(kind);
        }
        Ok(Some((Ticket::new(place), kind)))
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

impl Kind {
    fn patience(self) -> Duration {
        match self {
            Self::Read => PATIENCE,
            Self::Write => PATIENCE_WITH_WRITES,
        }
    }

    fn count(self) {
        metrics().shed(match self {
            Self::Read => "read",
            Self::Write => "write",
        });
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
    S: Service<Request<B>, Response = Response<TonicBody>, Error = Infallible> + Clone,
    B: Body + Unpin,
{
    type Response = Response<TonicBody>;
    type Error = Infallible;
    type Future = ShedFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    /// Called where the connection is read; what it gives is polled by a task of its own, when the runtime gets to it.
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let received = Received(Instant::now());
        request.extensions_mut().insert(received);
        let (ticket, kind) = match self.enter(request.uri().path()) {
            Ok(Some((ticket, kind))) => {
                request.extensions_mut().insert(ticket.clone());
                (Some(ticket), Some(kind))
            }
            Ok(None) => (None, None),
            Err(kind) => {
                kind.count();
                return ShedFuture { state: State::Refused(Some(request.into_body())), _ticket: None };
            }
        };
        let waiting = Waiting { inner: self.inner.clone(), request, received, kind };
        ShedFuture { state: State::Waiting(waiting), _ticket: ticket }
    }
}

/// The answer of [`Shed`].
pub struct ShedFuture<S: Service<Request<B>>, B> {
    state: State<S, B>,
    _ticket: Option<Ticket>,
}

/// Nothing in it is pinned but what is boxed.
impl<S: Service<Request<B>>, B> Unpin for ShedFuture<S, B> {}

#[allow(clippy::large_enum_variant, reason = "each call begins as the large one")]
enum State<S: Service<Request<B>>, B> {
    /// The runtime has not come to it yet.
    Waiting(Waiting<S, B>),
    /// What the service behind answers.
    Begun(Pin<Box<S::Future>>),
    /// There was no place. What the caller sends is read first, as far as it is there.
    Refused(Option<B>),
}

struct Waiting<S, B> {
    inner: S,
    request: Request<B>,
    received: Received,
    kind: Option<Kind>,
}

impl<S: Service<Request<B>>, B> Waiting<S, B> {
    fn begin(mut self) -> State<S, B> {
        match self.kind {
            Some(kind) if self.received.0.elapsed() > kind.patience() => {
                kind.count();
                State::Refused(Some(self.request.into_body()))
            }
            _ => State::Begun(Box::pin(self.inner.call(self.request))),
        }
    }
}

impl<S, B> Future for ShedFuture<S, B>
where
    S: Service<Request<B>, Response = Response<TonicBody>, Error = Infallible>,
    B: Body + Unpin,
{
    type Output = Result<Response<TonicBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Waiting(_) = this.state
            && let State::Waiting(waiting) = std::mem::replace(&mut this.state, State::Refused(None))
        {
            this.state = waiting.begin();
        }
        Poll::Ready(match &mut this.state {
            State::Begun(inner) => ready!(inner.as_mut().poll(cx)),
            State::Refused(body) => {
                if let Some(body) = body {
                    read_what_is_there(body, cx);
                }
                Ok(refused())
            }
            State::Waiting(_) => Ok(refused()),
        })
    }
}

/// Reads to the end of a body, or to where nothing more has come. An answer in front of what was sent already would have
/// HTTP/2 reset the stream, and then take each later frame of it for a fault of the caller, of which it bears only so
/// many before it ends the connection with everybody's calls.
fn read_what_is_there<B: Body + Unpin>(body: &mut B, cx: &mut Context<'_>) {
    for _ in 0..MOST_FRAMES {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(None | Some(Err(_))) | Poll::Pending => return,
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::{Ready, ready};

    use tokio::time::advance;
    use tonic::{Code, Status};

    use super::*;

    const GET: &str = "/blubash.campaigns.v1.CampaignsService/GetMessage";
    const ADD: &str = "/blubash.campaigns.v1.CampaignsService/AddAudience";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";

    #[derive(Clone)]
    struct Answers;

    impl Service<Request<TonicBody>> for Answers {
        type Response = Response<TonicBody>;
        type Error = Infallible;
        type Future = Ready<Result<Response<TonicBody>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<TonicBody>) -> Self::Future {
            ready(Ok(Response::new(TonicBody::empty())))
        }
    }

    fn comes(shed: &mut Shed<Answers>, path: &str) -> ShedFuture<Answers, TonicBody> {
        shed.call(Request::builder().uri(path).body(TonicBody::empty()).unwrap())
    }

    async fn is_answered(call: ShedFuture<Answers, TonicBody>) -> bool {
        let response = call.await.unwrap();
        match Status::from_header_map(response.headers()) {
            None => true,
            Some(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted);
                false
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waited_too_long_to_be_begun_is_refused_a_read_before_a_write_and_health_never() {
        let mut shed = Shed::new(Answers, 100);
        for (wait, read, write) in [(0, true, true), (40, true, true), (41, false, true), (201, false, false)]
        {
            let calls = [GET, ADD, HEALTH].map(|path| comes(&mut shed, path));
            advance(Duration::from_millis(wait)).await;
            let [get, add, health] = calls;
            let told = (is_answered(get).await, is_answered(add).await, is_answered(health).await);
            assert_eq!(told, (read, write, true), "after {wait} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reads_leave_places_for_writes_and_each_place_is_given_back() {
        let mut shed = Shed::new(Answers, 5);
        for _ in 0..3 {
            let held: Vec<_> = (0..4).map(|_| comes(&mut shed, GET)).collect();
            assert!(!is_answered(comes(&mut shed, GET)).await);
            let write = comes(&mut shed, ADD);
            assert!(!is_answered(comes(&mut shed, ADD)).await);
            assert!(is_answered(comes(&mut shed, HEALTH)).await);
            assert!(is_answered(write).await);
            drop(held);
        }
        assert_eq!(shed.calls.load(Relaxed), 0);
    }

    #[test]
    fn what_counts_as_reading_is_in_the_contract() {
        let contract = include_str!("../../proto/blubash/campaigns/v1/campaigns_service.proto");
        for method in READING {
            assert!(contract.contains(&format!("rpc {method}(")), "{method}");
        }
    }
}
