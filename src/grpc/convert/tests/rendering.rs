use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use pb::watch_messages_response::Event;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::{
    error::Error,
    grpc::convert::render,
    model::{
        AddedItem, CampaignId, Disposition, Ingested, ItemResult, JsonObject, Message, MessageChange,
        MessageId, RequestId, ResolvedSchedule, Status, Summary, WatchEvent, WatchPlace, WatchUpdate,
    },
};

fn campaign() -> CampaignId {
    CampaignId::parse("c1").unwrap()
}

fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn object(json: serde_json::Value) -> JsonObject {
    match json {
        serde_json::Value::Object(object) => object,
        _ => panic!(),
    }
}

#[test]
fn a_message_keeps_all_that_is_known_of_it() {
    let message = Message {
        contact_id: Some("p1".into()),
        upstream_status: "queued".into(),
        schedule: Some(ResolvedSchedule {
            time: Some(utc("2026-03-11T14:00:00Z")),
            local_datetime: "2026-03-11T09:00:00.000-05:00".into(),
            time_zone: "America/New_York".into(),
            expected_time: Some(utc("2026-03-11T13:00:00.5Z")),
        }),
        create_time: Some(utc("1969-12-31T23:59:59.25Z")),
        failure_reason: Some("because".into()),
        upstream_fields: object(json!({"attempts": 3, "nested": {"list": [1.5, null, true, "x"]}})),
        ..Message::bare(id("m1"), Status::Queued)
    };
    let proto = render::message(&campaign(), message);
    assert_eq!((proto.campaign_id.as_str(), proto.message_id.as_str()), ("c1", "m1"));
    assert_eq!((proto.contact_id.as_str(), proto.failure_reason.as_str()), ("p1", "because"));
    assert_eq!((proto.status(), proto.upstream_status.as_str()), (pb::MessageStatus::Queued, "queued"));
    let schedule = proto.schedule.unwrap();
    assert_eq!(schedule.time.unwrap().to_string(), "2026-03-11T14:00:00Z");
    assert_eq!(schedule.expected_time.unwrap().nanos, 500_000_000);
    let created = proto.create_time.unwrap();
    assert_eq!((created.seconds, created.nanos), (-1, 250_000_000));
    assert_eq!((proto.update_time, proto.sent_time, proto.failed_time), (None, None, None));
    let fields = proto.upstream_fields.unwrap().fields;
    assert_eq!(fields["attempts"].kind, Some(Kind::NumberValue(3.0)));
    let Some(Kind::StructValue(nested)) = &fields["nested"].kind else { panic!() };
    let Some(Kind::ListValue(list)) = &nested.fields["list"].kind else { panic!() };
    assert_eq!(list.values.len(), 4);
}

#[test]
fn a_bare_message_has_no_fields_of_the_upstreams() {
    let proto = render::message(&campaign(), Message::bare(id("m1"), Status::Unknown));
    assert_eq!((proto.status(), proto.upstream_status.as_str()), (pb::MessageStatus::Unspecified, ""));
    assert_eq!((proto.upstream_fields, proto.schedule), (None, None));
}

#[test]
fn a_number_that_a_double_would_change_is_told_as_text() {
    let fields = render::object(object(json!({
        "exact": 9_007_199_254_740_992_i64,
        "odd": 9_007_199_254_740_993_i64,
        "large": u64::MAX,
        "largest": i64::MAX,
        "smallest": i64::MIN,
    })));
    let kind = |key: &str| fields.fields[key].kind.clone().unwrap();
    assert_eq!(kind("exact"), Kind::NumberValue(9_007_199_254_740_992.0));
    assert_eq!(kind("odd"), Kind::StringValue("9007199254740993".into()));
    assert_eq!(kind("large"), Kind::StringValue(u64::MAX.to_string()));
    assert_eq!(kind("largest"), Kind::StringValue(i64::MAX.to_string()));
    assert_eq!(kind("smallest"), Kind::NumberValue(-9_223_372_036_854_775_808.0));
}

#[test]
fn an_object_as_deep_as_json_allows_still_makes_an_answer_that_decodes() {
    for (open, close) in [(r#"{"a":"#, "}"), ("[", "]")] {
        let text = format!(r#"{{"a":{}1{}}}"#, open.repeat(120), close.repeat(120));
        let message = Message {
            upstream_fields: serde_json::from_str(&text).unwrap(),
            ..Message::bare(id("m1"), Status::Sent)
        };
        let change = MessageChange { message: Arc::new(message), previous: None, removed: false };
        let update = WatchUpdate {
            observe_time: utc("2026-03-11T14:00:00Z"),
            event: WatchEvent::Changes(vec![change]),
            place: WatchPlace::Start { snapshot: true },
        };
        let proto = render::watch_update(&campaign(), update, "token".to_owned());
        assert_eq!(pb::WatchMessagesResponse::decode(&proto.encode_to_vec()[..]), Ok(proto));
    }
}

#[test]
fn every_disposition_has_what_the_contract_says_and_nothing_else() {
    use pb::Disposition as P;
    let error = || Error::new(Reason::UpstreamRejected, "no");
    let added = AddedItem { message_id: id("m1"), contact_id: "p1".into(), schedule: None };
    for (disposition, expected) in [
        (Disposition::Added(added.into()), P::Added),
        (Disposition::Invalid(error()), P::Invalid),
        (Disposition::Rejected(error()), P::Rejected),
        (Disposition::NotAttempted(error()), P::NotAttempted),
        (Disposition::InDoubt(error()), P::InDoubt),
        (Disposition::Pending, P::Pending),
        (Disposition::Valid, P::Valid),
    ] {
        let result = ItemResult { index: 7, item_id: "row".into(), disposition, replayed: true };
        let proto = render::item_result(result);
        assert_eq!(proto.disposition(), expected);
        assert_eq!((proto.index, proto.item_id.as_str(), proto.replayed), (7, "row", true));
        assert_eq!(proto.added.is_some(), expected == P::Added);
        let fails = matches!(expected, P::Invalid | P::Rejected | P::NotAttempted | P::InDoubt);
        assert_eq!(proto.failure.is_some(), fails);
    }
}

#[test]
fn a_failure_has_the_facts_that_a_status_would_have() {
    let violation = Violation::new("schedule.at", Reason::DatetimeInvalid, "is not one");
    let proto = render::failure(&Error::invalid(vec![violation]).with("earlier", "e"));
    assert_eq!((proto.reason(), proto.code), (pb::ErrorReason::DatetimeInvalid, 3));
    assert_eq!(proto.field_violations[0].field, "schedule.at");
    assert_eq!(proto.field_violations[0].reason(), pb::ErrorReason::DatetimeInvalid);
    assert_eq!((proto.metadata["earlier"].as_str(), proto.retry_delay), ("e", None));

    let waits = render::failure(
        &Error::new(Reason::UpstreamRateLimited, "").retry_after(Duration::from_millis(1_500)),
    );
    assert_eq!(waits.retry_delay, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
    let doubt = render::failure(&Error::new(Reason::UpstreamUnavailable, "").maybe_applied());
    assert_eq!((doubt.reason(), doubt.retry_delay), (pb::ErrorReason::OutcomeUnknown, None));

    let violations = vec![Violation::new("f".repeat(9_999), Reason::FieldInvalid, "m".repeat(9_999)); 999];
    assert!(render::failure(&Error::invalid(violations)).encoded_len() < 40_000);
}

#[test]
fn an_ingestions_end_keeps_its_counts_its_results_and_its_cause() {
    let result =
        ItemResult { index: 0, item_id: String::new(), disposition: Disposition::Pending, replayed: false };
    let mut summary = Summary::default();
    summary.count(&result);
    let proto = render::ingested(Ingested {
        request_id: RequestId::parse("r1").unwrap(),
        summary,
        results: vec![result],
        termination: Some(Error::new(Reason::CampaignPaused, "it is paused")),
    });
    assert_eq!((proto.request_id.as_str(), proto.results.len()), ("r1", 1));
    let expected = pb::AudienceSummary { received: 1, pending: 1, ..Default::default() };
    assert_eq!(proto.summary, Some(expected));
    assert_eq!(proto.termination.unwrap().code, 9);
}

#[test]
fn every_watch_event_is_told() {
    let render = |event| {
        let observe_time = utc("2026-03-11T14:00:00Z");
        let update = WatchUpdate { observe_time, event, place: WatchPlace::Start { snapshot: true } };
        let told = render::watch_update(&campaign(), update, "token".to_owned());
        assert_eq!(told.resume_token, "token");
        told.event.unwrap()
    };
    let message = Arc::new(Message::bare(id("m1"), Status::Sent));
    let change = MessageChange { message, previous: Some(Status::Queued), removed: true };
    let Event::Changes(changes) = render(WatchEvent::Changes(vec![change])) else { panic!() };
    let [change] = &changes.changes[..] else { panic!() };
    assert_eq!((change.previous_status(), change.removed), (pb::MessageStatus::Queued, true));
    assert_eq!(change.message.as_ref().unwrap().campaign_id, "c1");
    let complete = render(WatchEvent::SnapshotComplete { message_count: 3 });
    assert_eq!(complete, Event::SnapshotComplete(pb::SnapshotComplete { message_count: 3 }));
    assert_eq!(render(WatchEvent::Reset), Event::WatchReset(pb::WatchReset {}));
    let heartbeat = WatchEvent::Heartbeat {
        last_poll_time: None,
        poll_interval: Duration::from_secs(2),
        failure: Some(Error::new(Reason::UpstreamUnavailable, "down")),
    };
    let Event::Heartbeat(heartbeat) = render(heartbeat) else { panic!() };
    assert_eq!(heartbeat.poll_interval.unwrap().seconds, 2);
    assert_eq!(heartbeat.upstream_failure.unwrap().code, 14);
}

#[test]
fn times_outside_protobufs_range_are_held_within_it() {
    for (instant, seconds) in
        [(DateTime::<Utc>::MAX_UTC, 253_402_300_799), (DateTime::<Utc>::MIN_UTC, -62_135_596_800)]
    {
        assert_eq!(render::timestamp(instant).seconds, seconds);
    }
    assert_eq!(render::duration(Duration::MAX).seconds, 315_576_000_000);
}
