//! Adding contacts: the body is read as the page's tables tell, item by item.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    answer::Answer,
    clock::Millis,
    message::{Fate, Given, Message},
    options::{Batches, UtcOffset},
    resolve::{self, Change, Recipient, Who},
    schedule::Plan,
    seed::{UNDELIVERABLE_CONTACT_ID, UNDELIVERABLE_PREFIX},
    store::Store,
};

// The page has no text for a body that is not what it describes: each of these is a guess.
const NOT_JSON: &str = "Request body is not valid JSON";
const NO_ITEMS: &str = "items must be an array with at least one element";
const NO_OBJECT: &str = "Each item must be an object";
const ZONE_TYPE: &str = "default_schedule_timezone must be a string";

/// One item that is right in itself; whether its contact can be reached is not known yet.
struct Item {
    who: Who,
    plan: Plan,
    given: Given,
}

#[derive(Serialize)]
struct Added<'a> {
    #[serde(rename = "messageId")]
    message_id: &'a str,
    #[serde(rename = "contactId")]
    contact_id: &'a str,
    scheduled_at: Option<String>,
    scheduled_at_utc: Option<String>,
    timezone: Option<&'static str>,
}

/// Adds what `body` asks for to an existing campaign that takes contacts. `request` is the request's number in the log.
pub(super) fn add(store: &mut Store, campaign: &str, body: &[u8], now: Millis, request: u64) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Answer::refusal(400, NOT_JSON);
    };
    let items = match body.get("items").and_then(Value::as_array) {
        Some(items) if !items.is_empty() => items,
        _ => return Answer::refusal(400, NO_ITEMS),
    };
    let counted = |answer| Answer { items: Some(items.len()), ..answer };
    if items.len() > store.options.max_items {
        return counted(Answer::refusal(413, "Too many items in one request"));
    }
    let Ok(zone) = text(&body, "default_schedule_timezone", ZONE_TYPE) else {
        return counted(Answer::refusal(400, ZONE_TYPE));
    };

    let before = store.campaigns.get(campaign).map_or(0, |campaign| campaign.messages().len());
    let mut changes = Vec::with_capacity(items.len());
    let mut refusal = None;
    for item in items {
        match add_one(store, campaign, item, zone, now, request) {
            Ok(change) => changes.push(change),
            Err(message) => {
                refusal.get_or_insert(message);
                if store.options.batches != Batches::Independent {
                    break;
                }
            }
        }
    }
    if refusal.is_some() && store.options.batches == Batches::Atomic {
        store.undo(campaign, before, changes);
    }

    let added = store.campaigns.get(campaign).map_or(&[][..], |campaign| &campaign.messages()[before..]);
    let answer = match refusal {
        Some(message) => Answer::refusal(400, message),
        None => success(added),
    };
    counted(Answer { applied: added.len(), ..answer })
}

fn added(message: &Message) -> Added<'_> {
    Added {
        message_id: &message.id,
        contact_id: &message.to.id,
        scheduled_at: message.plan.scheduled_at(),
        scheduled_at_utc: message.plan.scheduled_at_utc(),
        timezone: message.plan.zone(),
    }
}

fn success(messages: &[Message]) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        items: Vec<Added<'a>>,
    }
    Answer::ok(&Body { items: messages.iter().map(added).collect() })
}

fn add_one(
    store: &mut Store,
    campaign: &str,
    item: &Value,
    zone: Option<&str>,
    now: Millis,
    request: u64,
) -> Result<Change, &'static str> {
    let Store { options, workspaces, campaigns, ids, .. } = store;
    // The whole item is read before its contact is touched, so that a refused item leaves no contact behind: a guess.
    let Item { who, plan, given } = parse(item, zone, options.utc_offset)?;
    let campaign = campaigns.get_mut(campaign).ok_or("Campaign not found")?;
    let contacts = &mut workspaces[campaign.workspace].contacts;
    let (to, change) = contacts.resolve(&who, given.email.as_deref(), || ids.contact())?;
    let id = ids.message().into();
    let chosen = ids.lot() < options.fail_percent.into();
    campaign.push(Message {
        id,
        fate: if chosen || undeliverable(&to) { Fate::Undeliverable } else { Fate::Delivered },
        to,
        plan,
        created: now,
        cancelled: None,
        request,
        given: (given.name.is_some()
            || given.email.is_some()
            || given.custom_fields.is_some()
            || given.tags.is_some())
        .then(|| Box::new(given)),
    });
    Ok(change)
}

fn undeliverable(to: &Recipient) -> bool {
    to.id.as_ref() == UNDELIVERABLE_CONTACT_ID
        || to.identifier.as_ref().is_some_and(|number| number.starts_with(UNDELIVERABLE_PREFIX))
}

fn parse(item: &Value, default_zone: Option<&str>, offsets: UtcOffset) -> Result<Item, &'static str> {
    let fields = item.as_object().ok_or(NO_OBJECT)?;
    // An empty contact_id counts as none, an empty identifier as an invalid one [page: "empty or invalid after normalization"].
    let contact_id = text(item, "contact_id", "contact_id must be a string")?.filter(|id| !id.is_empty());
    let identifier = text(item, "identifier", "identifier must be a string")?;
    let who = match (contact_id, identifier) {
        (Some(id), _) => Who::ContactId(id.into()),
        (None, Some(identifier)) => Who::Identifier(resolve::normalise(identifier)?),
        (None, None) => return Err(resolve::WHO_REQUIRED),
    };
    let given = Given {
        name: text(item, "name", "name must be a string")?.map(str::to_owned),
        email: text(item, "email", "email must be a string")?
            .filter(|email| !email.is_empty())
            .map(str::to_owned),
        custom_fields: custom_fields(fields)?,
        tags: tags(fields)?,
    };
    Ok(Item { who, plan: Plan::parse(fields.get("schedule"), default_zone, offsets)?, given })
}

fn text<'a>(object: &'a Value, field: &str, refusal: &'static str) -> Result<Option<&'a str>, &'static str> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(refusal),
    }
}

fn custom_fields(item: &Map<String, Value>) -> Result<Option<Map<String, Value>>, &'static str> {
    match item.get("custom_fields") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields.clone())),
        Some(_) => Err("custom_fields must be an object"),
    }
}

fn tags(item: &Map<String, Value>) -> Result<Option<Vec<String>>, &'static str> {
    const REFUSAL: &str = "tags must be an array of strings";
    match item.get("tags") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(tags)) => tags
            .iter()
            .map(|tag| tag.as_str().map(str::to_owned).ok_or(REFUSAL))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(REFUSAL),
    }
}
