//! Against a real server on a real socket, with a caller that sends what it likes.
#![allow(clippy::unwrap_used)]

mod fixture;

use bytes::Bytes;
use h2::Reason as Reset;
use prost::Message as _;
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt as _;

use self::fixture::{End, Server, frame};
use super::*;
use crate::pb::{self, campaigns_service_client::CampaignsServiceClient};

const STREAMED: &str = "/blubash.campaigns.v1.CampaignsService/AddAudience";
const UNARY: &str = "/blubash.campaigns.v1.CampaignsService/GetMessage";

fn message() -> Bytes {
    let request = pb::AddAudienceRequest { campaign_id: "c".into(), ..Default::default() };
    frame(0, request.encode_to_vec())
}

/// Bytes that are not one message of ours, and the reason that a caller is told.
fn undecodable() -> Vec<(&'static str, Bytes, &'static str)> {
    vec![
        (
            "not protobuf",
            frame(0, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff canary".to_vec()),
            "FIELD_INVALID",
        ),
        ("a wrong wire type", frame(0, vec![0x08, 0x01]), "FIELD_INVALID"),
        ("text that is not UTF-8", frame(0, b"\x0a\x07canary\xff".to_vec()), "FIELD_INVALID"),
        ("a flag that is none", frame(7, b"canary".to_vec()), "FIELD_INVALID"),
        ("compressed, but not said how", frame(1, b"canary".to_vec()), "FIELD_INVALID"),
        ("cut short", message().slice(..6), "FIELD_INVALID"),
        ("a length over the limit", Bytes::from_static(b"\0\x00\x40\x00\x01canary"), "MESSAGE_TOO_LARGE"),
        ("a length of 4 GiB", Bytes::from_static(b"\0\xff\xff\xff\xffcanary"), "MESSAGE_TOO_LARGE"),
    ]
}

#[tokio::test]
async fn a_stream_that_its_caller_ends_ends_in_order() {
    let mut server = Server::start().await;
    for messages in [0, 1, 3] {
        let mut call = server.call(STREAMED).await;
        for _ in 0..messages {
            call.send(message(), false);
        }
        call.send(Bytes::new(), true);
        assert_eq!(server.end().await, End::HalfClosed { messages });
        assert_eq!(call.status().await.code(), tonic::Code::Ok);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_never_taken_for_one_that_ended() {
    let mut server = Server::start().await;
    for reset in [Reset::CANCEL, Reset::NO_ERROR, Reset::INTERNAL_ERROR, Reset::REFUSED_STREAM] {
        for cut in [0, 3] {
            let mut call = server.call(STREAMED).await;
            call.send(message(), false);
            call.send(message().slice(..cut), false);
            server.reads(1).await;
            call.reset(reset);
            assert_eq!(server.end().await, End::Fault(StreamFault::Gone), "{reset:?}");
        }
    }
    let mut call = server.call(STREAMED).await;
    call.send(message(), false);
    server.reads(1).await;
    call.disconnect();
    assert_eq!(server.end().await, End::Fault(StreamFault::Gone), "disconnected");
}

#[tokio::test]
async fn what_cannot_be_decoded_in_a_stream_reaches_the_handler_as_an_error_of_ours() {
    let mut server = Server::start().await;
    for (what, bytes, reason) in undecodable() {
        let mut call = server.call(STREAMED).await;
        call.send(message(), false);
        call.send(bytes, true);
        let End::Fault(StreamFault::Invalid(error)) = server.end().await else { panic!("{what}") };
        assert_eq!(super::super::status::entry(error.reason()).name(), reason, "{what}");
        assert!(!format!("{error:?}").contains("canary"), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn tonics_own_errors_come_out_in_our_form() {
    let server = Server::start().await;
    let mut cases = undecodable();
    cases.push(("no message at all", Bytes::new(), "FIELD_INVALID"));
    for (what, bytes, reason) in cases {
        let mut call = server.call(UNARY).await;
        call.send(bytes, true);
        let status = call.status().await;
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("{what}: {status:?}"));
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "campaigns.blubash.io"), "{what}");
        assert!(!status.message().contains("canary"), "{what}");
        assert_eq!(details.bad_request().is_some(), reason == "FIELD_INVALID", "{what}");
    }
}

#[tokio::test]
async fn a_message_that_unpacks_to_too_much_is_too_large() {
    let server = Server::start().await;
    let mut client =
        CampaignsServiceClient::new(server.channel().await).send_compressed(CompressionEncoding::Gzip);
    let request = pb::GetMessageRequest { campaign_id: "c".repeat(5 << 20), ..Default::default() };
    let status = client.get_message(request).await.unwrap_err();
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn a_panic_is_told_as_internal_and_stops_automatic_retries() {
    let server = Server::start().await;
    let mut client = CampaignsServiceClient::new(server.channel().await);
    let request = pb::CountMessagesRequest { campaign_id: "canary".into(), ..Default::default() };
    let status = client.count_messages(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Internal);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "INTERNAL");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    assert!(!status.message().contains("canary"));
}

#[tokio::test]
async fn a_method_that_no_version_has_is_unimplemented_without_details() {
    let server = Server::start().await;
    let mut call = server.call("/blubash.campaigns.v1.CampaignsService/NoSuch").await;
    call.send(message(), true);
    let status = call.status().await;
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.details().is_empty());
}

#[tokio::test]
async fn an_error_of_ours_and_the_moment_of_receipt_pass_through() {
    let server = Server::start().await;
    let mut client = CampaignsServiceClient::new(server.channel().await);
    // The handler refuses with the contract's reason, and only where the request was stamped.
    let status = client.get_message(pb::GetMessageRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "MESSAGE_NOT_FOUND");
    assert_eq!(details.retry_info().map(|info| info.retry_delay), Some(Some(Duration::from_secs(9))));
}

#[tokio::test]
async fn other_services_keep_their_errors() {
    for (path, kept) in [("/grpc.health.v1.Health/Check", true), (UNARY, false)] {
        let routes = tower::service_fn(|_: Request<TonicBody>| async {
            Ok::<_, Infallible>(Status::not_found("as it was").into_http::<TonicBody>())
        });
        let request = Request::builder().uri(path).body(TonicBody::empty()).unwrap();
        let response =
            tower::ServiceExt::oneshot(RescueLayer::new(fixture::IDLE).layer(routes), request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.message() == "as it was", kept, "{path}");
    }
}
