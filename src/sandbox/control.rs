//! The control routes under `/_sandbox`: no key, no part of the vendor's API.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    NOTICE,
    answer::Answer,
    clock::iso,
    faults::Rule,
    message::{Given, Status},
    routes::Shared,
    seed,
    store::{Campaign, CampaignState},
};

/// The most messages that one seeding may make: some hundred megabytes.
const MOST_SEEDED: usize = 1_000_000;

type Shares = State<Arc<Shared>>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sandbox", get(explain))
        .route("/_sandbox/", get(explain))
        .route("/_sandbox/clock", get(read_clock).post(set_clock))
        .route("/_sandbox/faults", get(read_faults).post(add_faults).delete(clear_faults))
        .route("/_sandbox/requests", get(read_requests).delete(clear_requests))
        .route("/_sandbox/messages", get(messages))
        .route("/_sandbox/seed", post(fill))
        .route("/_sandbox/campaigns", get(campaigns).post(set_campaign))
        .route("/_sandbox/keys", post(set_keys))
}

struct Refusal(u16, String);

impl Refusal {
    fn bad(message: impl ToString) -> Self {
        Self(400, message.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Answer::refusal(self.0, &self.1).body;
        (StatusCode::from_u16(self.0).unwrap_or_default(), [("content-type", "application/json")], body)
            .into_response()
    }
}

type Reply = Result<Json<Value>, Refusal>;

/// Whatever the content type: `curl -d` sends a form's.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(Refusal::bad)
}

async fn explain(State(shared): Shares) -> Json<Value> {
    let store = shared.store();
    let workspaces: Vec<_> = store
        .workspaces
        .iter()
        .map(|w| json!({"name": w.name, "api_keys": w.api_keys, "campaigns_feature": w.campaigns_feature}))
        .collect();
    Json(json!({
        "notice": NOTICE,
        "api": "/api/v1/campaigns",
        "workspaces": workspaces,
        "options": format!("{:?}", store.options),
        "routes": {
            "GET /_sandbox/clock": "the time, and whether it stands still",
            "POST /_sandbox/clock": {"freeze": true, "advance_ms": 10_000, "set": "2026-03-01T00:00:00Z"},
            "GET /_sandbox/faults": "the fault rules and how often they took a request",
            "POST /_sandbox/faults": [
                {"operation": "add", "count": 1, "status": 429, "headers": {"Retry-After": "1"}},
                {"operation": "add", "after": 2, "count": 1, "status": 502, "body": "<html>Bad Gateway</html>", "apply": true},
                {"method": "GET", "path": "/messages", "latency_ms": 250, "expires_ms": 60_000},
                {"operation": "add", "reset_before": true}, {"operation": "add", "reset_after": true},
                {"operation": "add", "truncate": true}, {"operation": "cancel", "hang_ms": 5_000, "apply": true},
            ],
            "DELETE /_sandbox/faults": "forgets them",
            "GET /_sandbox/requests": "the request log, without keys and personal data",
            "DELETE /_sandbox/requests": "forgets it",
            "GET /_sandbox/messages?campaign=ID": "every message really created, in order of creation",
            "POST /_sandbox/seed": {"campaign": seed::EVERGREEN, "count": 10_000, "status": "SENT"},
            "GET /_sandbox/campaigns": "the campaigns, their states and how many messages they hold",
            "POST /_sandbox/campaigns": {"id": seed::EVERGREEN, "status": "PAUSED", "workspace": "acme"},
            "POST /_sandbox/keys": {"workspace": "acme", "api_keys": ["sandbox-key-acme", "sandbox-key-acme-2"]},
        },
    }))
}

fn clock(shared: &Shared) -> Json<Value> {
    let (now, frozen) = shared.clock.read();
    Json(json!({"now": iso(now), "frozen": frozen}))
}

async fn read_clock(State(shared): Shares) -> Json<Value> {
    clock(&shared)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    freeze: Option<bool>,
    set: Option<String>,
    advance_ms: Option<u64>,
}

async fn set_clock(State(shared): Shares, body: Bytes) -> Reply {
    let change: ClockChange = parse(&body)?;
    let to = change.set.map(|text| text.parse::<DateTime<Utc>>()).transpose().map_err(Refusal::bad)?;
    let out_of_range = || Refusal::bad("the clock goes from 1970 to 9999");
    if let Some(frozen) = change.freeze {
        shared.clock.freeze(frozen);
    }
    if let Some(to) = to
        && !shared.clock.set(to.timestamp_millis())
    {
        return Err(out_of_range());
    }
    if let Some(by) = change.advance_ms
        && !shared.clock.advance(by)
    {
        return Err(out_of_range());
    }
    Ok(clock(&shared))
}

fn rules(shared: &Shared) -> Json<Value> {
    Json(json!({"rules": shared.faults.all()}))
}

async fn read_faults(State(shared): Shares) -> Json<Value> {
    rules(&shared)
}

async fn add_faults(State(shared): Shares, body: Bytes) -> Reply {
    let posted: Value = parse(&body)?;
    let posted = if posted.is_array() { posted } else { json!([posted]) };
    let posted: Vec<Rule> = serde_json::from_value(posted).map_err(Refusal::bad)?;
    shared.faults.add(posted).map_err(Refusal::bad)?;
    Ok(rules(&shared))
}

async fn clear_faults(State(shared): Shares) -> Json<Value> {
    shared.faults.clear();
    rules(&shared)
}

async fn read_requests(State(shared): Shares) -> Json<Value> {
    let (requests, made) = shared.journal.all();
    Json(json!({"made": made, "requests": requests}))
}

async fn clear_requests(State(shared): Shares) -> Json<Value> {
    shared.journal.clear();
    read_requests(State(shared)).await
}

/// A message as it is, not as the API shows it.
#[derive(Serialize)]
struct Truth<'a> {
    #[serde(rename = "messageId")]
    message_id: &'a str,
    #[serde(rename = "contactId")]
    contact_id: &'a str,
    identifier: Option<&'a str>,
    /// The resolved instant, null for immediate.
    instant: Option<String>,
    timezone: Option<&'static str>,
    status: Status,
    #[serde(rename = "createdAt")]
    created_at: String,
    /// The request that created it, by its `n` in the request log; 0 for a seeded one.
    request: u64,
    given: Option<&'a Given>,
}

async fn messages(State(shared): Shares, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = query.unwrap_or_default();
    let id = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "campaign");
    let (_, id) = id.ok_or_else(|| Refusal::bad("campaign=ID is missing"))?;
    let now = shared.clock.now();
    let store = shared.store();
    let campaign = store.campaigns.get(id.as_ref()).ok_or_else(unknown_campaign)?;
    let truths: Vec<_> = campaign
        .messages()
        .iter()
        .map(|message| Truth {
            message_id: &message.id,
            contact_id: &message.to.id,
            identifier: message.to.identifier.as_deref(),
            instant: message.plan.scheduled_at_utc(),
            timezone: message.plan.zone(),
            status: message.standing(now).status,
            created_at: iso(message.created),
            request: message.request,
            given: message.given.as_deref(),
        })
        .collect();
    #[derive(Serialize)]
    struct Body<'a> {
        messages: Vec<Truth<'a>>,
    }
    Ok(Json(Body { messages: truths }).into_response())
}

fn unknown_campaign() -> Refusal {
    Refusal(404, "Campaign not found in any workspace".into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seeding {
    campaign: String,
    count: usize,
    status: Option<Status>,
}

async fn fill(State(shared): Shares, body: Bytes) -> Reply {
    let Seeding { campaign, count, status } = parse(&body)?;
    if !(1..=MOST_SEEDED).contains(&count) {
        return Err(Refusal::bad(format!("count must be 1 to {MOST_SEEDED}")));
    }
    let now = shared.clock.now();
    let (first, last) =
        seed::fill(&mut shared.store(), &campaign, count, status, now).ok_or_else(unknown_campaign)?;
    Ok(Json(json!({"campaign": campaign, "created": count, "first": first.as_ref(), "last": last.as_ref()})))
}

fn all_campaigns(shared: &Shared) -> Json<Value> {
    let store = shared.store();
    let mut campaigns: Vec<_> = store.campaigns.iter().collect();
    campaigns.sort_by_key(|(id, _)| *id);
    let shown = |(id, campaign): (&String, &Campaign)| {
        json!({
            "id": id,
            "workspace": store.workspaces[campaign.workspace].name,
            "status": campaign.state,
            "messages": campaign.messages().len(),
        })
    };
    Json(json!({"campaigns": campaigns.into_iter().map(shown).collect::<Vec<_>>()}))
}

async fn campaigns(State(shared): Shares) -> Json<Value> {
    all_campaigns(&shared)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CampaignChange {
    id: String,
    status: CampaignState,
    /// For a campaign that does not exist yet; without it, `acme`.
    workspace: Option<String>,
}

async fn set_campaign(State(shared): Shares, body: Bytes) -> Reply {
    let CampaignChange { id, status, workspace } = parse(&body)?;
    let mut store = shared.store();
    let workspace = match workspace {
        None => None,
        Some(name) => {
            let at = store.workspaces.iter().position(|workspace| workspace.name == name);
            Some(at.ok_or_else(|| Refusal(404, "Workspace not found".into()))?)
        }
    };
    match store.campaigns.get_mut(&id) {
        Some(campaign) if workspace.is_some_and(|wanted| wanted != campaign.workspace) => {
            return Err(Refusal::bad("the campaign belongs to another workspace"));
        }
        Some(campaign) => campaign.state = status,
        None => {
            store.campaigns.insert(id, Campaign::new(workspace.unwrap_or(0), status));
        }
    }
    drop(store);
    Ok(all_campaigns(&shared))
}

/// The keys that open a workspace from now on; no others do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyChange {
    workspace: String,
    api_keys: Vec<String>,
}

async fn set_keys(State(shared): Shares, body: Bytes) -> Reply {
    let KeyChange { workspace, api_keys } = parse(&body)?;
    let mut store = shared.store();
    let elsewhere = |key: &String| {
        store.workspaces.iter().any(|other| other.name != workspace && other.api_keys.contains(key))
    };
    if api_keys.iter().any(elsewhere) {
        return Err(Refusal::bad("a key opens another workspace"));
    }
    let found = store.workspaces.iter_mut().find(|known| known.name == workspace);
    let found = found.ok_or_else(|| Refusal(404, "Workspace not found".into()))?;
    found.api_keys = api_keys;
    Ok(Json(json!({"workspace": workspace, "api_keys": found.api_keys})))
}
