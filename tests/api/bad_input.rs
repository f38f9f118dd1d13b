//! Bad input never changes the upstream's route, never panics, never hangs.

use blubash_grpc::{pb, sandbox};
use prost::Message as _;
use tonic::{Code, Status, client::Grpc};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, item, items, keyed, reason, request_id};

fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

fn watch(campaign: &str) -> pb::WatchMessagesRequest {
    pb::WatchMessagesRequest {
        campaign_id: campaign.into(),
        complete_when_terminal: true,
        ..Default::default()
    }
}

/// Calls every RPC that takes an id with this one, as campaign and as message.
async fn call_with(app: &App, id: &str) -> Vec<Status> {
    let list = pb::ListMessagesRequest { campaign_id: id.into(), ..Default::default() };
    let mut refused = vec![
        app.get(id, "m").await.unwrap_err(),
        app.get(EVERGREEN, id).await.unwrap_err(),
        app.cancel(id, "m").await.unwrap_err(),
        app.cancel(EVERGREEN, id).await.unwrap_err(),
        app.list(list).await.unwrap_err(),
        app.add_to(id, request_id(""), items(1)).await.unwrap_err(),
    ];
    refused.push(match app.watch(watch(id)).await {
        Err(status) => status,
        Ok(mut stream) => loop {
            if let Err(status) = stream.message().await {
                break status;
            }
        },
    });
    refused
}

#[tokio::test]
async fn an_id_that_cannot_be_a_path_segment_is_refused_before_the_network() {
    let app = App::start().await;
    let long = "x".repeat(257);
    for id in ["", ".", "..", "a\nb", "a\u{0}b", "a\u{7f}", long.as_str()] {
        for status in call_with(&app, id).await {
            assert_eq!(
                reason(&status),
                (Code::InvalidArgument, "FIELD_INVALID".into()),
                "{id:?}: {status:?}"
            );
            let fields = fields(&status);
            assert!(fields == ["campaign_id"] || fields == ["message_id"], "{id:?}: {fields:?}");
        }
    }
    assert!(app.rest.log().await.is_empty(), "nothing reached the upstream");
}

#[tokio::test]
async fn an_odd_id_goes_upstream_as_the_one_segment_that_it_is() {
    let app = App::start().await;
    for (id, segment) in [
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("%2e%2e", "%252e%252e"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("...", "..."),
        ("a;b=c&d", "a%3Bb%3Dc%26d"),
        ("\\..\\", "%5C..%5C"),
    ] {
        for status in call_with(&app, id).await {
            assert_eq!(status.code(), Code::NotFound, "{id:?}: {status:?}");
        }
        let paths: Vec<String> = app
            .rest
            .log()
            .await
            .into_iter()
            .map(|call| call["path"].as_str().unwrap().trim_start_matches("/api/v1/campaigns/").to_owned())
            .collect();
        assert!(!paths.is_empty());
        for path in paths {
            // Two segments and a verb at most, whatever the id holds.
            let as_campaign = [
                format!("{segment}/messages/m"),
                format!("{segment}/messages"),
                format!("{segment}/audience"),
                format!("{segment}/messages/m/cancel"),
            ];
            let as_message =
                [format!("{EVERGREEN}/messages/{segment}"), format!("{EVERGREEN}/messages/{segment}/cancel")];
            assert!(as_campaign.contains(&path) || as_message.contains(&path), "{id:?} went to {path}");
        }
        app.rest.control(reqwest::Method::DELETE, "requests", serde_json::Value::Null).await;
    }
}

fn value(kind: prost_types::value::Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

fn custom(key: &str, value: prost_types::Value) -> Option<prost_types::Struct> {
    Some(prost_types::Struct { fields: [(key.to_owned(), value)].into() })
}

/// A value so many lists deep.
fn nested(depth: usize) -> prost_types::Value {
    (0..depth).fold(value(prost_types::value::Kind::BoolValue(true)), |inner, _| {
        value(prost_types::value::Kind::ListValue(prost_types::ListValue { values: vec![inner] }))
    })
}

fn scheduled(when: pb::schedule::When) -> pb::AudienceItem {
    pb::AudienceItem { schedule: Some(pb::Schedule { when: Some(when) }), ..item("5511900000000") }
}

fn datetime(value: &str, time_zone: &str) -> pb::AudienceItem {
    let datetime = pb::IsoDateTime { value: value.into(), time_zone: time_zone.into() };
    scheduled(pb::schedule::When::Datetime(datetime))
}

#[tokio::test]
async fn a_bad_item_is_invalid_with_its_path_and_the_good_ones_go_on() {
    use prost_types::value::Kind::NumberValue;
    let good = || item("5511900000000");
    let canary = "canary".repeat(100);
    let rows: Vec<(&str, pb::AudienceItem)> = vec![
        ("recipient", pb::AudienceItem { recipient: None, ..good() }),
        ("identifier", item("")),
        ("identifier", item(canary.clone())),
        ("name", pb::AudienceItem { name: canary.clone(), ..good() }),
        ("email", pb::AudienceItem { email: canary.clone(), ..good() }),
        ("item_id", pb::AudienceItem { item_id: canary.clone(), ..good() }),
        ("tags", pb::AudienceItem { tags: vec!["t".into(); 10_000], ..good() }),
        ("tags[1]", pb::AudienceItem { tags: vec!["t".into(), String::new()], ..good() }),
        ("tags[0]", pb::AudienceItem { tags: vec![canary.clone()], ..good() }),
        (
            "custom_fields.n",
            pb::AudienceItem { custom_fields: custom("n", value(NumberValue(f64::NAN))), ..good() },
        ),
        (
            "custom_fields.n",
            pb::AudienceItem { custom_fields: custom("n", value(NumberValue(f64::INFINITY))), ..good() },
        ),
        ("custom_fields", pb::AudienceItem { custom_fields: custom("d", nested(9)), ..good() }),
        ("custom_fields", pb::AudienceItem { custom_fields: custom("d", nested(40)), ..good() }),
        ("schedule", pb::AudienceItem { schedule: None, ..good() }),
        ("schedule", pb::AudienceItem { schedule: Some(pb::Schedule { when: None }), ..good() }),
        ("schedule.datetime.value", datetime("tomorrow", "UTC")),
        ("schedule.datetime.time_zone", datetime("2026-07-01T09:00", "")),
        ("schedule.datetime.time_zone", datetime("2026-07-01T09:00", "Mars/Olympus")),
        ("schedule.datetime.value", datetime("2026-03-08T02:30", "America/New_York")),
        (
            "schedule.at",
            scheduled(pb::schedule::When::At(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 })),
        ),
        ("schedule.at", scheduled(pb::schedule::When::At(prost_types::Timestamp { seconds: 0, nanos: -1 }))),
    ];
    let app = App::start().await;
    let mut sent: Vec<pb::AudienceItem> = rows.iter().map(|(_, item)| item.clone()).collect();
    sent.push(item("5511987654321"));
    let answer = app.add(request_id(""), sent).await.unwrap();
    for ((path, _), result) in rows.iter().zip(&answer.results) {
        assert_eq!(result.disposition(), pb::Disposition::Invalid, "{path}: {result:?}");
        let failure = result.failure.as_ref().unwrap();
        let at = |v: &pb::FieldViolation| v.field.starts_with(path);
        assert!(failure.field_violations.iter().any(at), "{path}: {failure:?}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
    }
    assert_eq!(answer.results.last().unwrap().disposition(), pb::Disposition::Added);
    let summary = answer.summary.unwrap();
    assert_eq!((summary.invalid, summary.added), (rows.len() as i64, 1));
}

#[tokio::test]
async fn a_name_of_a_megabyte_is_invalid_and_harms_nobody() {
    let app = App::start().await;
    let huge = pb::AudienceItem { name: "x".repeat(1 << 20), ..item("5511900000000") };
    let answer = app.add(request_id(""), vec![huge, item("5511900000001")]).await.unwrap();
    assert_eq!(answer.results[0].disposition(), pb::Disposition::Invalid);
    assert_eq!(answer.results[1].disposition(), pb::Disposition::Added);
}

#[tokio::test]
async fn negative_and_unknown_numbers_are_named() {
    let app = App::start().await;
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let list = pb::ListMessagesRequest {
        campaign_id: sandbox::SEEDED.into(),
        page_size: -1,
        statuses: vec![99],
        max_staleness: seconds(-1),
        ..Default::default()
    };
    let mut named = fields(&app.list(list).await.unwrap_err());
    named.sort();
    assert_eq!(named, ["max_staleness", "page_size", "statuses[0]"]);
    let watching = pb::WatchMessagesRequest {
        heartbeat_interval: seconds(-1),
        initial_state: 99,
        statuses: vec![-1],
        message_ids: vec!["..".into()],
        ..watch(sandbox::SEEDED)
    };
    let mut named = fields(&app.watch(watching).await.unwrap_err());
    named.sort();
    assert_eq!(named, ["heartbeat_interval", "initial_state", "message_ids[0]", "statuses[0]"]);
    let many = pb::WatchMessagesRequest { message_ids: vec!["m".into(); 1_001], ..watch(sandbox::SEEDED) };
    assert_eq!(fields(&app.watch(many).await.unwrap_err()), ["message_ids"]);
    let options =
        pb::AudienceOptions { local_time_policy: 99, result_view: -5, first_index: -1, ..request_id("") };
    let mut named = fields(&app.add(options, items(1)).await.unwrap_err());
    named.sort();
    assert_eq!(named, ["options.first_index", "options.local_time_policy", "options.result_view"]);
}

/// Bytes that are sent as they are where a message is expected.
#[derive(Clone, PartialEq, prost::Message)]
struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    campaign_id: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    items: Vec<Vec<u8>>,
}

async fn send_raw(app: &App, raw: Raw) -> Result<(), Status> {
    let channel =
        tonic::transport::Channel::from_shared(app.address.clone()).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/blubash.campaigns.v1.CampaignsService/AddAudience");
    let codec: ProstCodec<Raw, pb::AddAudienceResponse> = ProstCodec::default();
    grpc.client_streaming(keyed(tokio_stream::once(raw)), path, codec).await.map(drop)
}

#[tokio::test]
async fn bytes_that_are_no_message_are_an_invalid_argument_and_the_server_lives_on() {
    let app = App::start().await;
    let campaign_id = EVERGREEN.as_bytes().to_vec();
    // A list within a list, a thousand deep: more than any decoder walks.
    let mut deep =
        prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(1.0)) }.encode_to_vec();
    let wrap = |tag: u8, inner: Vec<u8>| {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut outer);
        outer.extend(inner);
        outer
    };
    for _ in 0..1_000 {
        deep = wrap(0x32, wrap(0x0a, deep));
    }
    let field = wrap(0x0a, [wrap(0x0a, b"k".to_vec()), wrap(0x12, deep)].concat());
    let deep_item = wrap(0x32, field);
    for raw in [
        Raw { campaign_id: vec![0xff, 0xfe, b'c'], items: vec![] },
        Raw { campaign_id: campaign_id.clone(), items: vec![vec![0x1a, 0x02, 0xc3, 0x28]] },
        Raw { campaign_id: campaign_id.clone(), items: vec![vec![0x1a, 0x7f]] },
        Raw { campaign_id: campaign_id.clone(), items: vec![deep_item] },
    ] {
        let status = send_raw(&app, raw).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "FIELD_INVALID".into()), "{status:?}");
    }
    assert!(app.rest.log().await.is_empty(), "nothing reached the upstream");
    assert_eq!(app.add(request_id(""), items(1)).await.unwrap().summary.unwrap().added, 1);
}
