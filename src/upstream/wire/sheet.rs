//! A page whose list stands at the top of its object, read in one pass. Any other is read in two: see `list`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    LIST_KEYS, Object, TOTAL_KEYS, TOTAL_WRAPPERS,
    record::{Key, Record},
};
use crate::model::{Message, Page};

/// The lists that stand at the top, and the fields that may hold the total.
#[derive(Default)]
pub(super) struct Sheet<'a> {
    /// By their place in `LIST_KEYS`; what holds no list is `None`.
    lists: [Option<Option<Vec<Option<Message>>>>; LIST_KEYS.len()],
    totals: Object<'a>,
}

impl Sheet<'_> {
    /// The page, if there is a list.
    pub(super) fn into_page(self) -> Option<Page> {
        let entries = self.lists.into_iter().flatten().flatten().next()?;
        Some(Page { entries, total: self.totals.total() })
    }
}

impl<'de> Deserialize<'de> for Sheet<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SheetVisitor)
    }
}

struct SheetVisitor;

impl<'de> Visitor<'de> for SheetVisitor {
    type Value = Sheet<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut sheet = Sheet::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let name = key.0.as_ref();
            if let Some(rank) = LIST_KEYS.iter().position(|known| *known == name) {
                // Of two fields of one name the first counts.
                let list = map.next_value::<List>()?.0;
                sheet.lists[rank].get_or_insert(list);
            } else if TOTAL_KEYS.contains(&name) || TOTAL_WRAPPERS.contains(&name) {
                let value = map.next_value::<&'de RawValue>()?;
                sheet.totals.0.push((key, value));
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(sheet)
    }
}

/// A list of records, or something else.
struct List(Option<Vec<Option<Message>>>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor).map(Self)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Option<Vec<Option<Message>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // Most pages are asked for with this many at most; a growing list is copied each time.
        let mut entries = Vec::with_capacity(100);
        while let Some(Record(entry)) = seq.next_element()? {
            entries.push(entry);
        }
        Ok(Some(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}
