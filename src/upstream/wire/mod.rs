//! The upstream's JSON, read tolerantly: its list and message objects are not documented, so each belief
//! about them is one line in a table here. What cannot be understood is an error that names keys, never
//! values, and never an empty list.

mod added;
mod failure;
mod field;
mod record;
mod sheet;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

pub(super) use added::{Added, added};
pub(super) use failure::texts;

use self::{
    record::{Key, Record},
    sheet::Sheet,
};
use crate::model::{Message, Page};

/// Why an answer could not be understood: for people, without any value of it.
pub(super) type Unreadable = String;

/// Where a list may stand in an object.
const LIST_KEYS: [&str; 6] = ["items", "messages", "data", "results", "rows", "records"];
/// What may be wrapped around the object that holds the list.
const LIST_WRAPPERS: [&str; 3] = ["data", "result", "response"];
/// What may be wrapped around one message.
const MESSAGE_WRAPPERS: [&str; 4] = ["message", "data", "item", "result"];
const TOTAL_KEYS: [&str; 4] = ["total", "total_count", "totalCount", "totalItems"];
const TOTAL_WRAPPERS: [&str; 2] = ["meta", "pagination"];

/// Reads a page of a list: in one pass, where its list stands at the top.
pub(super) fn page(body: &[u8]) -> Result<Page, Unreadable> {
    if let Ok(sheet) = read::<Sheet>(body)
        && let Some(page) = sheet.into_page()
    {
        return Ok(page);
    }
    page_in_two_passes(body)
}

fn page_in_two_passes(body: &[u8]) -> Result<Page, Unreadable> {
    let (list, total) = list(body)?;
    let records: Vec<Record> = read(list)?;
    Ok(Page { entries: records.into_iter().map(|record| record.0).collect(), total })
}

/// Reads one message.
pub(super) fn message(body: &[u8]) -> Result<Message, Unreadable> {
    if let Some(message) = read::<Record>(body)?.0 {
        return Ok(message);
    }
    let object: Object<'_> = read(body)?;
    for key in MESSAGE_WRAPPERS {
        if let Some(inner) = object.get(key).filter(|text| text.starts_with('{'))
            && let Some(message) = read::<Record>(inner.as_bytes())?.0
        {
            return Ok(message);
        }
    }
    Err(format!("no message with an id in it; {}", object.keys()))
}

/// The text of the list's array, and the total where one is told.
fn list(body: &[u8]) -> Result<(&[u8], Option<u64>), Unreadable> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Ok((body, None));
    }
    let outer: Object<'_> = read(body)?;
    if let Some(list) = outer.array() {
        return Ok((list, outer.total()));
    }
    for key in LIST_WRAPPERS {
        if let Some(inner) = outer.get(key).filter(|text| text.starts_with('{')) {
            let inner: Object<'_> = read(inner.as_bytes())?;
            return match inner.array() {
                Some(list) => Ok((list, inner.total().or_else(|| outer.total()))),
                None => Err(format!("no list under \"{key}\"; {}", inner.keys())),
            };
        }
    }
    Err(format!("no list in it; {}", outer.keys()))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    // serde_json's own text may quote a value.
    serde_json::from_slice(bytes).map_err(|error| {
        let what = if bytes.is_empty() { "it is empty" } else { "it is not the JSON expected" };
        format!("{what} (line {}, column {})", error.line(), error.column())
    })
}

/// An object whose values are still text.
#[derive(Default)]
struct Object<'a>(Vec<(Key<'a>, &'a RawValue)>);

impl<'a> Object<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| name.0 == key).map(|(_, value)| value.get())
    }

    fn array(&self) -> Option<&'a [u8]> {
        let text = LIST_KEYS.iter().filter_map(|key| self.get(key)).find(|text| text.starts_with('['))?;
        Some(text.as_bytes())
    }

    fn total(&self) -> Option<u64> {
        let own = |object: &Self| TOTAL_KEYS.iter().find_map(|key| whole_number(object.get(key)?));
        own(self).or_else(|| {
            TOTAL_WRAPPERS.iter().find_map(|key| own(&read::<Object<'_>>(self.get(key)?.as_bytes()).ok()?))
        })
    }

    /// The names of its fields: few, short and printable.
    fn keys(&self) -> String {
        let names: Vec<String> = self
            .0
            .iter()
            .take(10)
            .map(|(key, _)| key.0.chars().filter(|c| c.is_ascii_graphic()).take(40).collect())
            .collect();
        format!("its keys: {}", super::mask::mask(&names.join(", ")))
    }
}

fn whole_number(text: &str) -> Option<u64> {
    match serde_json::from_str(text).ok()? {
        Value::Number(number) => number
            .as_u64()
            .or_else(|| number.as_f64().filter(|n| *n >= 0.0 && n.fract() == 0.0).map(|n| n as u64)),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(8);
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Object(fields))
    }
}
