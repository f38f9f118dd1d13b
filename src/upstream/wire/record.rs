//! One message object, read in one pass over its bytes: what the contract models goes into its place,
//! everything else is kept for `upstream_fields`.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{field::Field, time};
use crate::model::{JsonObject, Message, MessageId, ResolvedSchedule, Status};

/// What a field means, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Id,
    Contact,
    Status,
    ScheduledAt,
    ScheduledUtc,
    TimeZone,
    Created,
    Updated,
    Sent,
    Failed,
    Failure,
}

const SLOTS: usize = Slot::Failure as usize + 1;

/// Every name of every field that the contract models. Within a slot, the first that is not null wins.
const fn slot(key: &str) -> Option<(Slot, u8)> {
    Some(match key.as_bytes() {
        b"id" => (Slot::Id, 0),
        b"messageId" => (Slot::Id, 1),
        b"message_id" => (Slot::Id, 2),
        b"contactId" => (Slot::Contact, 0),
        b"contact_id" => (Slot::Contact, 1),
        b"status" => (Slot::Status, 0),
        b"state" => (Slot::Status, 1),
        b"scheduled_at" => (Slot::ScheduledAt, 0),
        b"scheduledAt" => (Slot::ScheduledAt, 1),
        b"scheduled_for" => (Slot::ScheduledAt, 2),
        b"scheduledFor" => (Slot::ScheduledAt, 3),
        b"scheduled_at_utc" => (Slot::ScheduledUtc, 0),
        b"scheduledAtUtc" => (Slot::ScheduledUtc, 1),
        b"timezone" => (Slot::TimeZone, 0),
        b"createdAt" => (Slot::Created, 0),
        b"created_at" => (Slot::Created, 1),
        b"updatedAt" => (Slot::Updated, 0),
        b"updated_at" => (Slot::Updated, 1),
        b"sentAt" => (Slot::Sent, 0),
        b"sent_at" => (Slot::Sent, 1),
        b"failedAt" => (Slot::Failed, 0),
        b"failed_at" => (Slot::Failed, 1),
        b"error" => (Slot::Failure, 0),
        b"errorMessage" => (Slot::Failure, 1),
        b"error_message" => (Slot::Failure, 2),
        b"failureReason" => (Slot::Failure, 3),
        b"failure_reason" => (Slot::Failure, 4),
        b"failedReason" => (Slot::Failure, 5),
        b"failed_reason" => (Slot::Failure, 6),
        _ => return None,
    })
}

/// One JSON value where a message object is expected. Reading it fails only where the JSON itself is
/// broken: a value of the wrong kind never takes its neighbours down.
pub(super) struct Record(pub(super) Option<Message>);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RecordVisitor).map(Self)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Option<Message>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            fields.put(key.0, map.next_value::<Field<'de>>()?);
        }
        Ok(fields.into_message())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
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

/// A key, borrowed unless it is escaped.
pub(super) struct Key<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Field::deserialize(deserializer)? {
            Field::Text(text) => Ok(Self(text)),
            // JSON has no other keys.
            Field::Other(other) => Ok(Self(Cow::Owned(other.to_string()))),
        }
    }
}

#[derive(Default)]
struct Fields<'a> {
    slots: [Option<Named<'a>>; SLOTS],
    rest: JsonObject,
}

struct Named<'a> {
    rank: u8,
    key: Cow<'a, str>,
    value: Field<'a>,
}

impl<'a> Fields<'a> {
    /// Puts a field into its slot; the loser among two names of one thing is kept as it is.
    fn put(&mut self, key: Cow<'a, str>, value: Field<'a>) {
        let Some((slot, rank)) = slot(&key) else {
            self.rest.insert(key.into_owned(), value.into_value());
            return;
        };
        if value.is_nothing() {
            return;
        }
        let new = Named { rank, key, value };
        let place = &mut self.slots[slot as usize];
        let loser = match place {
            Some(old) if old.rank <= rank => Some(new),
            _ => place.replace(new),
        };
        if let Some(loser) = loser {
            self.keep(loser);
        }
    }

    fn keep(&mut self, field: Named<'a>) {
        self.rest.insert(field.key.into_owned(), field.value.into_value());
    }

    fn take(&mut self, slot: Slot) -> Option<Named<'a>> {
        self.slots[slot as usize].take()
    }

    /// A text; numbers are read as their digits. Anything else is kept as it is.
    fn text(&mut self, slot: Slot) -> Option<String> {
        let field = self.take(slot)?;
        match field.value {
            Field::Text(text) => Some(text.into_owned()),
            Field::Other(Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
            Field::Other(_) => {
                self.keep(field);
                None
            }
        }
    }

    /// A text, or an object that holds one under one of these names; the object is kept as well.
    fn text_or_inner(&mut self, slot: Slot, names: &[&str]) -> Option<String> {
        if let Some(Named { value: Field::Other(Value::Object(object)), .. }) = &self.slots[slot as usize] {
            let text = names.iter().find_map(|name| object.get(*name)?.as_str()).map(str::to_owned);
            if let Some(field) = self.take(slot) {
                self.keep(field);
            }
            return text;
        }
        self.text(slot)
    }

    /// An instant; what cannot be read as one is kept as it is.
    fn time(&mut self, slot: Slot) -> Option<DateTime<Utc>> {
        let field = self.take(slot)?;
        let time = time::instant(&field.value);
        if time.is_none() {
            self.keep(field);
        }
        time
    }

    fn schedule(&mut self) -> Option<ResolvedSchedule> {
        let utc = self.take(Slot::ScheduledUtc);
        let at = self.take(Slot::ScheduledAt);
        let zone = self.text(Slot::TimeZone);
        let mut utc_text = None;
        if let Some(field) = utc {
            utc_text = time::instant(&field.value).map(time::text);
            if utc_text.is_none() {
                self.keep(field);
            }
        }
        let mut local = None;
        if let Some(field) = at {
            if !time::is_readable(&field.value) {
                // Shown verbatim where it is a text, and kept where nobody expects a time.
                self.rest.insert(field.key.to_string(), value_of(&field.value));
            }
            match field.value {
                Field::Text(text) => local = Some(text.into_owned()),
                // Epoch seconds or milliseconds: an instant, and no wall clock's reading.
                Field::Other(_) => {
                    utc_text = utc_text.or_else(|| time::instant(&field.value).map(time::text));
                }
            }
        }
        let read = ResolvedSchedule::read(local, utc_text.as_deref(), zone.clone(), None);
        if let (None, Some(zone)) = (&read, zone) {
            self.rest.insert("timezone".to_owned(), zone.into());
        }
        read
    }

    fn into_message(mut self) -> Option<Message> {
        let id = MessageId::from_upstream(self.text(Slot::Id)?)?;
        let contact_id = self.text(Slot::Contact).or_else(|| {
            let id = self.rest.get("contact")?.get("id")?;
            id.as_str().filter(|id| !id.is_empty()).map(str::to_owned)
        });
        let upstream_status = self.text_or_inner(Slot::Status, &["name"]).unwrap_or_default();
        let schedule = self.schedule();
        Some(Message {
            id,
            contact_id,
            status: Status::from_upstream(upstream_status.trim()),
            upstream_status,
            schedule,
            create_time: self.time(Slot::Created),
            update_time: self.time(Slot::Updated),
            sent_time: self.time(Slot::Sent),
            failed_time: self.time(Slot::Failed),
            failure_reason: self.text_or_inner(Slot::Failure, &["message", "reason", "title", "code"]),
            upstream_fields: self.rest,
        })
    }
}

fn value_of(field: &Field<'_>) -> Value {
    match field {
        Field::Text(text) => Value::String(text.to_string()),
        Field::Other(value) => value.clone(),
    }
}
