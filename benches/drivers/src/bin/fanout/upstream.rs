//! A REST upstream as cheap as it can be, in the driver's own process: one campaign whose messages change
//! when they are told to. It notes each call, and when it first showed each change.

use std::{
    convert::Infallible,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use drivers::micros;

use crate::state::State;

/// As many as the vendor's API gives in a page.
const MAX_LIMIT: usize = 100;

/// Not yet.
const NEVER: u64 = u64::MAX;

/// The upstream. It ends when this is dropped.
pub struct Upstream {
    pub addr: SocketAddr,
    pub campaign: Arc<Campaign>,
    serving: JoinHandle<()>,
}

/// The one campaign, whatever its name.
pub struct Campaign {
    messages: Vec<Message>,
    all_sent: AtomicBool,
    calls: Mutex<Vec<Call>>,
}

#[derive(Default)]
struct Message {
    sending: AtomicBool,
    shown_sending: Shown,
    shown_sent: Shown,
}

/// When something was first shown.
struct Shown(AtomicU64);

/// One call, when it came.
#[derive(Clone, Copy)]
pub struct Call {
    pub at: u64,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first page of the list: a sweep begins.
    FirstPage,
    Page,
    Get,
}

impl Upstream {
    pub async fn start(messages: usize) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let campaign = Arc::new(Campaign::new(messages));
        let serving = tokio::spawn(serve(listener, Arc::clone(&campaign)));
        Ok(Self { addr, campaign, serving })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, campaign: Arc<Campaign>) {
    // A connection that cannot be accepted shows in the service's failing polls.
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        let campaign = Arc::clone(&campaign);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let answer = campaign.answer(&request);
                async { Ok::<_, Infallible>(answer) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

impl Campaign {
    fn new(messages: usize) -> Self {
        let messages = (0..messages).map(|_| Message::default()).collect();
        Self { messages, all_sent: AtomicBool::new(false), calls: Mutex::default() }
    }

    /// Lets a message be SENDING from now on, and tells the instant.
    pub fn change(&self, index: usize) -> u64 {
        let at = micros();
        self.messages[index].sending.store(true, SeqCst);
        at
    }

    /// Lets every message be SENT from now on, and tells the instant.
    pub fn change_all(&self) -> u64 {
        let at = micros();
        self.all_sent.store(true, SeqCst);
        at
    }

    /// When this message was first shown as SENDING.
    pub fn shown(&self, index: usize) -> Option<u64> {
        self.messages[index].shown_sending.at()
    }

    /// When the last message was first shown as SENT.
    pub fn shown_all(&self) -> Option<u64> {
        self.messages
            .iter()
            .map(|message| message.shown_sent.at())
            .try_fold(0, |last, at| Some(last.max(at?)))
    }

    /// The calls that came in `[from, to)`.
    pub fn calls(&self, from: u64, to: u64) -> Vec<Call> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| (from..to).contains(&call.at)).copied().collect()
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let at = micros();
        let (kind, body) = match request.uri().path().rsplit_once('/') {
            Some((_, "messages")) => {
                let (offset, limit) = slice(request.uri().query().unwrap_or_default());
                let kind = if offset == 0 { Kind::FirstPage } else { Kind::Page };
                (kind, Some(self.page(offset, limit)))
            }
            Some((_, id)) => (Kind::Get, index(id).filter(|i| *i < self.messages.len()).map(|i| self.one(i))),
            None => (Kind::Get, None),
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(Call { at, kind });
        let found = if body.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let mut answer = Response::new(Full::from(body.unwrap_or_else(|| "{}".to_owned())));
        *answer.status_mut() = found;
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        answer
    }

    fn page(&self, offset: usize, limit: usize) -> String {
        let total = self.messages.len();
        let mut body = String::with_capacity(limit * 128 + 64);
        body.push_str("{\"items\":[");
        for index in offset..(offset + limit).min(total) {
            if index > offset {
                body.push(',');
            }
            self.write(&mut body, index);
        }
        let _ = write!(body, "],\"total\":{total},\"limit\":{limit},\"offset\":{offset}}}");
        body
    }

    fn one(&self, index: usize) -> String {
        let mut body = String::new();
        self.write(&mut body, index);
        body
    }

    /// Writes a message as it is now, and notes that it was shown.
    fn write(&self, body: &mut String, index: usize) {
        let message = &self.messages[index];
        let state = if self.all_sent.load(SeqCst) {
            message.shown_sent.now();
            State::Sent
        } else if message.sending.load(SeqCst) {
            message.shown_sending.now();
            State::Sending
        } else {
            State::Queued
        };
        let word = state.word();
        let _ = write!(
            body,
            "{{\"id\":\"msg_{index:012}\",\"contactId\":\"c_{index:012}\",\"status\":\"{word}\",\
             \"scheduled_at\":\"2026-03-10T14:30:00.000Z\"}}"
        );
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Shown {
    fn now(&self) {
        if self.at().is_none() {
            self.0.fetch_min(micros(), SeqCst);
        }
    }

    fn at(&self) -> Option<u64> {
        Some(self.0.load(SeqCst)).filter(|at| *at != NEVER)
    }
}

/// Which message an id names.
pub fn index(id: &str) -> Option<usize> {
    id.strip_prefix("msg_")?.parse().ok()
}

/// The offset and the limit that a query asks for.
fn slice(query: &str) -> (usize, usize) {
    let value = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
    };
    (value("offset").unwrap_or(0), value("limit").unwrap_or(50).min(MAX_LIMIT))
}
