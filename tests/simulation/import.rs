//! What a caller wants to have added, under one request id, and what it was told so far.

use std::sync::Mutex;

use blubash_grpc::pb::{self, audience_item::Recipient, schedule::When};
use fastrand::Rng;

use crate::book::Book;

/// One ingestion. Callers who bring it at once share it.
pub(crate) struct Import {
    pub(crate) api_key: &'static str,
    pub(crate) campaign: &'static str,
    pub(crate) request_id: &'static str,
    batch: i32,
    rejects_duplicates: bool,
    things: Vec<Thing>,
    /// How often each item came back changed.
    versions: Mutex<Vec<u32>>,
    pub(crate) book: Mutex<Book>,
}

#[derive(Clone)]
struct Thing {
    /// The item's own name: by it the upstream's truth knows whom it messaged.
    name: String,
    recipient: Recipient,
    /// Until it is mended, its schedule has no time zone.
    is_invalid: bool,
}

impl Import {
    /// Some ingestions that must not get in each other's way: of the same name in another workspace or
    /// campaign, of another name in the same.
    pub(crate) fn some(rng: &mut Rng) -> Vec<Self> {
        let first = Self::by_chance(rng, "key-a", "c1", "r1");
        let mut all = vec![first];
        if rng.u8(0..3) == 0 {
            // The very same items: only the workspace tells them apart.
            let twin = all[0].in_workspace("key-b");
            all.push(twin);
        }
        if rng.u8(0..3) == 0 {
            all.push(Self::by_chance(rng, "key-a", "c1", "r2"));
        }
        if rng.u8(0..4) == 0 {
            all.push(Self::by_chance(rng, "key-a", "c2", "r1"));
        }
        all
    }

    fn by_chance(
        rng: &mut Rng,
        api_key: &'static str,
        campaign: &'static str,
        request_id: &'static str,
    ) -> Self {
        let count = rng.usize(1..12);
        let (by_contact, with_bad, with_invalid) = (rng.bool(), rng.bool(), rng.bool());
        let mut things: Vec<Thing> = Vec::with_capacity(count);
        for n in 0..count {
            let kind = if with_bad && rng.u8(0..6) == 0 { "bad" } else { "good" };
            let whom = format!("{kind}-{n}");
            let again = rng.u8(0..10) == 0 && n > 0;
            let recipient = match (again, by_contact) {
                (true, _) => things[rng.usize(0..n)].recipient.clone(),
                (_, true) => Recipient::ContactId(whom),
                (_, false) => Recipient::Identifier(whom),
            };
            things.push(Thing {
                name: format!("{campaign}/{request_id}/{n}"),
                recipient,
                is_invalid: with_invalid && rng.u8(0..5) == 0,
            });
        }
        let batch = rng.i32(0..6);
        Self::new(api_key, campaign, request_id, batch, rng.u8(0..4) == 0, things)
    }

    fn new(
        api_key: &'static str,
        campaign: &'static str,
        request_id: &'static str,
        batch: i32,
        rejects_duplicates: bool,
        things: Vec<Thing>,
    ) -> Self {
        let persons = things.iter().map(|thing| format!("{api_key}/{}", thing.name)).collect();
        Self {
            api_key,
            campaign,
            request_id,
            batch,
            rejects_duplicates,
            versions: Mutex::new(vec![0; things.len()]),
            things,
            book: Mutex::new(Book::new(persons)),
        }
    }

    fn in_workspace(&self, api_key: &'static str) -> Self {
        let things = self.things.clone();
        Self::new(api_key, self.campaign, self.request_id, self.batch, self.rejects_duplicates, things)
    }

    /// How the names of its persons begin.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/{}/{}/", self.api_key, self.campaign, self.request_id)
    }

    pub(crate) fn options(&self) -> pb::AudienceOptions {
        pb::AudienceOptions {
            request_id: self.request_id.into(),
            max_batch_size: self.batch,
            reject_duplicate_recipients: self.rejects_duplicates,
            ..Default::default()
        }
    }

    /// How often each item came back changed so far.
    pub(crate) fn versions(&self) -> Vec<u32> {
        self.versions.lock().unwrap().clone()
    }

    /// The items in these versions.
    pub(crate) fn items(&self, versions: &[u32]) -> Vec<pb::AudienceItem> {
        let item = |(thing, version): (&Thing, &u32)| {
            let when = if thing.is_invalid && *version == 0 {
                When::Datetime(pb::IsoDateTime {
                    value: "2026-05-01T09:00:00".into(),
                    time_zone: String::new(),
                })
            } else {
                When::Immediate(pb::Immediate {})
            };
            pb::AudienceItem {
                item_id: thing.name.clone(),
                recipient: Some(thing.recipient.clone()),
                name: thing.name.clone(),
                email: if *version > 0 { format!("v{version}@example.com") } else { String::new() },
                schedule: Some(pb::Schedule { when: Some(when) }),
                ..Default::default()
            }
        };
        self.things.iter().zip(versions.iter()).map(item).collect()
    }

    /// An item that was not taken in this version comes back changed, unless it has already.
    pub(crate) fn change(&self, index: usize, version: u32) {
        let mut versions = self.versions.lock().unwrap();
        if versions[index] == version {
            versions[index] += 1;
        }
    }

    /// An item was settled before it was changed, though it was told NOT_ATTEMPTED: a disk that failed, and a
    /// crash before it could be made good, left it in doubt. It comes back as it was.
    pub(crate) fn restore(&self, index: usize) {
        let mut versions = self.versions.lock().unwrap();
        versions[index] = versions[index].saturating_sub(1);
    }

    /// Whether an item that is INVALID would still be after a change: because of an earlier one's recipient.
    pub(crate) fn stays_invalid(&self, index: usize) -> bool {
        let recipient = &self.things[index].recipient;
        self.rejects_duplicates && self.things[..index].iter().any(|thing| thing.recipient == *recipient)
    }
}
