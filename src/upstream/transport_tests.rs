#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tower::ServiceExt as _;

use super::*;
use crate::{
    clock::Clock,
    model::{CampaignId, Slice},
    upstream::{
        Client, Outcome,
        request::Routes,
        testing::{self, batch, call, campaign, ctx, message_id},
    },
};

/// What a server does once it has read a request.
#[derive(Clone, Copy)]
enum Then {
    /// Answers with these bytes and closes.
    Say(&'static str),
    /// Answers with these bytes and keeps the connection.
    Keep(&'static str),
    /// Answers with these bytes, and then with zeros for as long as they are taken.
    Pour(&'static str),
}

/// A server that keeps each request's bytes, and does the same with each connection.
async fn server(then: Then) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test sends a handful")]
    let (seen, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    let _ = seen.send(request);
                    match then {
                        Then::Keep(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
                        Then::Say(bytes) => return stream.write_all(bytes.as_bytes()).await.unwrap(),
                        Then::Pour(bytes) => {
                            stream.write_all(bytes.as_bytes()).await.unwrap();
                            while stream.write_all(&[0; 65_536]).await.is_ok() {}
                        }
                    }
                }
            });
        }
    });
    (address, requests)
}

/// One request's head and body; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
            if body.len() >= head.lines().find_map(length).unwrap_or(0) {
                return Some(text);
            }
        }
    }
}

fn config_for(address: SocketAddr) -> Config {
    Config::new(&format!("http://{address}/api/v1/campaigns")).unwrap()
}

fn client_for(address: SocketAddr) -> Client {
    Client::new(&config_for(address), Clock::System).unwrap()
}

/// One exchange, past the stack.
async fn exchanged(config: &Config, operation: Operation) -> Evidence {
    exchanged_by(Http::new(config).unwrap(), config, operation).await
}

async fn exchanged_by(http: Http, config: &Config, operation: Operation) -> Evidence {
    let (routes, key, campaign) = (Routes::new(config), ctx().workspace.key.current(), campaign());
    let request = match &operation {
        Operation::AddAudience(_) => routes.add_audience(&key, &campaign, &batch(&["a"])),
        Operation::CancelMessage(id) => routes.cancel_message(&key, &campaign, id),
        Operation::GetMessage => routes.get_message(&key, &campaign, &message_id("m1")),
        Operation::ListMessages => routes.list_messages(&key, &campaign, Slice { offset: 0, limit: 1 }),
    };
    let Ok(evidence) = http.oneshot(call(request.unwrap(), operation)).await;
    evidence
}

fn add() -> Operation {
    Operation::AddAudience(batch(&["a"]).asked)
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config_for(listener.local_addr().unwrap());
    drop(listener);
    let evidence = exchanged(&config, add()).await;
    assert!(matches!(evidence, Evidence::NotSent { why: Unsent::Connect }), "{evidence:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_proves_that_nothing_was_sent() {
    let (address, _requests) = server(Then::Say("HTTP/1.1 200 OK\r\n\r\n")).await;
    let mut config = Config::new(&format!("https://{address}/api")).unwrap();
    // A server that speaks no TLS waits for the end of what it takes for a request's head.
    config.connect_timeout = Duration::from_millis(200);
    // Where a system has no CA certificates, a client for https cannot be built, and says so.
    let Ok(http) = Http::new(&config) else { return };
    let evidence = exchanged_by(http, &config, add()).await;
    assert!(matches!(evidence, Evidence::NotSent { why: Unsent::ConnectTimeout }), "{evidence:?}");
}

#[tokio::test]
async fn a_connection_that_closes_after_the_request_proves_nothing() {
    for said in ["", "HTTP/1.1 ", "HTTP/1.1 100 Continue\r\n\r\n", "nonsense\r\n\r\n"] {
        let (address, mut requests) = server(Then::Say(said)).await;
        let evidence = exchanged(&config_for(address), add()).await;
        assert!(matches!(evidence, Evidence::Broken { why: Broken::Connection }), "{said:?} {evidence:?}");
        assert!(requests.recv().await.unwrap().ends_with("]}"));
        assert!(requests.try_recv().is_err(), "it was sent once");
    }
}

#[tokio::test]
async fn an_answer_is_handed_over_as_it_came() {
    let (address, _requests) =
        server(Then::Say("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nhi")).await;
    let evidence = exchanged(&config_for(address), add()).await;
    assert_eq!(evidence.retry_after(chrono::Utc::now()), Some(Duration::from_secs(7)));
    let Evidence::Answered { status, body, .. } = evidence else { panic!("{evidence:?}") };
    assert_eq!((status.as_u16(), body), (429, Body::Complete("hi".into())));
}

#[tokio::test]
async fn a_cut_body_is_never_taken_for_a_whole_one() {
    for head in ["Content-Length: 10\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"] {
        let text = format!("HTTP/1.1 200 OK\r\n{head}");
        let (address, _requests) = server(Then::Say(text.leak())).await;
        let evidence = exchanged(&config_for(address), add()).await;
        assert!(matches!(evidence, Evidence::Answered { body: Body::Truncated, .. }), "{evidence:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read_to_its_end() {
    for head in ["Content-Length: 99999999999\r\n\r\n", "\r\n"] {
        for operation in [Operation::ListMessages, add()] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}");
            let (address, _requests) = server(Then::Pour(text.leak())).await;
            let evidence = exchanged(&config_for(address), operation).await;
            assert!(matches!(evidence, Evidence::Answered { body: Body::OverCap, .. }), "{evidence:?}");
        }
    }
}

#[tokio::test]
async fn a_body_in_many_pieces_is_put_together() {
    let text =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n1\r\nf\r\n0\r\n\r\n";
    let (address, _requests) = server(Then::Say(text)).await;
    let evidence = exchanged(&config_for(address), Operation::GetMessage).await;
    let Evidence::Answered { body, .. } = evidence else { panic!("{evidence:?}") };
    assert_eq!(body, Body::Complete("abcdef".into()));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere_else() {
    let (elsewhere, mut stolen) = server(Then::Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    for status in [301, 302, 303, 307, 308] {
        let text =
            format!("HTTP/1.1 {status} Moved\r\nLocation: http://{elsewhere}/x\r\nContent-Length: 0\r\n\r\n");
        let (address, _requests) = server(Then::Say(text.leak())).await;
        let outcome = testing::add(&client_for(address), &ctx(), &batch(&["a"])).await;
        assert!(matches!(outcome, Outcome::InDoubt { by_refusal: false, .. }), "{outcome:?}");
        let evidence = exchanged(&config_for(address), Operation::GetMessage).await;
        assert_eq!(evidence.status().map(|s| s.as_u16()), Some(status));
    }
    assert!(stolen.try_recv().is_err());
}

#[tokio::test]
async fn an_odd_id_reaches_the_upstream_as_one_segment() {
    let found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let (address, mut requests) = server(Then::Keep(found)).await;
    let client = client_for(address);
    for (id, segment) in [
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("%2e%2e", "%252e%252e"),
        ("a?b#c", "a%3Fb%23c"),
        ("...", "..."),
        ("\\..", "%5C.."),
        (";a=b|'c'", "%3Ba%3Db%7C%27c%27"),
    ] {
        let _ = client.get_message(&ctx(), &CampaignId::parse(id).unwrap(), &message_id(id)).await;
        let request = requests.recv().await.unwrap();
        let line = format!("GET /api/v1/campaigns/{segment}/messages/{segment} HTTP/1.1\r\n");
        assert!(request.starts_with(&line), "{request}");
    }
}

#[tokio::test]
async fn a_write_over_http1_has_a_connection_of_its_own_and_reads_share_theirs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config_for(listener.local_addr().unwrap());
    let http = Http::new(&config).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                while read_request(&mut stream).await.is_some() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    for (idle, read, connected) in [(0, false, 1), (0, false, 2), (3, false, 3), (0, true, 4), (3, true, 4)] {
        // The pool's clock is the runtime's: only the wait is virtual, as a paused clock runs ahead of sockets.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(idle)).await;
        tokio::time::resume();
        let operation = if read { Operation::GetMessage } else { add() };
        let evidence = exchanged_by(http.clone(), &config, operation).await;
        assert_eq!(evidence.status().map(|status| status.as_u16()), Some(200));
        assert_eq!(connections.load(Ordering::SeqCst), connected, "idle for {idle} s, read: {read}");
        // The connection goes back to the pool in a task of its own.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_carries_the_vendors_headers_and_no_others_of_ours() {
    let added = "HTTP/1.1 201 Created\r\nContent-Length: 29\r\n\r\n{\"items\":[{\"messageId\":\"m\"}]}";
    let (address, mut requests) = server(Then::Keep(added)).await;
    let batch = batch(&["a"]);
    let outcome = testing::add(&client_for(address), &ctx(), &batch).await;
    assert!(matches!(outcome, Outcome::Added(_)), "{outcome:?}");
    let request = requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.as_bytes(), batch.body());
    let mut headers: Vec<_> = head.lines().skip(1).map(str::to_lowercase).collect();
    headers.sort_unstable();
    let expected = [
        "accept: application/json".to_owned(),
        "connection: close".to_owned(),
        format!("content-length: {}", batch.len()),
        "content-type: application/json".to_owned(),
        format!("host: {address}"),
        format!("user-agent: blubash-grpc/{}", env!("CARGO_PKG_VERSION")),
        "x-api-key: secret-key".to_owned(),
        format!("x-idempotency-key: {}", batch.idempotency_key()),
    ];
    assert_eq!(headers, expected);
}

/// Clients that speak HTTP/2 from the first byte, as over TLS both sides agree to.
fn http2(config: &Config) -> Http {
    Http::new(config).unwrap();
    let client = reqwest::Client::builder().http2_prior_knowledge().retry(reqwest::retry::never());
    let client = client.tls_certs_only([]).build().unwrap();
    Http { reads: client.clone(), writes: client }
}

#[tokio::test]
async fn writes_over_http2_share_a_connection_and_name_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config_for(listener.local_addr().unwrap());
    tokio::spawn(async move {
        // One connection is accepted, and no other ever.
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert!(!request.headers().contains_key(CONNECTION));
            respond.send_response(http::Response::new(()), true).unwrap();
        }
    });
    let http = http2(&config);
    for _ in 0..3 {
        let evidence = exchanged_by(http.clone(), &config, add()).await;
        assert_eq!(evidence.status().map(|status| status.as_u16()), Some(200));
    }
}

/// A server that answers each HTTP/2 stream with this reset.
async fn resetting(reason: h2::Reason) -> Config {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config_for(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_request, mut respond))) = connection.accept().await {
            respond.send_reset(reason);
        }
    });
    config
}

#[tokio::test]
async fn a_refused_http2_stream_was_never_sent_and_any_other_reset_proves_nothing() {
    for (reason, refused) in [
        (h2::Reason::REFUSED_STREAM, true),
        (h2::Reason::CANCEL, false),
        (h2::Reason::INTERNAL_ERROR, false),
        (h2::Reason::NO_ERROR, false),
    ] {
        let config = resetting(reason).await;
        let evidence = exchanged_by(http2(&config), &config, add()).await;
        assert_eq!(matches!(evidence, Evidence::NotSent { .. }), refused, "{reason:?} {evidence:?}");
    }
}
