use pb::{audience_item::Recipient as Given, schedule::When};
use proptest::prelude::*;
use prost::Message as _;
use prost_types::Timestamp;

use super::*;
use crate::{
    error::Error,
    grpc::{convert::parse, status::status},
    model::{IngestionOptions, Item, LocalTimePolicy, Personal, Recipient, Schedule, zone},
};

fn read(item: pb::AudienceItem) -> Result<Item, Vec<Violation>> {
    parse::item(item, &IngestionOptions::default()).1
}

fn wrong(change: impl FnOnce(&mut pb::AudienceItem)) -> Vec<Violation> {
    let mut item = valid_item();
    change(&mut item);
    read(item).unwrap_err()
}

fn at(when: When) -> impl FnOnce(&mut pb::AudienceItem) {
    move |item| item.schedule = Some(pb::Schedule { when: Some(when) })
}

fn datetime(value: &str, time_zone: &str) -> When {
    When::Datetime(pb::IsoDateTime { value: value.into(), time_zone: time_zone.into() })
}

#[test]
fn a_full_item_becomes_the_vendors_json() {
    let mut item = valid_item();
    item.name = "Ada".into();
    item.email = "ada@example.com".into();
    item.tags = vec!["a".into(), "ü".repeat(64)];
    item.custom_fields = Some(fields([
        ("whole", value(Kind::NumberValue(5.0))),
        ("negative", value(Kind::NumberValue(-7.0))),
        ("zero", value(Kind::NumberValue(-0.0))),
        ("half", value(Kind::NumberValue(0.5))),
        ("exact", value(Kind::NumberValue(9_007_199_254_740_991.0))),
        ("null", value(Kind::NullValue(0))),
        ("list", value(Kind::ListValue(ListValue { values: vec![value(Kind::StringValue("x".into()))] }))),
    ]));
    at(datetime("2026-03-11T09:00:00", "America/New_York"))(&mut item);
    let json = serde_json::to_value(read(item).unwrap()).unwrap();
    let expected = serde_json::json!({
        "identifier": "+49 170 1234567",
        "name": "Ada",
        "email": "ada@example.com",
        "custom_fields": {
            "whole": 5, "negative": -7, "zero": 0, "half": 0.5, "exact": 9_007_199_254_740_991_i64,
            "null": null, "list": ["x"],
        },
        "tags": ["a", "ü".repeat(64)],
        "schedule": {"type": "absolute", "datetime": "2026-03-11T09:00:00", "timezone": "America/New_York"},
    });
    assert_eq!(json, expected);
    // Not 5.0, not -0: as text, for JSON's equality may be looser than that.
    assert!(json.to_string().contains(r#""whole":5,"#) && json.to_string().contains(r#""zero":0"#));
}

#[test]
fn a_contact_and_an_identifier_are_taken_as_written() {
    let recipient = |given| {
        let mut item = valid_item();
        item.recipient = Some(given);
        read(item).unwrap().recipient
    };
    assert_eq!(recipient(Given::ContactId("..".into())), Recipient::ContactId("..".into()));
    assert_eq!(recipient(Given::Identifier(" +1 ".into())), Recipient::Identifier(Personal(" +1 ".into())));
}

#[test]
fn everything_that_is_wrong_with_an_item_is_said_at_once_and_no_value_with_it() {
    let long = |bytes: usize| CANARY.repeat(bytes.div_ceil(CANARY.len()));
    let (item_id, result) = parse::item(
        pb::AudienceItem {
            item_id: long(129),
            recipient: Some(Given::Identifier(format!("{CANARY}\n"))),
            name: long(1 << 20),
            email: long(321),
            custom_fields: Some(fields([("cf_x", value(Kind::NumberValue(f64::NAN)))])),
            tags: vec!["ok".into(), String::new(), long(129)],
            schedule: Some(pb::Schedule { when: Some(datetime(CANARY, CANARY)) }),
        },
        &IngestionOptions::default(),
    );
    assert_eq!(item_id.len(), 128);
    let wrong = result.unwrap_err();
    assert_eq!(
        told(&wrong),
        [
            ("custom_fields.cf_x", Reason::FieldInvalid),
            ("item", Reason::FieldInvalid),
            ("item_id", Reason::FieldInvalid),
            ("identifier", Reason::IdentifierInvalid),
            ("name", Reason::FieldInvalid),
            ("email", Reason::FieldInvalid),
            ("tags[1]", Reason::FieldInvalid),
            ("tags[2]", Reason::FieldInvalid),
            ("schedule.datetime.value", Reason::DatetimeInvalid),
        ]
    );
    let error = Error::invalid(wrong);
    for text in [format!("{error:?} {:?}", error.violations()), format!("{:?}", status(&error))] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn a_recipient_is_required_and_must_be_usable() {
    let recipient = |given| told_of(wrong(|item| item.recipient = given));
    assert_eq!(recipient(None), ("recipient".into(), Reason::RecipientRequired));
    for (id, reason) in [
        (String::new(), Reason::RecipientRequired),
        ("x".repeat(257), Reason::FieldInvalid),
        ("a\0".into(), Reason::FieldInvalid),
    ] {
        assert_eq!(recipient(Some(Given::ContactId(id))), ("contact_id".into(), reason));
    }
    for (text, reason) in [
        ("", Reason::IdentifierInvalid),
        (" \u{a0}\u{3000}", Reason::IdentifierInvalid),
        ("+1\u{7f}", Reason::IdentifierInvalid),
        (&"x".repeat(257), Reason::FieldInvalid),
    ] {
        assert_eq!(recipient(Some(Given::Identifier(text.into()))), ("identifier".into(), reason));
    }
}

fn told_of(wrong: Vec<Violation>) -> (String, Reason) {
    let [only] = <[Violation; 1]>::try_from(wrong).unwrap();
    (only.field, only.reason)
}

#[test]
fn a_schedule_is_required_and_its_choice_too() {
    for schedule in [None, Some(pb::Schedule { when: None })] {
        assert_eq!(
            told_of(wrong(|item| item.schedule = schedule)),
            ("schedule".into(), Reason::FieldInvalid)
        );
    }
}

#[test]
fn an_instant_is_cut_to_the_millisecond_and_kept_in_range() {
    let read = |seconds, nanos| {
        let mut item = valid_item();
        at(When::At(Timestamp { seconds, nanos }))(&mut item);
        read(item)
    };
    let Schedule::At(moment) = read(1_773_153_000, 123_999_999).unwrap().schedule else { panic!() };
    assert_eq!((moment.text.as_str(), moment.time_zone), ("2026-03-10T14:30:00.123Z", None));
    for seconds in [-62_135_596_800, 253_402_300_799] {
        assert!(read(seconds, 0).is_ok());
    }
    for (seconds, nanos) in [
        (0, -1),
        (0, 1_000_000_000),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (253_402_300_800, 0),
        (-62_135_596_801, 0),
    ] {
        let wrong = read(seconds, nanos).unwrap_err();
        assert_eq!(told(&wrong), [("schedule.at", Reason::DatetimeInvalid)], "{seconds} {nanos}");
    }
}

#[test]
fn what_is_wrong_with_a_wall_clock_time_is_told_where_it_stands() {
    let fault = |value, zone| told_of(wrong(at(datetime(value, zone))));
    let (value, zone_field) = ("schedule.datetime.value", "schedule.datetime.time_zone");
    assert_eq!(fault("2026-02-30T09:00", ""), (value.into(), Reason::DatetimeInvalid));
    assert_eq!(fault("2026-03-11T09:00", ""), (zone_field.into(), Reason::TimeZoneRequired));
    assert_eq!(fault("2026-03-11T09:00", "Mars/Olympus"), (zone_field.into(), Reason::TimeZoneUnknown));

    for (text, reason, candidates) in [
        (
            "2026-03-08T02:30:00",
            Reason::LocalTimeNonexistent,
            ["2026-03-08T01:30:00-05:00", "2026-03-08T03:30:00-04:00"],
        ),
        (
            "2026-11-01T01:30:00",
            Reason::LocalTimeAmbiguous,
            ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00"],
        ),
    ] {
        let wrong = wrong(at(datetime(text, "America/New_York")));
        assert_eq!(told(&wrong), [(value, reason)]);
        let [earlier, later] = candidates.map(str::to_owned);
        assert_eq!(wrong[0].metadata, [("earlier".into(), earlier), ("later".into(), later)]);
    }
}

#[test]
fn the_calls_default_zone_and_policy_count() {
    let options = IngestionOptions {
        default_zone: zone("America/New_York"),
        local_time_policy: LocalTimePolicy::Later,
        ..Default::default()
    };
    let mut item = valid_item();
    at(datetime("2026-03-08T02:30:00", ""))(&mut item);
    let Schedule::At(moment) = parse::item(item, &options).1.unwrap().schedule else { panic!() };
    assert_eq!(moment.text, "2026-03-08T03:30:00.000-04:00");
}

#[test]
fn every_bad_custom_field_is_named_by_its_path() {
    let list = |kinds: Vec<Value>| value(Kind::ListValue(ListValue { values: kinds }));
    let bad = fields([
        ("a", value(Kind::NumberValue(f64::INFINITY))),
        ("b", list(vec![value(Kind::BoolValue(true)), value(Kind::NumberValue(f64::NEG_INFINITY))])),
        ("c", value(Kind::StructValue(fields([("d", Value { kind: None })])))),
        ("e\n", list(vec![list(vec![value(Kind::NumberValue(f64::NAN))])])),
    ]);
    let wrong = wrong(|item| item.custom_fields = Some(bad));
    let paths: Vec<_> = wrong.iter().map(|violation| violation.field.as_str()).collect();
    let expected =
        ["custom_fields.a", "custom_fields.b[1]", "custom_fields.c.d", "custom_fields.e\u{fffd}[0][0]"];
    assert_eq!(paths, expected);
}

#[test]
fn custom_fields_are_bounded_in_size_depth_and_in_what_is_said_of_them() {
    let first = |given: Struct| told_of(wrong(|item| item.custom_fields = Some(given)));
    for lists in [false, true] {
        for levels in [1, 8] {
            let mut item = valid_item();
            item.custom_fields = Some(nested(levels, lists));
            assert!(read(item).is_ok(), "{levels}");
        }
        for levels in [9, 33] {
            assert_eq!(first(nested(levels, lists)), ("custom_fields".into(), Reason::FieldInvalid));
        }
    }
    assert_eq!(first(fields([("a", value(Kind::StringValue("x".repeat(33_000))))])).0, "custom_fields");

    // Thousands of mistakes with long names in one item: what is said of them stays small.
    let many = (0..250).map(|n| (format!("{n}{}", "k".repeat(100)), value(Kind::NumberValue(f64::NAN))));
    let wrong = wrong(|item| item.custom_fields = Some(Struct { fields: many.collect() }));
    assert_eq!(wrong.len(), 64);
    assert!(wrong.iter().all(|violation| violation.field.len() < 100));
}

#[test]
fn depth_that_no_wire_allows_overflows_no_stack() {
    let mut item = valid_item();
    item.custom_fields = Some(nested(1_000_000, false));
    assert_eq!(told(&read(item).unwrap_err()), [("custom_fields", Reason::FieldInvalid)]);
}

#[test]
fn the_wire_itself_bounds_depth() {
    // Built by hand, for encoding what is too deep would recurse as well: lists inside lists.
    let mut bytes = vec![];
    for _ in 0..2_000 {
        for tag in [0x0a, 0x32] {
            let mut outer = vec![tag];
            prost::encode_length_delimiter(bytes.len(), &mut outer).unwrap();
            outer.append(&mut bytes);
            bytes = outer;
        }
    }
    assert!(Value::decode(&bytes[..]).is_err());
}

#[test]
fn limits_are_of_bytes_and_hold_to_the_byte() {
    let counts = |change: fn(&mut pb::AudienceItem, usize), limit: usize| {
        for (size, fits) in [(limit, true), (limit + 1, false)] {
            let mut item = valid_item();
            change(&mut item, size);
            assert_eq!(read(item).is_ok(), fits, "{size}");
        }
    };
    counts(|item, n| item.item_id = "x".repeat(n), 128);
    counts(|item, n| item.name = "x".repeat(n), 256);
    counts(|item, n| item.email = "x".repeat(n), 320);
    counts(|item, n| item.tags = vec!["x".into(); n], 100);
    counts(|item, n| item.tags = vec!["x".repeat(n)], 128);
    counts(|item, n| item.recipient = Some(Given::ContactId("x".repeat(n))), 256);
    // "ü" has two bytes: what is cut is cut between characters.
    let mut item = valid_item();
    item.item_id = format!("x{}", "ü".repeat(100));
    let (item_id, result) = parse::item(item, &IngestionOptions::default());
    assert_eq!((item_id.len(), result.is_err()), (127, true));
}

#[test]
fn ten_thousand_tags_are_one_mistake_and_a_large_item_another() {
    let wrong = wrong(|item| item.tags = vec![CANARY.to_owned(); 10_000]);
    assert_eq!(told(&wrong), [("item", Reason::FieldInvalid), ("tags", Reason::FieldInvalid)]);
}

proptest! {
    #[test]
    fn whatever_decodes_is_read_without_a_panic_and_its_size_is_its_encodings(
        bytes in prop::collection::vec(any::<u8>(), 0..200), double in any::<f64>(), text in "\\PC{0,60}",
    ) {
        if let Ok(item) = pb::AudienceItem::decode(&bytes[..]) {
            let _ = read(item);
        }
        let mut item = valid_item();
        item.custom_fields = Some(fields([(&text, value(Kind::NumberValue(double)))]));
        at(datetime(&text, &text))(&mut item);
        if let Err(wrong) = read(item) {
            prop_assert!(text.len() < 8 || wrong.iter().all(|v| !v.message.contains(&text)));
        }
    }
}
