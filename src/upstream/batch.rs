//! Batches: items encoded once, and framed into the bytes that go upstream.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize as _;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::model::{Item, Recipient, Schedule};

/// One item as it goes upstream, and what its answer must fit.
#[derive(Clone, Debug)]
pub struct EncodedItem {
    json: Json,
    asked: Asked,
}

/// What one item asked for: its answer is held against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The contact, where it was named by its id.
    pub(super) contact_id: Option<Arc<str>>,
    /// The instant, and the zone in which it was written; `None`: immediately.
    pub(super) at: Option<(DateTime<Utc>, Option<Tz>)>,
}

/// The bytes of one item hold personal data: only their number is shown.
#[derive(Clone)]
struct Json(Vec<u8>);

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl EncodedItem {
    /// Encodes an item.
    pub fn new(item: &Item) -> Self {
        let mut json = Vec::with_capacity(192);
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut json, WholeNumbers(CompactFormatter));
        let written = item.serialize(&mut serializer);
        // Writing into memory cannot fail, and an item has no map whose keys are not strings.
        debug_assert!(written.is_ok(), "an item always serializes");
        let contact_id = match &item.recipient {
            Recipient::ContactId(id) => Some(Arc::from(id.as_str())),
            Recipient::Identifier(_) => None,
        };
        let at = match &item.schedule {
            Schedule::Immediate => None,
            Schedule::At(moment) => Some((moment.instant, moment.zone)),
        };
        Self { json: Json(json), asked: Asked { contact_id, at } }
    }

    /// The bytes of its JSON.
    pub fn len(&self) -> usize {
        self.json.0.len()
    }

    /// Never: an item has at least a recipient and a schedule.
    pub fn is_empty(&self) -> bool {
        self.json.0.is_empty()
    }
}

/// A frozen request to add items: the same bytes and the same idempotency key for every attempt.
#[derive(Clone)]
pub struct Batch {
    pub(super) body: Bytes,
    pub(super) idempotency_key: Arc<str>,
    pub(super) asked: Arc<[Asked]>,
}

/// Its body holds personal data: only its size is shown.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch {} ({} items, {} bytes)", self.idempotency_key, self.item_count(), self.len())
    }
}

const ZONE_KEY: &str = "{\"default_schedule_timezone\":\"";
const ITEMS_AFTER_ZONE: &str = "\",\"items\":[";
const ITEMS_ALONE: &str = "{\"items\":[";
const END: &str = "]}";

impl Batch {
    /// Freezes a batch of these items, under a new idempotency key.
    pub fn frame(default_zone: Option<Tz>, items: &[&EncodedItem]) -> Self {
        let size = Self::frame_overhead(default_zone)
            + items.iter().map(|item| item.len()).sum::<usize>()
            + items.len().saturating_sub(1);
        let mut body = Vec::with_capacity(size);
        match default_zone {
            Some(zone) => {
                // No name in the IANA database needs escaping.
                for part in [ZONE_KEY, zone.name(), ITEMS_AFTER_ZONE] {
                    body.extend_from_slice(part.as_bytes());
                }
            }
            None => body.extend_from_slice(ITEMS_ALONE.as_bytes()),
        }
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&item.json.0);
        }
        body.extend_from_slice(END.as_bytes());
        debug_assert_eq!(body.len(), size);
        Self {
            body: body.into(),
            idempotency_key: uuid::Uuid::new_v4().to_string().into(),
            asked: items.iter().map(|item| item.asked.clone()).collect(),
        }
    }

    /// The bytes of a batch beside its items and the one comma between two of them.
    pub fn frame_overhead(default_zone: Option<Tz>) -> usize {
        END.len()
            + match default_zone {
                Some(zone) => ZONE_KEY.len() + zone.name().len() + ITEMS_AFTER_ZONE.len(),
                None => ITEMS_ALONE.len(),
            }
    }

    /// The bytes of the request's body.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether it has no items.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// How many items it has.
    pub fn item_count(&self) -> usize {
        self.asked.len()
    }

    /// Its idempotency key: a UUID.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// The request's body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Writes a whole number below 2^53 without a fraction: a protobuf Struct knows only doubles, and a
/// custom field of 5 must not arrive as 5.0.
struct WholeNumbers(CompactFormatter);

impl Formatter for WholeNumbers {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
            self.0.write_i64(writer, value as i64)
        } else {
            self.0.write_f64(writer, value)
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
