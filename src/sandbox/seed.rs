//! What every sandbox holds from the start, under ids and keys that tests and examples may name.

use std::sync::Arc;

use serde_json::json;

use super::{
    clock::Millis,
    message::{Fate, Message, Status},
    options::{Options, UtcOffset},
    resolve::{Contacts, Recipient},
    schedule::Plan,
    store::{Campaign, CampaignState, Store, Workspace},
};

/// The API key of workspace `acme`, which holds every documented campaign but two.
pub const ACME_API_KEY: &str = "sandbox-key-acme";
/// The API key of workspace `globex`, which holds `camp-globex` only: nothing of `acme` exists for it.
pub const GLOBEX_API_KEY: &str = "sandbox-key-globex";
/// The API key of workspace `free-plan`, whose plan lacks the Campaigns feature: it may read `camp-free-plan` and write nothing.
pub const FREE_PLAN_API_KEY: &str = "sandbox-key-free-plan";

/// An evergreen campaign that takes contacts; empty at the start, and meant to be filled.
pub const EVERGREEN: &str = "camp-evergreen";
/// An evergreen campaign that is paused.
pub const PAUSED: &str = "camp-paused";
/// A cancelled campaign.
pub const CANCELLED: &str = "camp-cancelled";
/// A failed campaign.
pub const FAILED: &str = "camp-failed";
/// A campaign that is not evergreen.
pub const NOT_EVERGREEN: &str = "camp-not-evergreen";
/// An evergreen campaign without messages, meant to stay so.
pub const EMPTY: &str = "camp-empty";
/// An evergreen campaign with the twelve messages of `SEEDED_MESSAGES`.
pub const SEEDED: &str = "camp-seeded";
/// The evergreen campaign of workspace `globex`.
pub const GLOBEX: &str = "camp-globex";
/// The evergreen campaign of workspace `free-plan`.
pub const FREE_PLAN: &str = "camp-free-plan";

/// The messages of `camp-seeded` in order of creation. The word after `msg-seeded-` is the status, which stays until it is cancelled
/// (the queued ones are due in 2099). `-instant` were scheduled with an offset, `-zone` as wall-clock times in a zone.
pub const SEEDED_MESSAGES: [&str; 12] = [
    "msg-seeded-sent",
    "msg-seeded-sent-instant",
    "msg-seeded-sent-zone",
    "msg-seeded-failed",
    "msg-seeded-failed-instant",
    "msg-seeded-cancelled",
    "msg-seeded-cancelled-zone",
    "msg-seeded-sending",
    "msg-seeded-queued",
    "msg-seeded-queued-instant",
    "msg-seeded-queued-zone",
    "msg-seeded-pending",
];

/// A contact of `acme` with the number 5511988887777 and the email `maria@example.com`: another number with this email is refused
/// (`Contact found by email already has a different identifier for this campaign channel`).
pub const REACHABLE_CONTACT_ID: &str = "contact-maria";
/// A contact of `acme` with the email `sam@example.com` and no number: the first number sent with this email is linked to it.
pub const EMAIL_ONLY_CONTACT_ID: &str = "contact-sam";
/// A contact of `acme` with neither number nor email: adding it by its id is refused
/// (`Contact does not have a valid channel identifier for this campaign channel`).
pub const UNREACHABLE_CONTACT_ID: &str = "contact-without-identifier";
/// Messages to this contact id fail instead of being sent, in every workspace.
pub const UNDELIVERABLE_CONTACT_ID: &str = "contact-undeliverable";
/// Messages to an identifier that begins with this fail instead of being sent. No country code begins with 0.
pub const UNDELIVERABLE_PREFIX: &str = "000";

/// The seeded messages were made this long before the sandbox started.
const AGE: Millis = 24 * 3600 * 1000;

/// A store with the documented workspaces, campaigns, contacts and messages.
pub(super) fn documented(options: Options, now: Millis) -> Store {
    let mut store = Store::new(options);
    for (name, api_key, campaigns_feature) in [
        ("acme", ACME_API_KEY, true),
        ("globex", GLOBEX_API_KEY, true),
        ("free-plan", FREE_PLAN_API_KEY, false),
    ] {
        let (api_keys, contacts) = (vec![api_key.to_owned()], Contacts::default());
        store.workspaces.push(Workspace { name, api_keys, campaigns_feature, contacts });
    }

    let contacts = &mut store.workspaces[0].contacts;
    contacts.insert(REACHABLE_CONTACT_ID, Some(&"5511988887777".into()), Some("maria@example.com"));
    contacts.insert(EMAIL_ONLY_CONTACT_ID, None, Some("sam@example.com"));
    contacts.insert(UNREACHABLE_CONTACT_ID, None, None);

    use CampaignState::{Active, Cancelled, Failed, NotEvergreen, Paused};
    for (id, workspace, state) in [
        (EVERGREEN, 0, Active),
        (PAUSED, 0, Paused),
        (CANCELLED, 0, Cancelled),
        (FAILED, 0, Failed),
        (NOT_EVERGREEN, 0, NotEvergreen),
        (EMPTY, 0, Active),
        (SEEDED, 0, Active),
        (GLOBEX, 1, Active),
        (FREE_PLAN, 2, Active),
    ] {
        let mut campaign = Campaign::new(workspace, state);
        if id == SEEDED {
            (0..).zip(SEEDED_MESSAGES).for_each(|(n, id)| campaign.push(seeded(n, id, (now - AGE).max(0))));
        }
        store.campaigns.insert(id.to_owned(), campaign);
    }
    store
}

/// The `n`th seeded message; its id says what it is.
fn seeded(n: i64, id: &str, start: Millis) -> Message {
    let has = |word| id.split('-').any(|part| part == word);
    let (status, year) = match id {
        _ if has("sent") => (Status::Sent, 2026),
        _ if has("failed") => (Status::Failed, 2026),
        _ if has("cancelled") => (Status::Cancelled, 2099),
        _ if has("sending") => (Status::Sending, 2026),
        _ if has("queued") => (Status::Queued, 2099),
        _ => (Status::Pending, 2026),
    };
    let schedule = match id {
        _ if has("zone") => {
            json!({"type": "absolute", "datetime": format!("{year}-01-15T09:00:00"), "timezone": "America/Sao_Paulo"})
        }
        // An immediate message would not wait: the plain queued one has an instant too.
        _ if has("instant") || status == Status::Queued => {
            json!({"type": "absolute", "datetime": format!("{year}-01-15T12:00:00Z")})
        }
        _ => json!({"type": "immediate"}),
    };
    let created = start + n * 60_000;
    Message {
        id: id.into(),
        to: Recipient {
            id: format!("contact-seeded-{}", n + 1).into(),
            identifier: Some(format!("55119000000{:02}", n + 1).into()),
        },
        plan: Plan::parse(Some(&schedule), None, UtcOffset::Iana).unwrap_or(Plan::Immediate),
        created,
        fate: Fate::Pinned(status),
        cancelled: (status == Status::Cancelled).then_some(created + 2_000),
        request: 0,
        given: None,
    }
}

/// Adds `count` messages to a campaign at once: immediate ones that live by the clock, or ones that stay in `status`. The ids of the
/// first and the last are returned.
pub(super) fn fill(
    store: &mut Store,
    campaign: &str,
    count: usize,
    status: Option<Status>,
    now: Millis,
) -> Option<(Arc<str>, Arc<str>)> {
    let Store { campaigns, ids, .. } = store;
    let campaign = campaigns.get_mut(campaign)?;
    let before = campaign.messages().len();
    for n in before..before + count {
        campaign.push(Message {
            id: ids.message().into(),
            to: Recipient { id: ids.contact().into(), identifier: Some(format!("5521{n:09}").into()) },
            plan: Plan::Immediate,
            created: now,
            fate: status.map_or(Fate::Delivered, Fate::Pinned),
            cancelled: None,
            request: 0,
            given: None,
        });
    }
    let messages = campaign.messages().get(before..)?;
    Some((messages.first()?.id.clone(), messages.last()?.id.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    #[test]
    fn every_status_is_among_the_seeded_messages_and_stays() {
        let now = 1_800_000_000_000;
        let mut store = documented(Options::default(), now);
        let messages = store.campaign(0, SEEDED).map(|campaign| campaign.messages()).unwrap_or_default();
        assert_eq!(messages.len(), 12);
        for message in messages {
            let status = format!("{:?}", message.standing(now + 365 * AGE).status).to_lowercase();
            assert!(message.id.starts_with(&format!("msg-seeded-{status}")), "{}", message.id);
        }
    }
}
