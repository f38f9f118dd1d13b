//! What one caller, or all of them together, cannot take from the others.

use std::time::Duration;

use blubash_grpc::{
    pb,
    sandbox::{EVERGREEN, GLOBEX_API_KEY, Options, SEEDED, SEEDED_MESSAGES},
};
use bytes::Bytes;
use h2::client::SendRequest;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{App, item, keyed, reason, request_id, with_key};

const PATIENCE: Duration = Duration::from_secs(20);

async fn app(flags: &[&str]) -> App {
    App::with(Options::default(), flags).await
}

async fn socket(app: &App) -> TcpStream {
    TcpStream::connect(app.address.trim_start_matches("http://")).await.unwrap()
}

/// Waits for the other side to close.
async fn closed(mut socket: TcpStream) {
    let mut sink = [0; 4096];
    let end = async { while matches!(socket.read(&mut sink).await, Ok(read) if read > 0) {} };
    timeout(PATIENCE, end).await.expect("it was never closed");
}

async fn is_served(app: &App) {
    timeout(PATIENCE, app.get(SEEDED, SEEDED_MESSAGES[0])).await.expect("nobody is served").unwrap();
}

#[tokio::test]
async fn a_connection_too_many_is_closed_as_it_comes_and_takes_nothing_from_the_others() {
    let app = app(&["--max-connections=2", "--handshake-timeout=1m"]).await;
    is_served(&app).await;
    let mut held = socket(&app).await;
    held.write_all(b"PRI * HTTP/2.0").await.unwrap();
    for _ in 0..20 {
        closed(socket(&app).await).await;
    }
    is_served(&app).await;
    drop(held);
    // Its place is free again.
    let mut next = socket(&app).await;
    let mut byte = [0];
    while !matches!(timeout(Duration::from_millis(200), next.read(&mut byte)).await, Err(_) | Ok(Ok(1))) {
        next = socket(&app).await;
    }
}

#[tokio::test]
async fn connections_that_begin_and_never_go_on_are_given_up_while_callers_are_served() {
    let app = app(&["--handshake-timeout=200ms"]).await;
    let mut half_open = Vec::new();
    for part in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        for _ in 0..20 {
            let mut socket = socket(&app).await;
            socket.write_all(part.as_bytes()).await.unwrap();
            half_open.push(socket);
        }
    }
    is_served(&app).await;
    for socket in half_open {
        closed(socket).await;
    }
    is_served(&app).await;
}

#[tokio::test]
async fn an_overloaded_server_refuses_reads_first_says_when_to_come_again_and_answers_health() {
    let app = app(&["--max-calls=5"]).await;
    app.rest.fault(json!({"operation": "get", "hang_ms": 60_000})).await;
    let mut reads = tokio::task::JoinSet::new();
    for id in &SEEDED_MESSAGES[..4] {
        let mut client = app.client.clone();
        let (campaign_id, message_id) = (SEEDED.to_owned(), (*id).to_owned());
        let request = pb::GetMessageRequest { campaign_id, message_id, max_staleness: None };
        reads.spawn(async move { client.get_message(keyed(request)).await });
    }
    while app.upstream_calls("get").await.len() < 4 {
        tokio::task::yield_now().await;
    }
    let refused = app.get(SEEDED, SEEDED_MESSAGES[5]).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::ResourceExhausted, "OVERLOADED".into()));
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    let watch = pb::WatchMessagesRequest { campaign_id: SEEDED.into(), ..Default::default() };
    assert_eq!(reason(&app.watch(watch).await.unwrap_err()).1, "OVERLOADED");

    // The last place is for who changes something, and is given back.
    for n in 0..3 {
        let id = format!("write-{n}");
        app.add(request_id(&id), vec![item(format!("551190000000{n}"))]).await.unwrap();
    }
    let channel = tonic::transport::Channel::from_shared(app.address.clone()).unwrap().connect_lazy();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();

    reads.shutdown().await;
    app.rest.control(reqwest::Method::DELETE, "faults", serde_json::Value::Null).await;
    let served = async {
        while app.get(SEEDED, SEEDED_MESSAGES[5]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.expect("the places of those who left are free again");
}

#[tokio::test]
async fn a_greedy_workspace_is_refused_what_is_over_its_share_and_the_others_are_served() {
    let app = app(&["--workspace-max-calls=3"]).await;
    app.rest.fault(json!({"operation": "get", "hang_ms": 60_000, "count": 3})).await;
    let mut reads = tokio::task::JoinSet::new();
    for id in &SEEDED_MESSAGES[..3] {
        let mut client = app.client.clone();
        let (campaign_id, message_id) = (SEEDED.to_owned(), (*id).to_owned());
        let request = pb::GetMessageRequest { campaign_id, message_id, max_staleness: None };
        reads.spawn(async move { client.get_message(keyed(request)).await });
    }
    while app.upstream_calls("get").await.len() < 3 {
        tokio::task::yield_now().await;
    }
    let refused = app.get(SEEDED, SEEDED_MESSAGES[5]).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::ResourceExhausted, "OVERLOADED".into()));
    assert!(refused.get_details_retry_info().is_some());
    let other = pb::ListMessagesRequest { campaign_id: "camp-globex".into(), ..Default::default() };
    app.client.clone().list_messages(with_key(other, GLOBEX_API_KEY)).await.unwrap();

    // What it had is given back as its callers leave.
    reads.shutdown().await;
    let served = async {
        while app.get(SEEDED, SEEDED_MESSAGES[5]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, served).await.expect("its places are free again");
}

#[tokio::test]
async fn an_old_connection_lets_its_watches_go_on_elsewhere_and_its_calls_end() {
    let app = app(&["--connection-max-age=1s"]).await;
    let request = pb::WatchMessagesRequest { campaign_id: EVERGREEN.into(), ..Default::default() };
    let mut watch = app.watch(request.clone()).await.unwrap();
    // A call that is under way when its connection's time has come.
    app.rest.fault(json!({"operation": "get", "latency_ms": 2_500, "count": 1})).await;
    let slow = tokio::spawn({
        let mut client = app.client.clone();
        let (campaign_id, message_id) = (SEEDED.to_owned(), SEEDED_MESSAGES[0].to_owned());
        async move {
            let request = pb::GetMessageRequest { campaign_id, message_id, max_staleness: None };
            client.get_message(keyed(request)).await
        }
    });
    let (mut token, status) = (String::new(), loop_to_end(&mut watch).await);
    let (last, status) = status;
    if let Some(last) = last {
        token = last;
    }
    assert_eq!(reason(&status), (Code::Unavailable, "SERVER_DRAINING".into()));
    slow.await.unwrap().unwrap();

    // The client connects anew by itself, and the watch goes on where it was.
    assert!(!token.is_empty());
    let mut watch = app.watch(pb::WatchMessagesRequest { resume_token: token, ..request }).await.unwrap();
    app.add(request_id("later"), vec![item("5511900000001")]).await.unwrap();
    let update = timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
    assert!(!format!("{update:?}").contains("WatchReset"), "{update:?}");
}

/// The last token, and the status.
async fn loop_to_end(
    watch: &mut tonic::Streaming<pb::WatchMessagesResponse>,
) -> (Option<String>, tonic::Status) {
    let mut token = None;
    loop {
        match timeout(PATIENCE, watch.message()).await.expect("it never ended") {
            Ok(Some(update)) => token = Some(update.resume_token),
            Ok(None) => panic!("a watch ended as if it were complete"),
            Err(status) => return (token, status),
        }
    }
}

#[tokio::test]
async fn a_call_whose_caller_never_ends_its_request_is_ended() {
    let app = app(&["--stream-idle-timeout=1s"]).await;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let message = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("never-ended")),
        items: vec![item("5511900000001")],
    };
    sender.send(message).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let status =
        timeout(PATIENCE, app.client.clone().add_audience(keyed(stream))).await.unwrap().unwrap_err();
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
    assert!(app.rest.truth().await.is_empty(), "nothing of it was sent");
}

async fn raw(app: &App) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(socket(app).await).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request() -> http::Request<()> {
    http::Request::post("http://x/blubash.campaigns.v1.CampaignsService/AddAudience")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-api-key", blubash_grpc::sandbox::ACME_API_KEY)
        .body(())
        .unwrap()
}

#[tokio::test]
async fn floods_of_resets_and_of_empty_frames_end_their_own_connection_or_nothing() {
    let app = app(&[]).await;
    // Streams that are opened and reset at once (CVE-2023-44487).
    let mut sender = raw(&app).await;
    for _ in 0..20_000 {
        let Ok(ready) = sender.ready().await else { break };
        sender = ready;
        let Ok((_, mut stream)) = sender.send_request(request(), false) else { break };
        stream.send_reset(h2::Reason::CANCEL);
    }
    is_served(&app).await;

    // Frames that carry nothing, on a call that never ends.
    let sender = raw(&app).await;
    let (_response, mut stream) = sender.ready().await.unwrap().send_request(request(), false).unwrap();
    for n in 0..200_000 {
        if stream.send_data(Bytes::new(), false).is_err() {
            break;
        }
        if n % 1_000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    is_served(&app).await;
    assert!(app.rest.truth().await.is_empty());
}
