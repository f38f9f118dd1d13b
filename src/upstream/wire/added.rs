//! The answer to adding items. Here tolerance ends early: an answer that does not name each item's
//! message for certain is worth nothing.

use serde::Deserialize;
use serde_json::Value;

use super::{Unreadable, field::Field, list, read, time};

/// What the answer says of one item.
pub(in crate::upstream) struct Added {
    pub(in crate::upstream) message_id: String,
    pub(in crate::upstream) contact_id: String,
    pub(in crate::upstream) scheduled_at: Option<String>,
    pub(in crate::upstream) scheduled_at_utc: Option<String>,
    pub(in crate::upstream) time_zone: Option<String>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    // Not `id`: in an answer about contacts it could be the contact's.
    #[serde(borrow, rename = "messageId")]
    message_id: Option<Field<'a>>,
    #[serde(borrow, rename = "message_id")]
    message_id_snake: Option<Field<'a>>,
    #[serde(borrow, rename = "contactId")]
    contact_id: Option<Field<'a>>,
    #[serde(borrow, rename = "contact_id")]
    contact_id_snake: Option<Field<'a>>,
    #[serde(borrow)]
    scheduled_at: Option<Field<'a>>,
    #[serde(borrow, rename = "scheduledAt")]
    scheduled_at_camel: Option<Field<'a>>,
    #[serde(borrow)]
    scheduled_at_utc: Option<Field<'a>>,
    #[serde(borrow, rename = "scheduledAtUtc")]
    scheduled_at_utc_camel: Option<Field<'a>>,
    #[serde(borrow)]
    timezone: Option<Field<'a>>,
}

/// Reads the answer's entries in order. An entry without a message id has an empty one.
pub(in crate::upstream) fn added(body: &[u8]) -> Result<Vec<Added>, Unreadable> {
    let (entries, _) = list(body)?;
    let entries: Vec<Entry<'_>> = read(entries)?;
    Ok(entries.into_iter().map(Entry::into_added).collect())
}

impl Entry<'_> {
    fn into_added(self) -> Added {
        let at = self.scheduled_at.or(self.scheduled_at_camel);
        let utc = self.scheduled_at_utc.or(self.scheduled_at_utc_camel);
        let as_time = |field: &Option<Field<'_>>| field.as_ref().and_then(time::instant).map(time::text);
        // Epoch numbers are instants, and no wall clock's reading.
        let number = matches!(at, Some(Field::Other(_))).then(|| as_time(&at)).flatten();
        Added {
            message_id: id(self.message_id.or(self.message_id_snake)),
            contact_id: id(self.contact_id.or(self.contact_id_snake)),
            scheduled_at_utc: as_time(&utc).or(number),
            scheduled_at: text(at),
            time_zone: text(self.timezone),
        }
    }
}

fn text(field: Option<Field<'_>>) -> Option<String> {
    match field? {
        Field::Text(text) if text.is_empty() => None,
        Field::Text(text) => Some(text.into_owned()),
        Field::Other(_) => None,
    }
}

fn id(field: Option<Field<'_>>) -> String {
    match field {
        Some(Field::Text(text)) => text.into_owned(),
        Some(Field::Other(Value::Number(number))) if !number.is_f64() => number.to_string(),
        Some(Field::Other(_)) | None => String::new(),
    }
}
