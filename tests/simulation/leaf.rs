//! The road's end in the simulated network: what the reqwest leaf is in the real one. It tells by the same
//! rule: not sent only where no byte of the request can have been written.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use blubash_grpc::upstream::{
    Body, Broken, Call, Evidence, Unsent,
    request::{API_KEY, IDEMPOTENCY_KEY},
};
use bytes::BytesMut;
use http::header::{CONNECTION, HOST, HeaderValue};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinSet, time::Instant};
use turmoil::net::TcpStream;

use crate::{
    coverage::CrashPoint,
    model::{BY_KEY, PORT, PROOF, person},
    power::Powered,
    world::World,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// As the real leaf.
const LARGEST: usize = 4 << 20;

#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) world: World,
}

impl tower::Service<Call> for Leaf {
    type Response = Evidence;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Evidence, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let world = self.world.clone();
        Box::pin(async move { Ok(attempt(&world, call).await) })
    }
}

async fn attempt(world: &World, call: Call) -> Evidence {
    let Call { request, attempt_timeout, .. } = call;
    let until = Instant::now() + attempt_timeout;
    let (mut parts, body) = request.into_parts();
    parts.uri = parts.uri.path().parse().unwrap();
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (api_key, key) = (text(API_KEY).unwrap_or_default(), text(IDEMPOTENCY_KEY).unwrap_or_default());
    let items = serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    let persons: Vec<_> =
        items["items"].as_array().into_iter().flatten().map(|item| person(api_key, item)).collect();

    world.pass(CrashPoint::AfterClaim);
    poll_fn(|cx| world.poll_power(cx)).await;
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(("upstream", PORT))).await;
    let not_sent = |why| {
        world.meet("no connection");
        Evidence::NotSent { why }
    };
    let socket = match connected {
        Err(_) => return not_sent(Unsent::ConnectTimeout),
        Ok(Err(_)) => return not_sent(Unsent::Connect),
        Ok(Ok(socket)) => Powered::to_upstream(socket, world.clone()),
    };

    world.expose(&persons, key);
    let mut whole = Whole { world: world.clone(), until, is_over: false };
    let key = key.to_owned();
    let mut request = http::Request::from_parts(parts, String::from_utf8(body.to_vec()).unwrap());
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    request.headers_mut().insert(HOST, HeaderValue::from_static("upstream"));
    let evidence = exchange(socket, request).await;
    whole.is_over = true;
    match &evidence {
        Evidence::NotSent { .. } => world.clear(&persons, &key),
        Evidence::Answered { headers, .. } => {
            // The process may die between the last byte of the answer and its first thought about it.
            world.pass(CrashPoint::AfterAnswer);
            poll_fn(|cx| world.poll_power(cx)).await;
            match headers.get(PROOF).map(HeaderValue::as_bytes) {
                Some(by) if by == BY_KEY.as_bytes() => world.clear_key(&persons, &key),
                Some(_) => world.clear(&persons, &key),
                None => {}
            }
        }
        Evidence::Broken { .. } => {}
    }
    evidence
}

/// A request that is on its way is cut by nothing but its own timeout, and by the end of the process.
struct Whole {
    world: World,
    until: Instant,
    is_over: bool,
}

impl Drop for Whole {
    fn drop(&mut self) {
        let is_cut = !self.is_over && Instant::now() < self.until;
        // The end of the simulation is no cut.
        if is_cut && !self.world.is_off() && turmoil::in_simulation() {
            self.world.fault("a request was cut while it was on its way".to_owned());
        }
    }
}

async fn exchange(socket: Powered, request: http::Request<String>) -> Evidence {
    let broken = Evidence::Broken { why: Broken::Connection };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(socket)).await else { return broken };
    // Whoever gives up on the exchange takes the connection with it.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    match sender.send_request(request).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let body = read(body).await;
            Evidence::Answered { status: parts.status, headers: parts.headers, body }
        }
        Err(error) if error.is_canceled() => Evidence::NotSent { why: Unsent::Cancelled },
        Err(_) => broken,
    }
}

async fn read(mut body: Incoming) -> Body {
    let mut bytes = BytesMut::new();
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Some(Err(_)) => return Body::Truncated,
            None => return Body::Complete(bytes.freeze()),
        }
        if bytes.len() > LARGEST || body.size_hint().lower() > LARGEST as u64 {
            return Body::OverCap;
        }
    }
}
