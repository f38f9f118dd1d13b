//! What the process says of itself, to a collector, to a scraper, to an operator and in its log; and that none of
//! it holds a key or a person.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use blubash_grpc::{pb, sandbox};
use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    binary::{Running, command},
    harness::{item, keyed, request_id},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const CANARIES: [&str; 4] = ["5511900000042", "Canary Name", "canary@example.com", sandbox::ACME_API_KEY];

const SANDBOX: [&str; 6] = ["serve", "--sandbox", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

/// Takes what is sent to it by HTTP, and keeps it as it came: the path, and the body.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Taken>>>);

/// A request's path, and its body.
type Taken = (String, Vec<u8>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taking = collector.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let taking = taking.clone();
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while let Some((path, body, end)) = request(&mut socket, &mut bytes).await {
                        taking.0.lock().unwrap().push((path, body));
                        bytes.drain(..end);
                        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        (collector, url)
    }

    /// All that came on this path.
    fn bodies(&self, path: &str) -> Vec<u8> {
        let taken = self.0.lock().unwrap();
        taken.iter().filter(|(at, _)| at == path).flat_map(|(_, body)| body.clone()).collect()
    }
}

/// The next whole request: its path, its body, and how many bytes it took.
async fn request(
    socket: &mut tokio::net::TcpStream,
    bytes: &mut Vec<u8>,
) -> Option<(String, Vec<u8>, usize)> {
    loop {
        if let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse();
            let end = head_end + 4 + length.unwrap_or(0_usize);
            if bytes.len() >= end {
                let path = head.split(' ').nth(1)?.to_owned();
                return Some((path, bytes[head_end + 4..end].to_vec(), end));
            }
        }
        if socket.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn admin(server: &Running) -> String {
    let said = server.said.lines().find_map(|line| line.strip_prefix("the admin port is ")).unwrap();
    said.to_owned()
}

async fn fetch(url: &str) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(url).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// What was exported as spans.
fn decoded(bodies: &[u8]) -> Vec<Span> {
    // Requests one behind the other read as one.
    let exported = ExportTraceServiceRequest::decode(bodies).unwrap();
    let scopes = exported.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The first event of a watch that is part of the caller's trace.
async fn watch(server: &Running) {
    let mut watch =
        keyed(pb::WatchMessagesRequest { campaign_id: sandbox::SEEDED.into(), ..Default::default() });
    watch.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    let mut events = server.client().await.watch_messages(watch).await.unwrap().into_inner();
    events.message().await.unwrap().expect("an event");
}

/// Adds the canary, and reads a message.
async fn call(server: &Running) {
    let item = pb::AudienceItem {
        name: "Canary Name".into(),
        email: "canary@example.com".into(),
        ..item("5511900000042")
    };
    let add = pb::AddAudienceRequest {
        campaign_id: sandbox::EVERGREEN.into(),
        options: Some(request_id("r")),
        items: vec![item],
    };
    let mut client = server.client().await;
    let mut add = keyed(tokio_stream::iter([add]));
    add.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    client.add_audience(add).await.unwrap();
    let mut get = keyed(pb::GetMessageRequest {
        campaign_id: sandbox::SEEDED.into(),
        message_id: sandbox::SEEDED_MESSAGES[0].into(),
        max_staleness: None,
    });
    get.metadata_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    client.get_message(get).await.unwrap();
}

#[tokio::test]
async fn a_collector_gets_the_callers_trace_with_an_attempt_each_and_no_key_and_no_person() {
    let (collector, url) = Collector::start().await;
    let mut command = command(&SANDBOX);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
        .env("RUST_LOG", "trace")
        .env("BLUBASH_LOG_FORMAT", "json");
    let server = Running::spawn(&mut command).await;
    call(&server).await;
    // What the drain's end flushes is all that there is.
    server.signal();
    let (code, said) = server.end().await;
    assert_eq!(code, Some(0), "{said}");
    let (spans, metrics) = (collector.bodies("/v1/traces"), collector.bodies("/v1/metrics"));
    for name in [
        "blubash.campaigns.v1.CampaignsService/GetMessage",
        "blubash.campaigns.v1.CampaignsService/AddAudience",
        "GET /campaigns/{campaign_id}/messages/{message_id}",
        "POST /campaigns/{campaign_id}/audience",
        "rpc.response.status_code",
        "batch",
        "blubash-grpc",
    ] {
        assert!(holds(&spans, name.as_bytes()), "no span says {name}");
    }
    assert!(holds(&spans, &hex(TRACE)) && holds(&spans, &hex(CALLER)), "the caller's trace goes on");
    for name in ["rpc.server.call.duration", "blubash.in_doubt.items", "blubash.upstream.circuit.open"] {
        assert!(holds(&metrics, name.as_bytes()), "{name}: a collector gets all that a scraper gets");
    }
    for canary in CANARIES {
        assert!(!holds(&spans, canary.as_bytes()) && !holds(&metrics, canary.as_bytes()), "{canary}");
        assert!(!said.replace(sandbox::ACME_API_KEY, "").contains(canary) || canary == sandbox::ACME_API_KEY);
    }
    // The banner names the sandbox's own key; no line of the log does.
    let log: Vec<_> = said.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!log.is_empty());
    for line in &log {
        let object: serde_json::Value = serde_json::from_str(line).expect("a line is an object");
        assert!(object["timestamp"].is_string() && object["level"].is_string(), "{line}");
        assert!(CANARIES.iter().all(|canary| !line.contains(canary)), "{line}");
    }
    assert!(log.iter().any(|line| line.contains(TRACE)), "a line of a traced call names its trace");
}

#[tokio::test]
async fn what_serves_several_calls_is_a_trace_of_its_own_and_links_to_the_call_that_it_began_for() {
    let (collector, url) = Collector::start().await;
    let server = Running::spawn(command(&SANDBOX).env("OTEL_EXPORTER_OTLP_ENDPOINT", &url)).await;
    call(&server).await;
    watch(&server).await;
    server.signal();
    let (code, said) = server.end().await;
    assert_eq!(code, Some(0), "{said}");
    let spans = decoded(&collector.bodies("/v1/traces"));
    for (name, method) in [("batch", "AddAudience"), ("poll", "WatchMessages")] {
        let method = format!("blubash.campaigns.v1.CampaignsService/{method}");
        let call = spans.iter().find(|span| span.name == method).expect("the call has a span");
        assert_eq!((&call.trace_id, &call.parent_span_id), (&hex(TRACE), &hex(CALLER)), "{method}");
        let served: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert!(!served.is_empty(), "no {name}");
        for span in &served {
            assert!(span.parent_span_id.is_empty() && span.trace_id != hex(TRACE), "a {name} has a parent");
            let links: Vec<_> = span.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
            assert_eq!(links, [(&call.trace_id, &call.span_id)], "{name}");
        }
        // Not below each: a round may find nothing to ask for.
        let is_below = |attempt: &Span| served.iter().any(|span| span.span_id == attempt.parent_span_id);
        assert!(spans.iter().any(is_below), "no {name} has an attempt");
    }
}

#[tokio::test]
async fn the_admin_port_says_whether_it_lives_what_it_does_and_what_it_is() {
    let folder = tempfile::TempDir::new().unwrap();
    let ledger = format!("file:{}", folder.path().join("ledger").display());
    let server = Running::start(&[&SANDBOX[..], &["--ledger", &ledger]].concat()).await;
    let admin = admin(&server);
    call(&server).await;
    assert_eq!(fetch(&format!("{admin}/livez")).await.0, 200);
    assert_eq!(fetch(&format!("{admin}/readyz")).await, (200, "ready\n".to_owned()));
    let (_, build) = fetch(&format!("{admin}/buildinfo")).await;
    assert!(build.contains("iana_release") && build.contains(env!("CARGO_PKG_VERSION")), "{build}");
    let (code, metrics) = fetch(&format!("{admin}/metrics")).await;
    assert_eq!(code, 200);
    for part in [
        "rpc_server_call_duration_seconds_count{",
        "rpc_method=\"blubash.campaigns.v1.CampaignsService/GetMessage\"",
        "http_client_request_duration_seconds_bucket{",
        "blubash_dispositions_total{disposition=\"added\"",
        "blubash_cache_requests_total{",
        "blubash_in_doubt_items",
        "blubash_cache_bytes",
        "blubash_build_info{",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    let relied_on = include_str!("../../helm/metrics.txt").lines().filter(|line| !line.starts_with('#'));
    for name in relied_on.map(|line| line.split(' ').next().unwrap()) {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "the chart relies on {name}: {metrics}");
    }
    let (_, page) = fetch(&format!("{admin}/")).await;
    assert!(page.contains("serving") && page.contains("items in doubt"), "{page}");
    let (_, status) = fetch(&format!("{admin}/status")).await;
    for canary in CANARIES {
        assert!(![&metrics, &page, &status, &build].iter().any(|text| text.contains(canary)), "{canary}");
    }
}

#[tokio::test]
async fn once_it_drains_it_is_not_ready_and_still_lives() {
    let server = Running::start(&[&SANDBOX[..], &["--drain-delay", "10s"]].concat()).await;
    let admin = admin(&server);
    server.signal();
    let not_ready = async {
        while fetch(&format!("{admin}/readyz")).await.0 != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), not_ready).await.expect("it still says that it is ready");
    assert_eq!(fetch(&format!("{admin}/livez")).await.0, 200);
    server.signal();
    assert_eq!(server.end().await.0, Some(130));
}

#[tokio::test]
async fn an_exporter_that_is_not_known_is_refused_by_its_variable() {
    let output = command(&SANDBOX).env("OTEL_TRACES_EXPORTER", "zipkin").output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("OTEL_TRACES_EXPORTER"), "{said}");
}
