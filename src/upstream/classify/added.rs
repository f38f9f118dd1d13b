//! Whether the answer to adding items can be believed. A success that cannot be matched to its items is
//! worse than none: somebody was added, and nobody can say who.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::{
    model::{AddedItem, MessageId, ResolvedSchedule},
    upstream::{
        batch::Asked,
        wire::{self, Added},
    },
};

/// Holds an answer against what was asked: as many entries as items, each with a message of its own, and
/// none with the contact of another item. A contact that is merely new was merged by the upstream.
pub(super) fn check_added(body: &[u8], asked: &[Asked]) -> Result<Vec<Arc<AddedItem>>, String> {
    let added = wire::added(body).map_err(|why| format!("its answer cannot be understood: {why}"))?;
    if added.len() != asked.len() {
        return Err(format!("its answer has {} entries for {} items", added.len(), asked.len()));
    }
    let mut seen = HashSet::with_capacity(added.len());
    for entry in &added {
        if entry.message_id.is_empty() {
            return Err("its answer leaves out a message's id".to_owned());
        }
        if !seen.insert(entry.message_id.as_str()) {
            return Err("its answer gives one message's id twice".to_owned());
        }
    }
    if is_shuffled(&added, asked) {
        return Err("its answer gives an item the contact of another one".to_owned());
    }
    added.into_iter().zip(asked).map(|(entry, asked)| added_item(entry, asked)).collect()
}

fn added_item(entry: Added, asked: &Asked) -> Result<Arc<AddedItem>, String> {
    let message_id =
        MessageId::from_upstream(entry.message_id).ok_or("its answer leaves out a message's id")?;
    let utc = entry.scheduled_at_utc.as_deref();
    let schedule = ResolvedSchedule::read(entry.scheduled_at, utc, entry.time_zone, asked.at);
    Ok(Arc::new(AddedItem { message_id, contact_id: entry.contact_id, schedule }))
}

/// Whether an item that named its contact was answered with that of another, or its contact turned up
/// at another item only.
fn is_shuffled(added: &[Added], asked: &[Asked]) -> bool {
    let differs = |entry: &Added, asked: &Asked| {
        !entry.contact_id.is_empty() && asked.contact_id.as_deref().is_some_and(|id| id != entry.contact_id)
    };
    // The usual answer fits, and costs no map.
    if !added.iter().zip(asked).any(|(entry, asked)| differs(entry, asked)) {
        return false;
    }
    let named: HashSet<&str> = asked.iter().filter_map(|asked| asked.contact_id.as_deref()).collect();
    let mut answered: HashMap<&str, bool> = HashMap::new();
    for (entry, asked) in added.iter().zip(asked) {
        let own = asked.contact_id.as_deref() == Some(entry.contact_id.as_str());
        *answered.entry(entry.contact_id.as_str()).or_default() |= !own;
    }
    added.iter().zip(asked).filter(|(entry, asked)| differs(entry, asked)).any(|(entry, asked)| {
        let elsewhere = asked.contact_id.as_deref().and_then(|id| answered.get(id)).copied();
        named.contains(entry.contact_id.as_str()) || elsewhere == Some(true)
    })
}
