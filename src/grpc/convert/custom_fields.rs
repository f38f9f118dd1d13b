//! `custom_fields`: a protobuf Struct to a JSON object, its strings moved.

use prost::Message as _;
use prost_types::{Struct, Value, value::Kind};
use serde_json::Number;

use super::fields::invalid;
use crate::{
    error::Violation,
    grpc::bounds::{MAX_PART_BYTES, MAX_PARTS, cut, cut_owned},
    model::JsonObject,
};

/// The most that `custom_fields` may take, in bytes of its protobuf encoding: what a caller's own
/// generated code tells it.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// The most objects and lists inside one another, `custom_fields` itself counted.
pub(super) const MAX_LEVELS: usize = 8;

/// Whole numbers up to here are exact in a double: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// How much of a key a path shows.
const MAX_KEY_BYTES: usize = 64;

/// The object, where nothing is wrong with it, and its encoded size.
pub(super) fn read(fields: Struct, wrong: &mut Vec<Violation>) -> (Option<JsonObject>, usize) {
    // The depth comes first: what follows recurses.
    if is_deeper(&fields, MAX_LEVELS) {
        wrong.push(invalid("custom_fields", "must have at most 8 levels"));
        dismantle(fields);
        return (None, 0);
    }
    let size = fields.encoded_len();
    if size > MAX_BYTES {
        wrong.push(invalid("custom_fields", "must have at most 32 KiB, encoded"));
        return (None, size);
    }
    let before = wrong.len();
    let object = object(fields, &Path { parent: None, step: Step::Key("custom_fields") }, wrong);
    ((wrong.len() == before).then_some(object), size)
}

/// Whether there are more than `levels` levels. It recurses no deeper than that.
fn is_deeper(fields: &Struct, levels: usize) -> bool {
    levels == 0 || fields.fields.values().any(|value| value_is_deeper(value, levels - 1))
}

fn value_is_deeper(value: &Value, levels: usize) -> bool {
    match &value.kind {
        Some(Kind::StructValue(fields)) => is_deeper(fields, levels),
        Some(Kind::ListValue(list)) => {
            levels == 0 || list.values.iter().any(|value| value_is_deeper(value, levels - 1))
        }
        _ => false,
    }
}

/// Drops a tree of any depth without recursion. (From the wire it has at most 100 levels, by prost's own
/// limit; this does not rely on it.)
fn dismantle(fields: Struct) {
    let mut rest: Vec<Value> = fields.fields.into_values().collect();
    while let Some(value) = rest.pop() {
        match value.kind {
            Some(Kind::StructValue(fields)) => rest.extend(fields.fields.into_values()),
            Some(Kind::ListValue(list)) => rest.extend(list.values),
            _ => {}
        }
    }
}

fn object(fields: Struct, path: &Path<'_>, wrong: &mut Vec<Violation>) -> JsonObject {
    fields
        .fields
        .into_iter()
        .map(|(key, value)| {
            let value = json(value, &Path { parent: Some(path), step: Step::Key(&key) }, wrong);
            (key, value)
        })
        .collect()
}

fn json(value: Value, path: &Path<'_>, wrong: &mut Vec<Violation>) -> serde_json::Value {
    use serde_json::Value as Json;
    match value.kind {
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(bool),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::NumberValue(double)) => number(double).map_or_else(
            || {
                tell(path, "must be a finite number", wrong);
                Json::Null
            },
            Json::Number,
        ),
        Some(Kind::StructValue(fields)) => Json::Object(object(fields, path, wrong)),
        Some(Kind::ListValue(list)) => {
            let item = |(at, value)| json(value, &Path { parent: Some(path), step: Step::Index(at) }, wrong);
            Json::Array(list.values.into_iter().enumerate().map(item).collect())
        }
        None => {
            tell(path, "must hold a value (null_value for null)", wrong);
            Json::Null
        }
    }
}

/// A whole number goes up without a fraction, as the caller meant it; -0 is 0.
fn number(double: f64) -> Option<Number> {
    if double.fract() == 0.0 && double.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and below 2^53")]
        return Some(Number::from(double as i64));
    }
    Number::from_f64(double)
}

/// 32 KiB can hold thousands of mistakes; the first ones say enough.
fn tell(path: &Path<'_>, message: &'static str, wrong: &mut Vec<Violation>) {
    if wrong.len() < MAX_PARTS {
        wrong.push(invalid(path.text(), message));
    }
}

/// Where in the tree we are, spelled out only when something is wrong there.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Path<'_> {
    fn text(&self) -> String {
        let mut text = self.parent.map(|parent| parent.text() + ".").unwrap_or_default();
        match self.step {
            Step::Key(key) => {
                let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
                text.extend(cut(key, MAX_KEY_BYTES).chars().map(shown));
            }
            Step::Index(at) => {
                text.pop();
                text += &format!("[{at}]");
            }
        }
        cut_owned(text, MAX_PART_BYTES)
    }
}
