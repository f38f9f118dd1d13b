//! The main job: the vendor page's own three items go in, are read back, one is cancelled, the rest are
//! watched to their end.

use blubash_grpc::{
    clock::Clock,
    context::Context,
    grpc::convert::parse,
    model::{ApiKey, CampaignId, Workspace, WorkspaceId},
    pb,
    sandbox::{Options, UtcOffset},
    upstream::{self, Batch, Call, Client, EncodedItem, Evidence, Outcome},
};
use serde_json::Value;

use crate::harness::{App, EVERGREEN, request_id};

const EXAMPLE: &str = include_str!("../fixtures/add_request.json");
const ANSWER: &str = include_str!("../fixtures/add_response.json");

fn timestamp(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

fn at(when: pb::schedule::When) -> Option<pb::Schedule> {
    Some(pb::Schedule { when: Some(when) })
}

fn datetime(value: &str, time_zone: &str) -> Option<pb::Schedule> {
    at(pb::schedule::When::Datetime(pb::IsoDateTime { value: value.into(), time_zone: time_zone.into() }))
}

fn text(value: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(value.into())) }
}

/// The page's example in the contract's words.
fn example() -> (pb::AudienceOptions, Vec<pb::AudienceItem>) {
    use pb::audience_item::Recipient::{ContactId, Identifier};
    let options =
        pb::AudienceOptions { default_time_zone: "America/New_York".into(), ..request_id("example") };
    let fields = [("cf_plan", "pro"), ("cf_source", "api")];
    let items = vec![
        pb::AudienceItem {
            item_id: "one".into(),
            recipient: Some(ContactId("<CONTACT_ID_1>".into())),
            schedule: at(pb::schedule::When::Immediate(pb::Immediate {})),
            ..Default::default()
        },
        pb::AudienceItem {
            item_id: "two".into(),
            recipient: Some(Identifier("5511999999999".into())),
            name: "Jane Smith".into(),
            email: "jane@example.com".into(),
            custom_fields: Some(prost_types::Struct {
                fields: fields.map(|(key, value)| (key.to_owned(), text(value))).into(),
            }),
            tags: vec!["Hot Lead".into(), "VIP Customer".into()],
            schedule: datetime("2026-03-10T14:30:00.000Z", ""),
        },
        pb::AudienceItem {
            item_id: "three".into(),
            recipient: Some(ContactId("<CONTACT_ID_3>".into())),
            schedule: datetime("2026-03-11T09:00:00", "America/New_York"),
            ..Default::default()
        },
    ];
    (options, items)
}

#[tokio::test]
async fn the_vendors_own_example_goes_in_is_read_back_cancelled_and_watched_to_its_end() {
    let app = App::start().await;
    let (options, items) = example();
    // One item a message: a stream, as a caller with a generator sends it.
    let mut messages: Vec<_> = items
        .into_iter()
        .map(|item| pb::AddAudienceRequest { items: vec![item], ..Default::default() })
        .collect();
    messages[0].campaign_id = EVERGREEN.into();
    messages[0].options = Some(options);
    let answer = app.add_stream(messages).await.unwrap();

    assert_eq!(answer.request_id, "example");
    let summary = answer.summary.unwrap();
    assert_eq!((summary.received, summary.added), (3, 3));
    let ids: Vec<String> = answer
        .results
        .iter()
        .map(|result| {
            assert_eq!(result.disposition(), pb::Disposition::Added);
            result.added.as_ref().unwrap().message_id.clone()
        })
        .collect();
    assert_eq!(
        answer.results.iter().map(|r| r.item_id.as_str()).collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
    let third = answer.results[2].added.as_ref().unwrap().schedule.as_ref().unwrap();
    assert_eq!(third.time, Some(timestamp(1_773_234_000)), "13:00Z, as the IANA database has it");
    assert_eq!(third.expected_time, None);

    for id in &ids {
        let message = app.get(EVERGREEN, id).await.unwrap();
        assert_eq!(
            (message.message_id.as_str(), message.status()),
            (id.as_str(), pb::MessageStatus::Pending)
        );
    }
    app.rest.advance(2).await;
    let cancelled = app.cancel(EVERGREEN, &ids[2]).await.unwrap();
    assert_eq!(cancelled.message.unwrap().status(), pb::MessageStatus::Cancelled);

    let watch = pb::WatchMessagesRequest {
        campaign_id: EVERGREEN.into(),
        complete_when_terminal: true,
        ..Default::default()
    };
    let mut stream = app.watch(watch).await.unwrap();
    let mut seen: Vec<(String, pb::MessageStatus)> = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        match response.event.unwrap() {
            pb::watch_messages_response::Event::Changes(changes) => {
                let messages = changes.changes.into_iter().map(|change| change.message.unwrap());
                seen.extend(messages.map(|message| (message.message_id.clone(), message.status())));
            }
            // Long enough for the immediate one, the second's instant, and the rest of its way.
            pb::watch_messages_response::Event::SnapshotComplete(complete) => {
                assert_eq!(complete.message_count, 3);
                app.rest.advance(20 * 86_400).await;
            }
            event => panic!("{event:?}"),
        }
    }
    let last = |id: &String| seen.iter().rfind(|(seen, _)| seen == id).unwrap().1;
    assert_eq!(
        ids.iter().map(last).collect::<Vec<_>>(),
        [pb::MessageStatus::Sent, pb::MessageStatus::Sent, pb::MessageStatus::Cancelled]
    );
}

/// JSON without the white space between its tokens.
fn minified(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    json.chars()
        .filter(|c| {
            inside ^= *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            inside || !c.is_whitespace()
        })
        .collect()
}

#[test]
fn the_clients_request_is_the_pages_own_byte_for_byte() {
    let (options, items) = example();
    let options = parse::options(Some(options)).unwrap();
    let encoded: Vec<_> =
        items.into_iter().map(|item| EncodedItem::new(&parse::item(item, &options).1.unwrap())).collect();
    let batch = Batch::frame(options.default_zone, &encoded.iter().collect::<Vec<_>>());
    assert_eq!(std::str::from_utf8(batch.body()).unwrap(), minified(EXAMPLE));
}

#[tokio::test]
async fn the_client_reads_the_pages_own_answer() {
    let (options, items) = example();
    let options = parse::options(Some(options)).unwrap();
    let encoded: Vec<_> =
        items.into_iter().map(|item| EncodedItem::new(&parse::item(item, &options).1.unwrap())).collect();
    let batch = Batch::frame(options.default_zone, &encoded.iter().collect::<Vec<_>>());
    // The page gives its three messages one placeholder. As it stands that is an answer that cannot be true.
    let numbered = |text: &str| {
        let mut parts = text.split("<MESSAGE_ID>");
        let first = parts.next().unwrap().to_owned();
        (1..).zip(parts).fold(first, |text, (n, part)| format!("{text}<MESSAGE_ID_{n}>{part}"))
    };
    for (answer, is_added) in [(ANSWER.to_owned(), false), (numbered(ANSWER), true)] {
        let transport = tower::service_fn(move |_: Call| {
            let evidence = Evidence::answered(http::StatusCode::OK, answer.clone());
            async { Ok::<_, std::convert::Infallible>(evidence) }
        });
        let config = upstream::Config::new("http://127.0.0.1:1/api/v1/campaigns").unwrap();
        let client = Client::with_transport(transport, &config, Clock::System);
        let workspace = Workspace { id: WorkspaceId([0; 16]), key: ApiKey::new("k").into() };
        let ctx = Context { workspace, deadline: None };
        let campaign = CampaignId::parse("camp").unwrap();
        let admission = client.admit(&ctx).await.unwrap();
        match client.add_audience(&ctx, &campaign, &batch, admission).await {
            Outcome::Added(added) => {
                assert!(is_added);
                assert_eq!(added[1].contact_id, "<CONTACT_ID_2>");
                assert_eq!(added[0].schedule, None);
                let third = added[2].schedule.as_ref().unwrap();
                assert_eq!(third.time_zone, "America/New_York");
                assert!(third.expected_time.is_some(), "the page's example is an hour off");
            }
            outcome => assert!(!is_added && matches!(outcome, Outcome::InDoubt { .. }), "{outcome:?}"),
        }
    }
}

#[tokio::test]
async fn what_the_sandbox_keeps_is_what_the_page_sent() {
    let app = App::start().await;
    let (options, items) = example();
    app.add(options, items).await.unwrap();
    // The sandbox keeps what each message was made of; the page's example is held against that.
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();
    let truth = app.rest.truth().await;
    assert_eq!(truth.len(), 3);
    for (item, message) in example["items"].as_array().unwrap().iter().zip(&truth) {
        for field in ["name", "email", "custom_fields", "tags"] {
            assert_eq!(
                message["given"].get(field).unwrap_or(&Value::Null),
                item.get(field).unwrap_or(&Value::Null)
            );
        }
    }
}

#[tokio::test]
async fn the_wrong_hour_of_the_pages_example_shows_up_in_expected_time() {
    let app = App::with(Options { utc_offset: UtcOffset::VendorExample, ..Options::default() }, &[]).await;
    let (options, items) = example();
    let answer = app.add(options, items).await.unwrap();
    let added = answer.results[2].added.as_ref().unwrap();
    let schedule = added.schedule.as_ref().unwrap();
    assert_eq!(schedule.local_datetime, "2026-03-11T09:00:00.000-05:00");
    assert_eq!(schedule.time, Some(timestamp(1_773_237_600)), "14:00Z, as the page shows it");
    assert_eq!(schedule.expected_time, Some(timestamp(1_773_234_000)));
    let second = answer.results[1].added.as_ref().unwrap().schedule.as_ref().unwrap();
    assert_eq!((second.expected_time, second.time_zone.as_str()), (None, ""));

    let read_back = app.get(EVERGREEN, &added.message_id).await.unwrap();
    assert_eq!(read_back.schedule.unwrap().expected_time, Some(timestamp(1_773_234_000)));
}
