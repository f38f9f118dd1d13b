#![allow(clippy::unwrap_used)]

mod items;
mod rendering;
mod requests;

use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::{
    error::{Reason, Violation},
    pb,
};

/// A value that stands for personal data: it must not be in any text about an error.
const CANARY: &str = "canary-4917012345678";

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn fields<const N: usize>(entries: [(&str, Value); N]) -> Struct {
    Struct { fields: entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

/// Objects inside objects, or lists inside lists: `levels` of them, the outermost an object.
fn nested(levels: usize, lists: bool) -> Struct {
    let mut inner = value(Kind::BoolValue(true));
    for _ in 1..levels {
        inner = value(if lists {
            Kind::ListValue(ListValue { values: vec![inner] })
        } else {
            Kind::StructValue(fields([("a", inner)]))
        });
    }
    fields([("a", inner)])
}

fn valid_item() -> pb::AudienceItem {
    pb::AudienceItem {
        item_id: "row-1".into(),
        recipient: Some(pb::audience_item::Recipient::Identifier("+49 170 1234567".into())),
        schedule: Some(pb::Schedule { when: Some(pb::schedule::When::Immediate(pb::Immediate {})) }),
        ..Default::default()
    }
}

fn told(wrong: &[Violation]) -> Vec<(&str, Reason)> {
    wrong.iter().map(|violation| (violation.field.as_str(), violation.reason)).collect()
}
