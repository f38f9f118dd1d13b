//! Records on disk: what is written is what is read, and what is not a record is an answer.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::{
    error::{Applied, Violation},
    ledger::{
        codec::{AddedRecord, ErrorRecord, Text, decode, encode},
        record::{AuditRecord, Batch, Counts, Entry, FrozenRecord, Header, RefusedItems, Slot},
    },
    model::ResolvedSchedule,
};

fn errors() -> impl Strategy<Value = Error> {
    let facts = || prop::collection::vec((".{0,9}", ".{0,9}"), 0..3);
    let facts =
        move || facts().prop_map(|facts| facts.into_iter().map(|(k, v)| (k.into(), v)).collect::<Vec<_>>());
    let reason = || prop::sample::select(&Reason::ALL[..]);
    let violation = (".{0,9}", reason(), ".{0,9}", facts()).prop_map(|(field, reason, message, metadata)| {
        Violation { field, reason, message: message.into(), metadata }
    });
    let retry = prop::option::of(any::<Duration>());
    (reason(), ".{0,30}", any::<bool>(), retry, facts(), prop::collection::vec(violation, 0..3)).prop_map(
        |(reason, message, maybe, retry, facts, violations)| {
            let applied = if maybe { Applied::Maybe } else { Applied::No };
            Error::recalled(reason, message, applied, retry, facts, violations)
        },
    )
}

fn added_items() -> impl Strategy<Value = AddedItem> {
    let time = || {
        let time = (-10_000_000_000_i64..10_000_000_000, 0_u32..1_000_000_000);
        prop::option::of(time.prop_map(|(s, n)| DateTime::from_timestamp(s, n).unwrap()))
    };
    let schedule =
        (time(), ".{0,20}", ".{0,20}", time()).prop_map(|(time, local_datetime, zone, expected)| {
            ResolvedSchedule { time, local_datetime, time_zone: zone, expected_time: expected }
        });
    let id = prop_oneof!["[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", ".{1,40}"];
    (id, ".{0,40}", prop::option::of(schedule)).prop_map(|(id, contact_id, schedule)| AddedItem {
        message_id: MessageId::from_upstream(id).unwrap(),
        contact_id,
        schedule,
    })
}

/// What a record says is what it said before it was bytes.
fn survives<T>(record: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(decode::<T>(&encode(record).unwrap()).unwrap(), *record);
}

proptest! {
    #[test]
    fn errors_and_added_items_are_recalled_as_they_were(error in errors(), item in added_items()) {
        let record = ErrorRecord::from(&error);
        survives(&record);
        let recalled = record.to_error().unwrap();
        prop_assert_eq!(recalled.retry_delay(), error.retry_delay());
        prop_assert_eq!(&recalled, &error);
        let record = AddedRecord::new(&item);
        survives(&record);
        prop_assert_eq!(record.to_item().unwrap(), item);
    }

    #[test]
    fn texts_are_recalled_letter_by_letter(
        text in prop_oneof![".{0,50}", "[0-9a-fA-F-]{32,38}", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"],
    ) {
        prop_assert_eq!(String::from(Text::new(&text)), text);
    }

    #[test]
    fn bytes_that_are_no_record_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for versioned in [false, true] {
            if versioned {
                bytes.insert(0, 1);
            }
            let _ = decode::<Header>(&bytes);
            let _ = decode::<RefusedItems>(&bytes);
            let _ = decode::<AuditRecord>(&bytes);
            let _ = decode::<FrozenRecord>(&bytes);
            if let Ok(batch) = decode::<Batch>(&bytes) {
                batch.items.iter().for_each(|item| drop(batch.state(&item.slot)));
            }
        }
    }

    #[test]
    fn a_record_that_is_cut_or_changed_never_panics(item in added_items(), error in errors(), at in 0_usize..400) {
        let mut batch = Batch {
            claimed_at: 1, attempts: 1, frozen: false, errors: vec![ErrorRecord::from(&error)],
            items: vec![Entry {
                offset: 3, item_id: Text::new("x"), fingerprint: F, slot: Slot::Added(Box::new(AddedRecord::new(&item))),
            }],
        };
        batch.items.push(Entry { slot: Slot::Rejected(7), ..batch.items[0].clone() });
        survives(&batch);
        prop_assert!(batch.state(&Slot::Rejected(7)).is_none(), "an error that is not there");
        let mut bytes = encode(&batch).unwrap();
        let at = at % bytes.len();
        prop_assert!(decode::<Batch>(&bytes[..at]).is_err());
        bytes[at] ^= 0x41;
        if let Ok(batch) = decode::<Batch>(&bytes) {
            batch.items.iter().for_each(|item| drop(batch.state(&item.slot)));
        }
    }
}

#[test]
fn a_row_of_another_version_is_not_guessed_at() {
    let mut bytes = encode(&Counts::default()).unwrap();
    assert!(decode::<Counts>(&bytes).is_ok());
    bytes[0] += 1;
    assert!(decode::<Counts>(&bytes).is_err());
    assert!(decode::<Counts>(&[]).is_err());
}

#[test]
fn every_reason_is_found_by_its_name() {
    for reason in Reason::ALL {
        assert_eq!(Reason::from_name(reason.name()), Some(reason));
    }
    assert_eq!(Reason::from_name("NO_SUCH_REASON"), None);
}
