//! The leaf: one HTTP exchange by reqwest, handed over as evidence. Nothing here judges, repeats or logs.

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header::CONNECTION};
use tower::Service;

use super::{
    config::{Config, ConfigFault},
    evidence::{Body, Broken, Evidence, Unsent},
    request::{Call, Operation},
};

/// A list of 1,000 messages has about half a megabyte.
const LARGEST_LIST: usize = 16 * 1024 * 1024;
const LARGEST: usize = 4 * 1024 * 1024;
/// A server that closes idle connections does so while a request is on its way, and then nobody knows
/// whether it was seen: writes keep away from connections (of HTTP/2) that have been idle for long.
const WRITE_IDLE: Duration = Duration::from_secs(2);
/// A read that meets a closed connection is simply sent again.
const READ_IDLE: Duration = Duration::from_secs(30);

/// The HTTP clients.
#[derive(Clone)]
pub(super) struct Http {
    reads: reqwest::Client,
    writes: reqwest::Client,
}

impl Http {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigFault> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // It fails only where another thread was faster, with the provider that then is the default.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Ok(Self { reads: client(config, READ_IDLE)?, writes: client(config, WRITE_IDLE)? })
    }
}

fn client(config: &Config, idle: Duration) -> Result<reqwest::Client, ConfigFault> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("blubash-grpc/", env!("CARGO_PKG_VERSION")))
        // A followed redirect would carry the key, and perhaps the body, to another host.
        .redirect(reqwest::redirect::Policy::none())
        // What HTTP_PROXY says was meant for others: the key goes to the configured host alone.
        .no_proxy()
        // Whether to try again is decided in one place, and not here.
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(idle);
    let builder = if config.is_plain()? {
        // No certificate is needed on the way to this machine, so a system without any will do.
        builder.tls_certs_only([])
    } else {
        builder.https_only(true)
    };
    builder.build().map_err(|error| ConfigFault::Http(innermost(&error)))
}

fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

impl Service<Call> for Http {
    type Response = Evidence;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Evidence, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let client = if call.operation.is_write() { &self.writes } else { &self.reads }.clone();
        Box::pin(async move { Ok(exchange(client, call).await) })
    }
}

async fn exchange(client: reqwest::Client, call: Call) -> Evidence {
    let cap = match call.operation {
        Operation::ListMessages => LARGEST_LIST,
        Operation::GetMessage | Operation::AddAudience(_) | Operation::CancelMessage(_) => LARGEST,
    };
    let mut request = match reqwest::Request::try_from(call.request) {
        Ok(request) => request,
        Err(_) => return Evidence::NotSent { why: Unsent::Connect },
    };
    if call.operation.is_write() {
        // In HTTP/1.1 an answer belongs to a request by its place alone. One that nobody asked for (the second
        // of two, a goodbye to an idle connection) would be taken for the next request's if it came a moment
        // before that. Over HTTP/2, where answers are numbered, hyper leaves this header out.
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match client.execute(request).await {
        Ok(mut response) => {
            let status = response.status();
            let headers = std::mem::take(response.headers_mut());
            Evidence::Answered { status, headers, body: read_body(response, cap).await }
        }
        Err(error) => failed(&error),
    }
}

async fn read_body(mut response: reqwest::Response, cap: usize) -> Body {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if announced > cap {
        return Body::OverCap;
    }
    // Most answers come in one piece, which is then not copied.
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    let mut length = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                length += chunk.len();
                if length > cap {
                    return Body::OverCap;
                }
                if first.is_empty() {
                    first = chunk;
                } else {
                    // What a server announces is not reserved before it comes.
                    let all = all.get_or_insert_with(|| {
                        let mut all = BytesMut::with_capacity(announced.clamp(length, length.max(1 << 20)));
                        all.extend_from_slice(&first);
                        all
                    });
                    all.extend_from_slice(&chunk);
                }
            }
            Ok(None) => return Body::Complete(all.map_or(first, BytesMut::freeze)),
            Err(_) => return Body::Truncated,
        }
    }
}

/// What a failed exchange proves. Only what is known for certain to have happened before the first byte
/// counts as not sent.
fn failed(error: &reqwest::Error) -> Evidence {
    if error.is_connect() {
        let why = if error.is_dns() {
            Unsent::Dns
        } else if error.is_timeout() {
            Unsent::ConnectTimeout
        } else {
            Unsent::Connect
        };
        return Evidence::NotSent { why };
    }
    if error.is_builder() {
        return Evidence::NotSent { why: Unsent::Connect };
    }
    for cause in causes(error) {
        if let Some(h2) = cause.downcast_ref::<h2::Error>()
            && h2.is_remote()
            && ((h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM))
                // h2 gives it only to streams above the last one that the server will process.
                || (h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR)))
        {
            return Evidence::NotSent { why: Unsent::StreamRefused };
        }
        // hyper's word for a request that it still had in hand when the connection closed.
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return Evidence::NotSent { why: Unsent::Cancelled };
        }
    }
    let why = if error.is_timeout() { Broken::Timeout } else { Broken::Connection };
    Evidence::Broken { why }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
#[path = "transport_tests.rs"]
mod tests;
