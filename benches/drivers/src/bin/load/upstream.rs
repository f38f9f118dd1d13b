//! A REST upstream as cheap as it can be, in the driver's own process: it knows every message and takes every
//! contact.

use std::{
    convert::Infallible,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

/// The upstream. It ends when this is dropped.
pub struct Upstream {
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Upstream {
    /// Each answer takes this long.
    pub async fn start(latency: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let messages = Arc::new(AtomicU64::new(0));
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let messages = Arc::clone(&messages);
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, &messages, latency));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { addr, serving })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    messages: &AtomicU64,
    latency: Duration,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let body = if request.method() == Method::POST {
        let sent = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        added(&sent, messages)
    } else if request.uri().path().ends_with("/messages") {
        page()
    } else {
        one()
    };
    let mut answer = Response::new(Full::from(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(answer)
}

/// A new message for each item.
fn added(sent: &[u8], messages: &AtomicU64) -> Bytes {
    const ITEM: &[u8] = b"\"schedule\"";
    let items = sent.windows(ITEM.len()).filter(|part| *part == ITEM).count();
    let first = messages.fetch_add(items as u64, Relaxed);
    let mut body = String::from("{\"items\":[");
    for n in 0..items as u64 {
        let comma = if n > 0 { "," } else { "" };
        let id = first + n;
        let _ = write!(
            body,
            "{comma}{{\"messageId\":\"msg_{id}\",\"contactId\":\"c_{id}\",\"scheduled_at\":null}}"
        );
    }
    body.push_str("]}");
    body.into()
}

fn message(body: &mut String, n: usize) {
    let _ = write!(
        body,
        "{{\"id\":\"msg_{n}\",\"contactId\":\"c_{n}\",\"status\":\"QUEUED\",\"scheduled_at\":\"2026-03-10T14:30:00.000Z\"}}"
    );
}

fn one() -> Bytes {
    static ONE: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        let mut body = String::new();
        message(&mut body, 1);
        body.into()
    };
    ONE.get_or_init(make).clone()
}

fn page() -> Bytes {
    static PAGE: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        let mut body = String::from("{\"items\":[");
        for n in 0..50 {
            if n > 0 {
                body.push(',');
            }
            message(&mut body, n);
        }
        body.push_str("],\"total\":50,\"limit\":50,\"offset\":0}");
        body.into()
    };
    PAGE.get_or_init(make).clone()
}
