//! Pages of messages, and what stands around them.

use std::cmp::Reverse;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    answer::Answer,
    clock::Millis,
    message::{Message, View},
    options::{Envelope, ListOrder, Options},
};

/// [page]
const DEFAULT_LIMIT: u64 = 50;

/// Answers `GET /messages`. A `limit` or `offset` that is no number gets a 400, and so does a limit of 0: guesses.
pub(super) fn list(messages: &[Message], query: &str, options: &Options, now: Millis) -> Answer {
    let limit = match parameter(query, "limit") {
        Ok(None) => DEFAULT_LIMIT,
        Ok(Some(limit)) if limit > 0 => limit,
        _ => return Answer::refusal(400, "limit must be a positive number"),
    };
    let Ok(offset) = parameter(query, "offset") else {
        return Answer::refusal(400, "offset must be a non-negative number");
    };
    // A number beyond usize is as good as the end.
    let limit = usize::try_from(limit.min(options.max_limit.max(1).into())).unwrap_or(usize::MAX);
    let offset = usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let page: Vec<View<'_>> = match options.list_order {
        ListOrder::OldestFirst => messages.iter().skip(offset).take(limit).map(|m| m.view(now)).collect(),
        ListOrder::NewestFirst => {
            messages.iter().rev().skip(offset).take(limit).map(|m| m.view(now)).collect()
        }
        ListOrder::RecentlyUpdatedFirst => {
            let mut order: Vec<_> = messages
                .iter()
                .enumerate()
                .map(|(at, m)| (Reverse(m.standing(now).updated), Reverse(at)))
                .collect();
            order.sort_unstable();
            order.iter().skip(offset).take(limit).map(|(_, Reverse(at))| messages[*at].view(now)).collect()
        }
    };
    Answer::ok(&Page {
        envelope: options.envelope,
        messages: page,
        total: options.total.then_some(messages.len()),
    })
}

/// Answers `GET /messages/:messageId`.
pub(super) fn one(message: &Message, envelope: Envelope, now: Millis) -> Answer {
    let view = message.view(now);
    match envelope {
        Envelope::Items | Envelope::Bare => Answer::ok(&view),
        Envelope::Messages => Answer::ok(&Wrapped("message", view)),
        Envelope::Data | Envelope::Nested => Answer::ok(&Wrapped("data", view)),
    }
}

fn parameter(query: &str, name: &str) -> Result<Option<u64>, ()> {
    match url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name) {
        None => Ok(None),
        // u64 also reads a leading plus, which no query means.
        Some((_, value)) if value.starts_with('+') => Err(()),
        Some((_, value)) => value.parse().map(Some).map_err(|_| ()),
    }
}

struct Wrapped<T>(&'static str, T);

impl<T: Serialize> Serialize for Wrapped<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

struct Page<'a> {
    envelope: Envelope,
    messages: Vec<View<'a>>,
    total: Option<usize>,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { envelope, messages, total } = self;
        match envelope {
            Envelope::Bare => messages.serialize(serializer),
            Envelope::Items => {
                Named { list: "items", messages, total: *total, meta: false }.serialize(serializer)
            }
            Envelope::Messages => {
                Named { list: "messages", messages, total: *total, meta: false }.serialize(serializer)
            }
            Envelope::Data => {
                Named { list: "data", messages, total: *total, meta: true }.serialize(serializer)
            }
            Envelope::Nested => {
                Wrapped("data", Named { list: "items", messages, total: *total, meta: false })
                    .serialize(serializer)
            }
        }
    }
}

/// A list under a name, with the total beside it or under `meta`.
struct Named<'a> {
    list: &'static str,
    messages: &'a [View<'a>],
    total: Option<usize>,
    meta: bool,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.list, self.messages)?;
        match self.total {
            Some(total) if self.meta => map.serialize_entry("meta", &Wrapped("total", total))?,
            Some(total) => map.serialize_entry("total", &total)?,
            None => {}
        }
        map.end()
    }
}
