//! Rows as bytes: a version, then postcard. What does not read is an answer, never a panic.

use std::{borrow::Cow, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::tables::{Fault, damaged};
use crate::{
    error::{Applied, Error, Fact, Reason, Violation},
    model::{AddedItem, MessageId, ResolvedSchedule},
};

/// The form of a row. Another one is not guessed at.
const VERSION: u8 = 1;

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Fault> {
    // Nothing that the ledger holds refuses to be written down; a guess that it did must not pass for a record.
    postcard::to_extend(record, vec![VERSION]).map_err(|error| Fault::Broken(error.to_string()))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let Some((&VERSION, rest)) = bytes.split_first() else { return Err(damaged()) };
    match postcard::take_from_bytes(rest) {
        Ok((record, [])) => Ok(record),
        _ => Err(damaged()),
    }
}

/// A text; one that is a UUID, as most ids are, takes 16 bytes in place of 36.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Text {
    Plain(Box<str>),
    Uuid([u8; 16]),
}

impl Text {
    pub(super) fn new(text: &str) -> Self {
        pack(text.as_bytes()).map_or_else(|| Self::Plain(text.into()), Self::Uuid)
    }
}

/// Only the one form that is written back: lower case, with hyphens. Three texts an item come through here, which is
/// why it is not the library's parser, that knows every form.
fn pack(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    let mut at = 0;
    for byte in &mut bytes {
        at += usize::from(matches!(at, 8 | 13 | 18 | 23));
        *byte = digit(text[at])? << 4 | digit(text[at + 1])?;
        at += 2;
    }
    Some(bytes)
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        match text {
            Text::Plain(text) => text.into(),
            Text::Uuid(bytes) => uuid::Uuid::from_bytes(bytes).to_string(),
        }
    }
}

/// An [`AddedItem`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AddedRecord {
    pub(super) message_id: Text,
    contact_id: Text,
    schedule: Option<ScheduleRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ScheduleRecord {
    time: Option<(i64, u32)>,
    local_datetime: String,
    time_zone: String,
    expected_time: Option<(i64, u32)>,
}

impl AddedRecord {
    pub(super) fn new(item: &AddedItem) -> Self {
        let time = |time: DateTime<Utc>| (time.timestamp(), time.timestamp_subsec_nanos());
        Self {
            message_id: Text::new(item.message_id.as_str()),
            contact_id: Text::new(&item.contact_id),
            schedule: item.schedule.as_ref().map(|schedule| ScheduleRecord {
                time: schedule.time.map(time),
                local_datetime: schedule.local_datetime.clone(),
                time_zone: schedule.time_zone.clone(),
                expected_time: schedule.expected_time.map(time),
            }),
        }
    }

    /// `None`: the record does not make sense.
    pub(super) fn to_item(&self) -> Option<AddedItem> {
        let time = |time: Option<(i64, u32)>| match time {
            Some((seconds, nanos)) => DateTime::from_timestamp(seconds, nanos).map(Some),
            None => Some(None),
        };
        let schedule = match &self.schedule {
            Some(schedule) => Some(ResolvedSchedule {
                time: time(schedule.time)?,
                local_datetime: schedule.local_datetime.clone(),
                time_zone: schedule.time_zone.clone(),
                expected_time: time(schedule.expected_time)?,
            }),
            None => None,
        };
        let message_id = MessageId::from_upstream(self.message_id.clone().into())?;
        Some(AddedItem { message_id, contact_id: self.contact_id.clone().into(), schedule })
    }
}

type FactRecord = (String, String);

/// An [`Error`], with its reason by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ErrorRecord {
    reason: String,
    message: String,
    maybe_applied: bool,
    retry_after: Option<Duration>,
    metadata: Vec<FactRecord>,
    violations: Vec<ViolationRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ViolationRecord {
    field: String,
    reason: String,
    message: String,
    metadata: Vec<FactRecord>,
}

fn facts(metadata: &[Fact]) -> Vec<FactRecord> {
    metadata.iter().map(|(key, value)| (key.clone().into_owned(), value.clone())).collect()
}

fn to_facts(metadata: &[FactRecord]) -> Vec<Fact> {
    metadata.iter().map(|(key, value)| (Cow::Owned(key.clone()), value.clone())).collect()
}

impl From<&Error> for ErrorRecord {
    fn from(error: &Error) -> Self {
        let violation = |violation: &Violation| ViolationRecord {
            field: violation.field.clone(),
            reason: violation.reason.name().into(),
            message: violation.message.clone().into_owned(),
            metadata: facts(&violation.metadata),
        };
        Self {
            reason: error.reason().name().into(),
            message: error.message().into(),
            maybe_applied: error.applied() == Applied::Maybe,
            retry_after: error.retry_delay(),
            metadata: facts(error.metadata()),
            violations: error.violations().iter().map(violation).collect(),
        }
    }
}

impl ErrorRecord {
    /// `None`: the record does not make sense.
    pub(super) fn to_error(&self) -> Option<Error> {
        let violation = |violation: &ViolationRecord| {
            Some(Violation {
                field: violation.field.clone(),
                reason: Reason::from_name(&violation.reason)?,
                message: Cow::Owned(violation.message.clone()),
                metadata: to_facts(&violation.metadata),
            })
        };
        Some(Error::recalled(
            Reason::from_name(&self.reason)?,
            self.message.clone(),
            if self.maybe_applied { Applied::Maybe } else { Applied::No },
            self.retry_after,
            to_facts(&self.metadata),
            self.violations.iter().map(violation).collect::<Option<_>>()?,
        ))
    }
}
