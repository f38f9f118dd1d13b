//! SIGTERM, Ctrl-C, and what becomes of the calls in flight.

use std::time::Duration;

use blubash_grpc::pb;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};

use super::process::Process;
use crate::harness::{EVERGREEN, dispositions, item, keyed, reason, request_id};

/// An add on its way: the sandbox has it, and does to it what `fault` says.
async fn add_in_flight(
    server: &Process,
    fault: Value,
) -> JoinHandle<Result<Response<pb::AddAudienceResponse>, Status>> {
    server.control(Method::POST, "faults", fault).await;
    let mut client = server.client().await;
    let message = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("in-flight")),
        items: vec![item("5511900000001")],
    };
    let call = tokio::spawn(async move { client.add_audience(keyed(tokio_stream::iter([message]))).await });
    let taken = async {
        while server.control(Method::GET, "faults", Value::Null).await["rules"][0]["taken"] != json!(1) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.expect("the sandbox gets the add");
    call
}

#[tokio::test]
async fn sigterm_ends_a_watch_with_unavailable_and_the_process_with_0() {
    let server = Process::serve(&["--sandbox"]).await;
    let watch = pb::WatchMessagesRequest { campaign_id: EVERGREEN.into(), ..Default::default() };
    let mut changes = server.client().await.watch_messages(keyed(watch)).await.unwrap().into_inner();
    server.signal("TERM").await;
    let ended = loop {
        match changes.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a watch that was cut short must not end with OK"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&ended), (Code::Unavailable, "SERVER_DRAINING".into()));
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn sigterm_lets_an_add_in_flight_finish() {
    let server = Process::serve(&["--sandbox"]).await;
    let fault = json!({"operation": "add", "count": 1, "latency_ms": 1000});
    let call = add_in_flight(&server, fault).await;
    server.signal("TERM").await;
    server.says("draining").await;
    let answer = call.await.unwrap().unwrap().into_inner();
    assert_eq!(dispositions(&answer), [pb::Disposition::Added]);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn an_add_whose_connection_hangs_beyond_sigterm_is_told_as_in_doubt() {
    let server = Process::serve(&["--sandbox"]).await;
    let fault = json!({"operation": "add", "count": 1, "hang_ms": 1000, "apply": true});
    let call = add_in_flight(&server, fault).await;
    server.signal("TERM").await;
    let answer = call.await.unwrap().unwrap().into_inner();
    assert_eq!(dispositions(&answer), [pb::Disposition::InDoubt]);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let server = Process::serve(&["--sandbox"]).await;
    let fault = json!({"operation": "add", "count": 1, "latency_ms": 60_000});
    let call = add_in_flight(&server, fault).await;
    server.signal("TERM").await;
    server.says("draining; a second signal ends at once").await;
    assert_eq!(server.stop_with("INT").await, Some(130));
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn ctrl_c_ends_both_commands_in_order() {
    let (server, rest) = (Process::serve(&["--sandbox"]).await, Process::sandbox().await);
    assert_eq!(server.stop_with("INT").await, Some(0));
    assert_eq!(rest.stop_with("INT").await, Some(0));
}
