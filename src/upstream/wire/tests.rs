#![allow(clippy::unwrap_used)]

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::Status;

fn one(value: Value) -> Message {
    message(value.to_string().as_bytes()).unwrap()
}

fn ids(value: Value) -> Vec<String> {
    let page = page(value.to_string().as_bytes()).unwrap();
    page.entries.iter().map(|m| m.as_ref().map_or("-".into(), |m| m.id.to_string())).collect()
}

fn utc(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().unwrap())
}

#[test]
fn a_list_is_found_in_each_known_envelope() {
    let list = json!([{"id": "a"}, {"id": "b"}]);
    assert_eq!(ids(list.clone()), ["a", "b"]);
    for key in LIST_KEYS {
        assert_eq!(ids(json!({"ok": true, key: list})), ["a", "b"], "{key}");
        for wrapper in LIST_WRAPPERS {
            assert_eq!(ids(json!({wrapper: {key: list}, "success": true})), ["a", "b"], "{wrapper}.{key}");
        }
    }
    assert_eq!(ids(json!({"items": {"no": "array"}, "rows": list})), ["a", "b"]);
    assert_eq!(ids(json!({"items": []})), [""; 0]);
}

#[test]
fn an_object_without_a_list_is_an_error_that_names_keys_and_no_value() {
    for value in [
        json!({"success": true, "name": "Jane"}),
        json!({"data": {"name": "Jane"}}),
        json!({"items": null, "name": "Jane"}),
        json!({"jane@example.com": "Jane", "name": 1}),
        json!("Jane"),
        json!(null),
        json!({}),
    ] {
        let error = page(value.to_string().as_bytes()).unwrap_err();
        assert!(!error.contains("Jane") && !error.contains("jane"), "{error}");
        assert!(value.get("name").is_none() || error.contains("name"), "{error}");
    }
    for body in ["", "<html>", "{", "[1", "{\"items\":[{\"id\":\"a\"]}"] {
        assert!(page(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn the_total_is_read_where_one_is_told() {
    for (value, total) in [
        (json!({"items": [], "total": 7}), Some(7)),
        (json!({"items": [], "totalCount": 7.0}), Some(7)),
        (json!({"items": [], "total_count": "7"}), Some(7)),
        (json!({"items": [], "meta": {"totalItems": 7}}), Some(7)),
        (json!({"items": [], "pagination": {"total": 7, "page": 1}}), Some(7)),
        (json!({"data": {"items": [], "total": 7}}), Some(7)),
        (json!({"data": {"items": []}, "total": 7}), Some(7)),
        (json!({"items": [], "total": -1}), None),
        (json!({"items": [], "meta": "x"}), None),
        (json!([]), None),
    ] {
        assert_eq!(page(value.to_string().as_bytes()).unwrap().total, total, "{value}");
    }
}

#[test]
fn a_bad_record_does_not_fail_the_page() {
    let list =
        json!([{"id": "a"}, {"status": "SENT"}, null, 5, "x", [1, [2]], true, {"id": {}}, 0.5, {"id": "b"}]);
    assert_eq!(ids(list), ["a", "-", "-", "-", "-", "-", "-", "-", "-", "b"]);
}

#[test]
fn a_message_is_found_bare_or_in_each_known_envelope() {
    assert_eq!(one(json!({"id": "a", "message": "text"})).id.as_str(), "a");
    for wrapper in MESSAGE_WRAPPERS {
        assert_eq!(one(json!({wrapper: {"id": "a"}, "success": true})).id.as_str(), "a", "{wrapper}");
    }
    assert_eq!(one(json!({"message": "done", "data": {"id": "a"}})).id.as_str(), "a");
    assert!(message(br#"{"success":true}"#).is_err());
    assert!(message(br#"[{"id":"a"}]"#).is_err());
    assert!(message(b"").is_err());
}

#[test]
fn each_alias_is_read_and_the_first_that_is_not_null_wins() {
    let message = one(json!({
        "message_id": "third", "messageId": "second", "id": null,
        "contact_id": "c2", "contactId": "c1",
        "state": "queued", "status": null,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00+0100",
        "sent_at": "2026-01-03T00:00:00.5Z", "failedAt": "2026-01-04T00:00:00Z",
        "failure_reason": "later", "errorMessage": "sooner",
        "extra": {"deep": [1]}, "nothing": null,
    }));
    assert_eq!((message.id.as_str(), message.contact_id.as_deref()), ("second", Some("c1")));
    assert_eq!((message.status, message.upstream_status.as_str()), (Status::Queued, "queued"));
    assert_eq!(message.create_time, utc("2026-01-01T00:00:00Z"));
    assert_eq!(message.update_time, utc("2026-01-01T23:00:00Z"));
    assert_eq!(message.sent_time, utc("2026-01-03T00:00:00.5Z"));
    assert_eq!(message.failed_time, utc("2026-01-04T00:00:00Z"));
    assert_eq!(message.failure_reason.as_deref(), Some("sooner"));
    let rest = json!({
        "message_id": "third", "contact_id": "c2", "failure_reason": "later", "extra": {"deep": [1]}, "nothing": null,
    });
    assert_eq!(Value::Object(message.upstream_fields), rest);
}

#[test]
fn an_empty_text_is_nothing_where_the_contract_models_a_field() {
    let message =
        one(json!({"id": "", "messageId": "m1", "contactId": "", "contact": {"id": "c1"}, "createdAt": ""}));
    assert_eq!((message.id.as_str(), message.contact_id.as_deref()), ("m1", Some("c1")));
    assert!(!message.upstream_fields.contains_key("createdAt"));
}

#[test]
fn nested_contacts_statuses_and_errors_are_read_and_kept() {
    let value = json!({
        "id": 12, "contact": {"id": "c1", "name": "x"}, "status": {"name": "CANCELED"},
        "error": {"code": 7, "message": "no route"},
    });
    let message = one(value.clone());
    assert_eq!((message.id.as_str(), message.contact_id.as_deref()), ("12", Some("c1")));
    assert_eq!((message.status, message.upstream_status.as_str()), (Status::Cancelled, "CANCELED"));
    assert_eq!(message.failure_reason.as_deref(), Some("no route"));
    for key in ["contact", "status", "error"] {
        assert_eq!(message.upstream_fields[key], value[key]);
    }
}

#[test]
fn an_unknown_status_is_told_verbatim_and_a_missing_one_as_nothing() {
    let message = one(json!({"id": "a", "status": "Throttled"}));
    assert_eq!((message.status, message.upstream_status.as_str()), (Status::Unknown, "Throttled"));
    assert_eq!(one(json!({"id": "a"})).upstream_status, "");
}

#[test]
fn times_are_read_as_iso_8601_or_as_epoch_seconds_or_milliseconds() {
    for (value, time) in [
        (json!("2026-03-10T14:30:00.000Z"), "2026-03-10T14:30:00Z"),
        (json!("2026-03-10T14:30:00+03:00"), "2026-03-10T11:30:00Z"),
        (json!("2026-03-10T14:30:00-0500"), "2026-03-10T19:30:00Z"),
        (json!(1_773_153_000), "2026-03-10T14:30:00Z"),
        (json!(1_773_153_000_250_i64), "2026-03-10T14:30:00.250Z"),
        (json!(1_773_153_000.25), "2026-03-10T14:30:00.250Z"),
    ] {
        assert_eq!(one(json!({"id": "a", "createdAt": value})).create_time, utc(time), "{value}");
    }
}

#[test]
fn an_unreadable_time_stays_in_the_upstreams_fields_and_fails_nothing() {
    for value in
        [json!("yesterday"), json!("2026-03-10T14:30:00"), json!(-5), json!(1e300), json!({}), json!(true)]
    {
        let message =
            one(json!({"id": "a", "createdAt": value, "scheduled_at_utc": value, "status": "SENT"}));
        assert_eq!((message.create_time, message.status), (None, Status::Sent), "{value}");
        assert_eq!(message.upstream_fields["createdAt"], value);
        assert_eq!(message.upstream_fields["scheduled_at_utc"], value);
    }
}

#[test]
fn a_schedule_is_read_from_each_of_its_names() {
    for (at, at_utc) in [
        ("scheduled_at", "scheduled_at_utc"),
        ("scheduledAt", "scheduledAtUtc"),
        ("scheduled_for", "scheduledAtUtc"),
    ] {
        let schedule = one(json!({
            "id": "a", at: "2026-03-11T09:00:00.000-04:00", at_utc: "2026-03-11T13:00:00.000Z",
            "timezone": "America/New_York",
        }))
        .schedule
        .unwrap();
        assert_eq!(schedule.time, utc("2026-03-11T13:00:00Z"));
        assert_eq!(schedule.local_datetime, "2026-03-11T09:00:00.000-04:00");
        assert_eq!((schedule.time_zone.as_str(), schedule.expected_time), ("America/New_York", None));
    }
}

#[test]
fn an_epoch_schedule_is_an_instant_and_an_unreadable_one_is_shown_verbatim() {
    let schedule = one(json!({"id": "a", "scheduled_at": 1_773_153_000_000_i64})).schedule.unwrap();
    assert_eq!((schedule.time, schedule.local_datetime.as_str()), (utc("2026-03-10T14:30:00Z"), ""));
    let message = one(json!({"id": "a", "scheduled_at": "soon"}));
    let schedule = message.schedule.unwrap();
    assert_eq!((schedule.time, schedule.local_datetime.as_str()), (None, "soon"));
    assert_eq!(message.upstream_fields["scheduled_at"], json!("soon"));
    let message = one(json!({"id": "a", "scheduled_at": null, "scheduled_at_utc": null, "timezone": "UTC"}));
    assert_eq!((message.schedule, message.upstream_fields["timezone"].clone()), (None, json!("UTC")));
}

#[test]
fn escaped_keys_and_texts_are_read_as_what_they_mean() {
    let message = message(br#"{"\u0069d":"a\"b","st\u0061tus":"SE\u004eT","\u0078":1}"#).unwrap();
    assert_eq!((message.id.as_str(), message.status), ("a\"b", Status::Sent));
    assert_eq!(message.upstream_fields["x"], json!(1));
}

#[test]
fn the_answer_to_adding_is_read_with_its_nulls() {
    let body = json!({"items": [
        {"messageId": "m1", "contactId": "c1", "scheduled_at": null, "scheduled_at_utc": null, "timezone": null},
        {"message_id": "m2", "contact_id": "c2", "scheduledAt": "2026-03-11T09:00:00.000-05:00",
         "scheduledAtUtc": "2026-03-11T14:00:00.000Z", "timezone": "America/New_York", "more": [1]},
        {"id": "x"},
    ]});
    let entries = added(body.to_string().as_bytes()).unwrap();
    assert_eq!((entries[0].message_id.as_str(), entries[0].contact_id.as_str()), ("m1", "c1"));
    assert!(entries[0].scheduled_at.is_none() && entries[0].time_zone.is_none());
    assert_eq!((entries[1].message_id.as_str(), entries[1].contact_id.as_str()), ("m2", "c2"));
    assert_eq!(entries[1].scheduled_at_utc.as_deref(), Some("2026-03-11T14:00:00Z"));
    assert_eq!(entries[2].message_id, "", "an id that could be the contact's is no message's id");
    for body in ["", "{}", "null", r#"{"items":[null]}"#, r#"{"items":["m1"]}"#] {
        assert!(added(body.as_bytes()).is_err(), "{body}");
    }
}

/// Any JSON, with the known names among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    const KEYS: &str = "id|messageId|status|state|items|data|result|message|contact|error|errors|detail|total|meta|\
        createdAt|scheduled_at|scheduled_at_utc|timezone|name|[a-z\\PC]{0,6}";
    let texts = "SENT|QUEUED|2026-03-1[0-9]T14:30:00(Z|[+]03:00)?|[\\PC]{0,12}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(KEYS, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn read_all(body: &[u8]) {
    let _ = (page(body), message(body), added(body), texts(body));
}

proptest! {
    #[test]
    fn reading_any_json_never_panics(value in any_json()) {
        read_all(value.to_string().as_bytes());
    }

    #[test]
    fn a_page_read_in_one_pass_is_the_one_read_in_two(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(page(text.as_bytes()), page_in_two_passes(text.as_bytes()));
    }

    #[test]
    fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn a_cut_answer_never_panics_and_is_never_a_shorter_list(value in any_json(), cut in 0.0..1.0_f64) {
        let text = json!({"items": [value]}).to_string();
        let cut = (text.len() as f64 * cut) as usize;
        prop_assert!(page(&text.as_bytes()[..cut]).is_err());
    }

    #[test]
    fn no_record_loses_a_field_or_its_neighbours(fields in prop::collection::btree_map("x[a-z]{1,5}", any_json(), 0..6)) {
        let mut object: serde_json::Map<String, Value> = fields.into_iter().collect();
        let rest = object.clone();
        object.insert("id".into(), "a".into());
        let read = page(json!([5, object, {"id": "b"}]).to_string().as_bytes()).unwrap();
        let Some(message) = &read.entries[1] else { panic!("it has an id") };
        // Through text, as numbers are rounded by it.
        let expected: Value = serde_json::from_str(&Value::Object(rest).to_string()).unwrap();
        prop_assert_eq!(Value::Object(message.upstream_fields.clone()), expected);
        prop_assert!(read.entries[0].is_none() && read.entries[2].is_some());
    }
}
