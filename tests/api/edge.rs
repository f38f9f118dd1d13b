//! What every call meets, whatever it asks for: sizes, compression, deadlines, keys, health, reflection.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use blubash_grpc::{
    pb::{self, campaigns_service_client::CampaignsServiceClient},
    sandbox::{SEEDED, SEEDED_MESSAGES},
};
use prost::Message as _;
use serde_json::json;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request, codec::CompressionEncoding::Gzip, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::{ErrorDetail, StatusExt as _};

use crate::harness::{App, EVERGREEN, item, keyed, reason, request_id};

const SERVICE: &str = "blubash.campaigns.v1.CampaignsService";

fn get(id: &str) -> pb::GetMessageRequest {
    pb::GetMessageRequest { campaign_id: SEEDED.into(), message_id: id.into(), max_staleness: None }
}

pub(crate) async fn channel(app: &App) -> Channel {
    Channel::from_shared(app.address.clone()).unwrap().connect().await.unwrap()
}

/// A unary call by hand, with no client-side deadline: its code, and the reason of its ErrorInfo.
async fn by_hand(app: &App, method: &str, timeout: Option<&str>, key: Option<&str>) -> (Code, String) {
    by_hand_over(&http2(), app, method, timeout, key).await
}

fn http2() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()
}

async fn by_hand_over(
    client: &reqwest::Client,
    app: &App,
    method: &str,
    timeout: Option<&str>,
    key: Option<&str>,
) -> (Code, String) {
    let message = get(SEEDED_MESSAGES[0]).encode_to_vec();
    let frame = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let mut request = client
        .post(format!("{}/{SERVICE}/{method}", app.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(frame);
    for (name, value) in [("grpc-timeout", timeout), ("x-api-key", key)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    // A refusal has its status in the headers.
    let answer = request.send().await.unwrap();
    let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
    let code = Code::from_bytes(header("grpc-status").expect("a refusal").as_bytes());
    let details = header("grpc-status-details-bin").unwrap_or_default();
    let details = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).unwrap();
    let status = tonic::Status::with_details(code, "", details.into());
    reason(&status)
}

const KEY: Option<&str> = Some(blubash_grpc::sandbox::ACME_API_KEY);

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_in_our_form_streamed_unary_or_compressed() {
    let app = App::start().await;
    let too_large = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned());
    let name = "n".repeat(5 << 20);
    let large = pb::AudienceItem { name: name.clone(), ..item("5511900000001") };
    let status = app.add(request_id("large"), vec![large.clone()]).await.unwrap_err();
    assert_eq!(reason(&status), too_large);
    assert!(status.get_details_retry_info().is_none());
    let status = app.get(&name, "m").await.unwrap_err();
    assert_eq!(reason(&status), too_large);

    // 5 MiB that travel as 5 KiB.
    let mut zipped = CampaignsServiceClient::new(channel(&app).await).send_compressed(Gzip);
    let message = pb::AddAudienceRequest { campaign_id: EVERGREEN.into(), items: vec![large], options: None };
    let status = zipped.add_audience(keyed(tokio_stream::iter([message]))).await.unwrap_err();
    assert_eq!(reason(&status), too_large);
    assert!(app.rest.log().await.is_empty(), "none of it went upstream");
    app.get(SEEDED, SEEDED_MESSAGES[0]).await.unwrap();
}

#[tokio::test]
async fn compressed_requests_are_taken_by_the_service_health_and_reflection() {
    let app = App::start().await;
    let channel = channel(&app).await;
    let mut service = CampaignsServiceClient::new(channel.clone()).send_compressed(Gzip);
    service.get_message(keyed(get(SEEDED_MESSAGES[0]))).await.unwrap();
    let messages = [pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        items: vec![item("5511900000001")],
        options: None,
    }];
    service.add_audience(keyed(tokio_stream::iter(messages))).await.unwrap();
    let mut health = HealthClient::new(channel.clone()).send_compressed(Gzip);
    health.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(reflected_v1(channel, true).await.len(), 4);
}

#[tokio::test]
async fn health_says_serving_for_the_server_and_the_service() {
    let app = App::start().await;
    // Not bound to the upstream's mood.
    app.rest.fault(json!({"status": 500})).await;
    let mut health = HealthClient::new(channel(&app).await);
    for service in ["", SERVICE] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "no.such.Service".into() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}

/// Both versions have the same messages under other names.
macro_rules! reflect {
    ($name:ident, $version:ident) => {
        /// What is asked for in turn: the services, then the files of three symbols.
        pub(crate) async fn $name(channel: Channel, zipped: bool) -> Vec<Vec<u8>> {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let mut client = ServerReflectionClient::new(channel);
            if zipped {
                client = client.send_compressed(Gzip);
            }
            let symbol = |symbol: &str| MessageRequest::FileContainingSymbol(symbol.into());
            let asked = [
                MessageRequest::ListServices(String::new()),
                symbol(SERVICE),
                symbol("google.rpc.ErrorInfo"),
                symbol("google.rpc.BadRequest"),
            ];
            let asked = asked.map(|request| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(request),
            });
            let mut answers = client
                .server_reflection_info(Request::new(tokio_stream::iter(asked)))
                .await
                .unwrap()
                .into_inner();
            let mut told = Vec::new();
            while let Some(answer) = answers.next().await {
                told.push(match answer.unwrap().message_response.unwrap() {
                    MessageResponse::ListServicesResponse(list) => {
                        let names = list.service.into_iter().map(|service| service.name);
                        names.collect::<Vec<_>>().join(" ").into_bytes()
                    }
                    MessageResponse::FileDescriptorResponse(files) => files.file_descriptor_proto.concat(),
                    other => panic!("{other:?}"),
                });
            }
            told
        }
    };
}

reflect!(reflected_v1, v1);
reflect!(reflected_v1alpha, v1alpha);

#[tokio::test]
async fn reflection_tells_the_service_and_the_error_details_in_both_versions() {
    let app = App::start().await;
    let channel = channel(&app).await;
    for told in [reflected_v1(channel.clone(), false).await, reflected_v1alpha(channel, false).await] {
        let texts: Vec<_> = told.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        assert!(texts[0].contains(SERVICE) && texts[0].contains("grpc.health.v1.Health"), "{}", texts[0]);
        assert!(texts[1].contains("WatchMessages"));
        for file in &texts[2..] {
            assert!(file.contains("google.rpc") && file.contains("RetryInfo"));
        }
    }
}

#[tokio::test]
async fn a_timeout_that_cannot_be_read_is_refused() {
    let app = App::start().await;
    for bad in ["", "1", "S", "1x", "-1S", "123456789S", "1.5S", "1 S"] {
        let answer = by_hand(&app, "GetMessage", Some(bad), KEY).await;
        assert_eq!(answer, (Code::InvalidArgument, "FIELD_INVALID".into()), "{bad:?}");
    }
    assert!(app.rest.log().await.is_empty());
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_without_a_reason() {
    let app = App::start().await;
    for method in ["NoSuchMethod", "getmessage", ""] {
        assert_eq!(by_hand(&app, method, None, KEY).await, (Code::Unimplemented, String::new()), "{method}");
    }
}

#[tokio::test]
async fn a_call_without_a_key_or_with_one_that_cannot_be_is_refused_before_anything_is_asked() {
    let app = App::start().await;
    for key in [None, Some(""), Some("canary key"), Some(&*"k".repeat(513))] {
        for method in ["GetMessage", "CancelMessage", "AddAudience", "WatchMessages"] {
            let answer = by_hand(&app, method, None, key).await;
            assert_eq!(answer, (Code::Unauthenticated, "API_KEY_INVALID".into()), "{method} {key:?}");
        }
    }
    let status = app.client.clone().get_message(get("m")).await.unwrap_err();
    assert!(status.message().contains("x-api-key"), "{status:?}");
    assert!(app.rest.log().await.is_empty());
}

#[tokio::test]
async fn an_answer_comes_before_the_deadline_from_an_upstream_that_hangs() {
    let app = App::start().await;
    app.rest.fault(json!({"hang_ms": 60_000})).await;
    // Its deadline counts from the call, not from a connection's making.
    let client = http2();
    by_hand_over(&client, &app, "NoSuchMethod", None, KEY).await;
    for milliseconds in [50, 200, 1_000] {
        let deadline = Duration::from_millis(milliseconds);
        let mut fastest = Duration::MAX;
        // The machine may be busy for longer than the 5 ms that an answer to a 50 ms call has: the best of some.
        for _ in 0..20 {
            let began = Instant::now();
            let answer =
                by_hand_over(&client, &app, "GetMessage", Some(&format!("{milliseconds}m")), KEY).await;
            assert_eq!(answer, (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".into()));
            fastest = fastest.min(began.elapsed());
            if fastest < deadline {
                break;
            }
        }
        assert!(fastest < deadline, "{fastest:?} of {deadline:?}");
        assert!(fastest > deadline / 2, "{fastest:?} of {deadline:?}: the time is there to be used");
    }
}

#[tokio::test]
async fn every_refusal_names_the_domain_and_its_reason_once() {
    let app = App::start().await;
    let status = app.get("..", "").await.unwrap_err();
    let infos = status.get_error_details_vec();
    let infos = infos.iter().filter(|detail| matches!(detail, ErrorDetail::ErrorInfo(_))).count();
    assert_eq!(
        (infos, status.get_details_error_info().unwrap().domain.as_str()),
        (1, "campaigns.blubash.io")
    );
}
