//! Every method of the contract, by every kind of caller.

use std::{fs, path::Path};

use blubash_grpc::{
    access::Right::{self, Read, Write},
    pb::{self, campaigns_service_client::CampaignsServiceClient},
    sandbox::{self, SEEDED},
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{BOTH, Files, Headers, NOBODY, READER, READERS_NAME, STRANGER, WRITER, add, add_by, get, with};
use crate::{
    harness::{EVERGREEN, item, reason, request_id},
    tls::{self, Authority},
};

type Client = CampaignsServiceClient<Channel>;

/// What each method needs.
const METHODS: [(&str, Right); 9] = [
    ("AddAudience", Write),
    ("IngestAudience", Write),
    ("GetIngestion", Read),
    ("GetMessage", Read),
    ("ListMessages", Read),
    ("CountMessages", Read),
    ("CancelMessage", Write),
    ("CancelMessages", Write),
    ("WatchMessages", Read),
];

/// What a call is answered where it is let in, and where not.
type Answer = (Code, &'static str);

const LET_IN: Answer = (Code::Ok, "");
const UNKNOWN: Answer = (Code::Unauthenticated, "CREDENTIALS_INVALID");
const FORBIDDEN: Answer = (Code::PermissionDenied, "WORKSPACE_FORBIDDEN");
const UNCHOSEN: Answer = (Code::InvalidArgument, "FIELD_INVALID");

struct Role {
    name: &'static str,
    headers: Headers<'static>,
    reads: Answer,
    writes: Answer,
}

const fn role(name: &'static str, headers: Headers<'static>, reads: Answer, writes: Answer) -> Role {
    Role { name, headers, reads, writes }
}

const ROLES: [Role; 13] = [
    role("nobody", &[], UNKNOWN, UNKNOWN),
    role("a wrong token", &[("authorization", NOBODY)], UNKNOWN, UNKNOWN),
    role(
        "a wrong token, a right workspace",
        &[("authorization", NOBODY), ("x-workspace", "acme")],
        UNKNOWN,
        UNKNOWN,
    ),
    role("a key", &[("x-api-key", sandbox::ACME_API_KEY)], UNKNOWN, UNKNOWN),
    role(
        "a key beside a token",
        &[("x-api-key", sandbox::ACME_API_KEY), ("authorization", WRITER)],
        UNKNOWN,
        UNKNOWN,
    ),
    role("a reader", &[("authorization", READER)], LET_IN, FORBIDDEN),
    role("a reader that chooses", &[("authorization", READER), ("x-workspace", "acme")], LET_IN, FORBIDDEN),
    role("a writer", &[("authorization", WRITER)], LET_IN, LET_IN),
    role("a writer elsewhere", &[("authorization", STRANGER), ("x-workspace", "acme")], FORBIDDEN, FORBIDDEN),
    role("a writer of nothing", &[("authorization", WRITER), ("x-workspace", "none")], FORBIDDEN, FORBIDDEN),
    role("who has to choose", &[("authorization", BOTH)], UNCHOSEN, UNCHOSEN),
    role("who has chosen", &[("authorization", BOTH), ("x-workspace", "acme")], LET_IN, LET_IN),
    role(
        "who chooses twice",
        &[("authorization", BOTH), ("x-workspace", "acme"), ("x-workspace", "acme")],
        UNCHOSEN,
        UNCHOSEN,
    ),
];

/// Calls a method so that it is let in wherever the caller is; of a stream, the first answer counts.
async fn call(mut client: Client, method: &str, headers: Headers<'_>) -> Result<(), Status> {
    let campaign_id = SEEDED.to_owned();
    match method {
        "AddAudience" => add_by(client, headers, EVERGREEN, "matrix").await.map(drop),
        "IngestAudience" => {
            let message = pb::IngestAudienceRequest {
                campaign_id: EVERGREEN.into(),
                options: Some(request_id("matrix")),
                items: vec![item("5511900000001")],
            };
            let answers = client.ingest_audience(with(tokio_stream::iter([message]), headers)).await?;
            answers.into_inner().message().await.map(drop)
        }
        "GetIngestion" => {
            let request = pb::GetIngestionRequest {
                campaign_id: EVERGREEN.into(),
                request_id: "begun".into(),
                ..Default::default()
            };
            client.get_ingestion(with(request, headers)).await.map(drop)
        }
        "GetMessage" => client.get_message(with(get(SEEDED, "msg-seeded-sent", 60), headers)).await.map(drop),
        "ListMessages" => {
            let request = pb::ListMessagesRequest { campaign_id, ..Default::default() };
            client.list_messages(with(request, headers)).await.map(drop)
        }
        "CountMessages" => {
            let request = pb::CountMessagesRequest { campaign_id, ..Default::default() };
            client.count_messages(with(request, headers)).await.map(drop)
        }
        "CancelMessage" => {
            let request = pb::CancelMessageRequest { campaign_id, message_id: "msg-seeded-cancelled".into() };
            client.cancel_message(with(request, headers)).await.map(drop)
        }
        "CancelMessages" => {
            let message_ids = vec!["msg-seeded-cancelled".to_owned()];
            let request = pb::CancelMessagesRequest { campaign_id, message_ids, ..Default::default() };
            client.cancel_messages(with(request, headers)).await?.into_inner().message().await.map(drop)
        }
        "WatchMessages" => {
            let request = pb::WatchMessagesRequest { campaign_id, ..Default::default() };
            client.watch_messages(with(request, headers)).await?.into_inner().message().await.map(drop)
        }
        other => panic!("{other} has no call here"),
    }
}

#[test]
fn every_method_of_the_contract_has_a_row() {
    let contract =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/blubash/campaigns/v1/campaigns_service.proto");
    let contract = fs::read_to_string(contract).unwrap();
    let methods = contract.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next());
    assert_eq!(methods.collect::<Vec<_>>(), METHODS.map(|(method, _)| method));
}

#[tokio::test]
async fn each_method_answers_each_kind_of_caller_as_the_access_file_says() {
    let files = Files::new();
    let app = files.serve().await;
    add(&app, &[("authorization", WRITER)], EVERGREEN, "begun").await.unwrap();
    for (method, needs) in METHODS {
        for Role { name, headers, reads, writes } in &ROLES {
            let before = app.rest.log().await.len();
            let told = call(app.client.clone(), method, headers).await;
            let told = told.map_or_else(|status| reason(&status), |()| (Code::Ok, String::new()));
            let due = if needs == Read { reads } else { writes };
            assert_eq!((told.0, told.1.as_str()), *due, "{method} by {name}");
            if *due != LET_IN {
                assert_eq!(app.rest.log().await.len(), before, "{method} by {name} went up");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_lets_in_whom_the_access_file_names_and_a_token_goes_before_it() {
    let (files, authority) = (Files::new(), Authority::new());
    let flags = [authority.flags(true), vec![files.flag()]].concat();
    let app = tls::app(&flags).await;
    let writer = [("authorization", WRITER)];
    let connect = async |name: Option<&str>| {
        let pair = name.map(|name| authority.caller(name));
        CampaignsServiceClient::new(authority.connect(&app, pair.as_ref()).await.unwrap())
    };
    let reader = connect(Some(READERS_NAME)).await;
    let stranger = connect(Some("spiffe://mesh.example/reader/2")).await;
    let without = connect(None).await;
    add_by(stranger.clone(), &writer, EVERGREEN, "begun").await.unwrap();
    let acme: Headers = &[("x-workspace", "acme")];
    let free: Headers = &[("x-workspace", "free-plan")];
    let key: Headers = &[("x-workspace", "acme"), ("x-api-key", sandbox::ACME_API_KEY)];
    for (method, needs) in METHODS {
        let wants = |reads, writes| if needs == Read { reads } else { writes };
        for (client, headers, due) in [
            (&reader, acme, wants(LET_IN, FORBIDDEN)),
            (&reader, free, FORBIDDEN),
            (&reader, &[][..], UNCHOSEN),
            (&reader, key, UNKNOWN),
            (&reader, &[("authorization", NOBODY)], UNKNOWN),
            (&reader, &writer, LET_IN),
            (&stranger, acme, UNKNOWN),
            (&stranger, &writer, LET_IN),
            (&without, acme, UNKNOWN),
            (&without, &writer, LET_IN),
        ] {
            let told = call(client.clone(), method, headers).await;
            let told = told.map_or_else(|status| reason(&status), |()| (Code::Ok, String::new()));
            assert_eq!((told.0, told.1.as_str()), due, "{method} with {headers:?}");
        }
    }
}

#[tokio::test]
async fn health_and_reflection_ask_for_nothing() {
    let app = Files::new().serve().await;
    let channel = crate::edge::channel(&app).await;
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(crate::edge::reflected_v1(channel, false).await.len(), 4);
}

#[tokio::test]
async fn no_refusal_quotes_what_was_sent() {
    let app = Files::new().serve().await;
    for headers in [
        &[("authorization", "Basic canary")][..],
        &[("authorization", "Bearer canary-canary-canary-canary-canary-canary")],
        &[("authorization", WRITER), ("x-workspace", "canary")],
        &[("x-api-key", "canary")],
    ] {
        let status = call(app.client.clone(), "GetMessage", headers).await.unwrap_err();
        let told = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
        assert!(!told.contains("canary"), "{told}");
    }
}
