#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::model::{LocalTimePolicy, Moment, Personal};

/// The page's example, without its spaces.
const VENDOR_EXAMPLE: &str = concat!(
    r#"{"default_schedule_timezone":"America/New_York","items":["#,
    r#"{"contact_id":"<CONTACT_ID_1>","schedule":{"type":"immediate"}},"#,
    r#"{"identifier":"5511999999999","name":"Jane Smith","email":"jane@example.com","#,
    r#""custom_fields":{"cf_plan":"pro","cf_source":"api"},"tags":["Hot Lead","VIP Customer"],"#,
    r#""schedule":{"type":"absolute","datetime":"2026-03-10T14:30:00.000Z"}},"#,
    r#"{"contact_id":"<CONTACT_ID_3>","schedule":{"type":"absolute","datetime":"2026-03-11T09:00:00","#,
    r#""timezone":"America/New_York"}}]}"#,
);

fn at(text: &str, zone: &str) -> Schedule {
    Schedule::At(Moment::parse(text.to_owned(), zone, None, LocalTimePolicy::Reject).unwrap())
}

fn contact(id: &str, schedule: Schedule) -> Item {
    Item {
        recipient: Recipient::ContactId(id.to_owned()),
        name: None,
        email: None,
        custom_fields: None,
        tags: Vec::new(),
        schedule,
    }
}

fn jane() -> Item {
    let text = |text: &str| Personal(text.to_owned());
    let fields = json!({"cf_plan": "pro", "cf_source": "api"});
    Item {
        recipient: Recipient::Identifier(text("5511999999999")),
        name: Some(text("Jane Smith")),
        email: Some(text("jane@example.com")),
        custom_fields: fields.as_object().cloned().map(Personal),
        tags: vec![text("Hot Lead"), text("VIP Customer")],
        schedule: at("2026-03-10T14:30:00.000Z", ""),
    }
}

fn vendor_items() -> Vec<EncodedItem> {
    let third = contact("<CONTACT_ID_3>", at("2026-03-11T09:00:00", "America/New_York"));
    [contact("<CONTACT_ID_1>", Schedule::Immediate), jane(), third].iter().map(EncodedItem::new).collect()
}

#[test]
fn a_batch_is_the_vendors_example_byte_for_byte() {
    let items = vendor_items();
    let batch = Batch::frame(Some(Tz::America__New_York), &items.iter().collect::<Vec<_>>());
    assert_eq!(std::str::from_utf8(batch.body()).unwrap(), VENDOR_EXAMPLE);
}

#[test]
fn the_size_of_a_batch_is_known_before_it_is_framed() {
    let items = vendor_items();
    for zone in [None, Some(Tz::Europe__Madrid)] {
        for n in 1..=items.len() {
            let batch = Batch::frame(zone, &items.iter().take(n).collect::<Vec<_>>());
            let sum: usize = items.iter().take(n).map(EncodedItem::len).sum();
            assert_eq!(batch.len(), Batch::frame_overhead(zone) + sum + (n - 1));
            assert_eq!((batch.len(), batch.item_count()), (batch.body().len(), n));
        }
    }
}

#[test]
fn each_batch_has_an_idempotency_key_of_its_own_and_keeps_it() {
    let items = vendor_items();
    let frame = || Batch::frame(None, &[&items[0]]);
    let (one, other) = (frame(), frame());
    assert_ne!(one.idempotency_key(), other.idempotency_key());
    assert_eq!(one.clone().idempotency_key(), one.idempotency_key());
    assert!(uuid::Uuid::parse_str(one.idempotency_key()).is_ok());
}

#[test]
fn a_whole_number_goes_up_without_a_fraction() {
    let mut item = jane();
    let fields = json!({
        "big": 9_007_199_254_740_992.0_f64, "five": 5.0, "half": 0.5, "less": -3.0, "most": 9_007_199_254_740_991.0_f64,
    });
    item.custom_fields = fields.as_object().cloned().map(Personal);
    let json = EncodedItem::new(&item).json.0;
    let text = String::from_utf8(json).unwrap();
    let shown = r#"{"big":9007199254740992.0,"five":5,"half":0.5,"less":-3,"most":9007199254740991}"#;
    assert!(text.contains(shown), "{text}");
}

#[test]
fn an_encoded_item_remembers_what_it_asked_for() {
    let asked: Vec<Asked> = vendor_items().into_iter().map(|item| item.asked).collect();
    assert_eq!(asked[0], Asked { contact_id: Some("<CONTACT_ID_1>".into()), at: None });
    assert_eq!(asked[1].contact_id, None);
    assert_eq!(asked[1].at, Some(("2026-03-10T14:30:00Z".parse().unwrap(), None)));
    assert_eq!(asked[2].at, Some(("2026-03-11T13:00:00Z".parse().unwrap(), Some(Tz::America__New_York))));
}

#[test]
fn neither_an_item_nor_a_batch_shows_personal_data() {
    let item = EncodedItem::new(&jane());
    let shown = format!("{item:?} {:?}", Batch::frame(None, &[&item]));
    assert!(!shown.contains("jane") && !shown.contains("5511999999999"), "{shown}");
}
