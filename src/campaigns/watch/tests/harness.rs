//! An upstream in memory whose list shifts, fails and lies on demand, and a hub in front of it.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::super::{Hub, WatchConfig};
use crate::{
    campaigns::cache::{Cache, Limits},
    clock::Clock,
    context::Context,
    error::Error,
    model::{
        ApiKey, CampaignId, MessageChange, MessageId, Status, StatusSet, WatchEvent, WatchOptions,
        WatchPlace, WatchUpdate, Workspace, WorkspaceId,
    },
    upstream::{Call, Client, Config, Evidence, request::API_KEY},
};

/// A patience that no test of anything else tries.
pub(super) const PATIENT: Duration = Duration::from_secs(86_400);

pub(super) type Updates = Pin<Box<dyn Stream<Item = Result<WatchUpdate, Error>> + Send>>;

/// How long each answer of the upstream takes.
pub(super) const LATENCY: Duration = Duration::from_millis(10);

/// Called before each answer, with the number of the request (from 1).
type Script = Box<dyn FnMut(&mut World, usize) + Send>;

/// The upstream's state.
#[derive(Default)]
pub(super) struct World {
    /// In the list's order.
    pub(super) messages: Vec<(String, String)>,
    /// What the list shows instead of the truth.
    pub(super) stale: BTreeMap<String, String>,
    /// What the list leaves out.
    pub(super) hidden: HashSet<String>,
    pub(super) tells_total: bool,
    pub(super) cap: Option<usize>,
    pub(super) ignores_offset: bool,
    /// Each message's contact.
    pub(super) contact: &'static str,
    /// Every answer, while set.
    pub(super) fault: Option<(u16, &'static str)>,
    pub(super) script: Option<Script>,
    /// The paths asked for, in order.
    pub(super) requests: Vec<String>,
    /// When the first page was asked for, each time.
    pub(super) sweep_starts: Vec<Instant>,
    /// The keys that came along.
    pub(super) keys: HashSet<String>,
}

impl World {
    pub(super) fn add(&mut self, id: &str, status: &str) {
        self.messages.push((id.to_owned(), status.to_owned()));
    }

    pub(super) fn add_first(&mut self, id: &str, status: &str) {
        self.messages.insert(0, (id.to_owned(), status.to_owned()));
    }

    pub(super) fn set(&mut self, id: &str, status: &str) {
        let message = self.messages.iter_mut().find(|(known, _)| known == id);
        message.expect("no such message").1 = status.to_owned();
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.messages.retain(|(known, _)| known != id);
    }

    pub(super) fn lists(&self) -> usize {
        self.requests.iter().filter(|path| path.contains("offset=")).count()
    }

    pub(super) fn sweeps(&self) -> usize {
        self.sweep_starts.len()
    }

    pub(super) fn gets(&self) -> usize {
        self.requests.len() - self.lists()
    }

    /// Answers a GET of a URI: the status, and the body.
    fn answer(&mut self, path: &str) -> (u16, Value) {
        self.requests.push(path.to_owned());
        if path.ends_with("offset=0") {
            self.sweep_starts.push(Instant::now());
        }
        if let Some(mut script) = self.script.take() {
            script(self, self.requests.len());
            self.script.get_or_insert(script);
        }
        if let Some((code, message)) = self.fault {
            return (code, json!({ "message": message }));
        }
        let contact = self.contact;
        let show = |id: &str, status: &str| json!({ "id": id, "status": status, "contactId": contact });
        let Some((_, query)) = path.split_once('?') else {
            let id = path.rsplit('/').next().expect("a path has segments");
            return match self.messages.iter().find(|(known, _)| known == id) {
                Some((id, status)) => (200, show(id, status)),
                None => (404, json!({ "message": "Message not found" })),
            };
        };
        let number = |name: &str| -> usize {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
            pair.expect("the query has both").parse().expect("a number")
        };
        let (limit, offset) = (number("limit="), number("offset="));
        let visible: Vec<_> = self.messages.iter().filter(|(id, _)| !self.hidden.contains(id)).collect();
        let items: Vec<_> = visible
            .iter()
            .skip(if self.ignores_offset { 0 } else { offset })
            .take(limit.min(self.cap.unwrap_or(limit)))
            .map(|(id, status)| show(id, self.stale.get(id).unwrap_or(status)))
            .collect();
        let mut page = json!({ "items": items });
        if self.tells_total {
            page["total"] = json!(visible.len());
        }
        (200, page)
    }
}

/// A hub and the upstream behind it.
pub(super) struct Rig {
    pub(super) hub: Hub,
    pub(super) draining: CancellationToken,
    pub(super) tracker: TaskTracker,
    pub(super) start: DateTime<Utc>,
    world: Arc<Mutex<World>>,
}

impl Rig {
    pub(super) fn new(world: World) -> Self {
        Self::with(world, WatchConfig { reader_patience: PATIENT, ..WatchConfig::default() })
    }

    pub(super) fn with(world: World, config: WatchConfig) -> Self {
        let start = "2026-03-11T09:00:00Z".parse().unwrap();
        let clock = Clock::anchored(start);
        let world = Arc::new(Mutex::new(world));
        let client = client(Arc::clone(&world), clock);
        let (draining, tracker) = (CancellationToken::new(), TaskTracker::new());
        let config = WatchConfig { poll_jitter: 0.0, ..config };
        let cache = Cache::new(Limits::default());
        let hub = Hub::new(client, cache, config, clock, tracker.clone(), draining.clone());
        Self { hub, draining, tracker, start, world }
    }

    /// The upstream, to look at and to change.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(super) fn watch(&self, options: WatchOptions) -> Updates {
        self.resume(options, None)
    }

    pub(super) fn resume(&self, options: WatchOptions, from: Option<WatchPlace>) -> Updates {
        self.hub.watch(context(1), campaign(), options, from).boxed()
    }
}

fn client(world: Arc<Mutex<World>>, clock: Clock) -> Client {
    let transport = tower::service_fn(move |call: Call| {
        let world = Arc::clone(&world);
        async move {
            tokio::time::sleep(LATENCY).await;
            let mut world = world.lock().unwrap();
            let key = call.request.headers()[API_KEY].to_str().unwrap();
            world.keys.insert(key.to_owned());
            let (status, body) = world.answer(&call.request.uri().to_string());
            Ok::<_, Infallible>(Evidence::answered(status.try_into().unwrap(), body.to_string()))
        }
    });
    Client::with_transport(transport, &Config::new("http://127.0.0.1:1/campaigns").unwrap(), clock)
}

pub(super) fn context(workspace: u8) -> Context {
    let id = WorkspaceId([workspace; 16]);
    let key = ApiKey::new(format!("key-{workspace}")).into();
    Context { workspace: Workspace { id, key }, deadline: None }
}

pub(super) fn campaign() -> CampaignId {
    CampaignId::parse("campaign").unwrap()
}

pub(super) fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap()
}

/// A whole campaign, from its present state on.
pub(super) fn everything() -> WatchOptions {
    WatchOptions {
        message_ids: HashSet::new(),
        statuses: StatusSet::default(),
        snapshot: true,
        heartbeat_interval: Duration::from_secs(300),
        complete_when_terminal: false,
    }
}

/// What a stream tells, in short: `a: QUEUED -> SENT`, `b: new QUEUED`, `c: QUEUED, gone`.
pub(super) fn short(change: &MessageChange) -> String {
    let MessageChange { message, previous, removed } = change;
    let was = previous.map(Status::upstream_word);
    match (was, removed) {
        (Some(was), true) => format!("{}: {was}, gone", message.id),
        (Some(was), false) => format!("{}: {was} -> {}", message.id, message.upstream_status),
        (None, true) => format!("{}: unknown, gone", message.id),
        (None, false) => format!("{}: new {}", message.id, message.upstream_status),
    }
}

/// The next thing told; time passes as it must.
pub(super) async fn next(updates: &mut Updates) -> WatchEvent {
    updates.next().await.expect("the watch ended").expect("the watch failed").event
}

/// The next changes told.
pub(super) async fn changes(updates: &mut Updates) -> Vec<String> {
    match next(updates).await {
        WatchEvent::Changes(changes) => changes.iter().map(short).collect(),
        other => panic!("changes were due: {other:?}"),
    }
}

/// The whole snapshot, checked against its own count.
pub(super) async fn snapshot(updates: &mut Updates) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        match next(updates).await {
            WatchEvent::Changes(changes) => told.extend(changes.iter().map(short)),
            WatchEvent::SnapshotComplete { message_count } => {
                assert_eq!(message_count, told.len() as u64);
                return told;
            }
            WatchEvent::Heartbeat { .. } => {}
            WatchEvent::Reset => panic!("a reset was not due"),
        }
    }
}

/// How the watch ends: without a word (`None`) or with an error; and nothing comes after.
pub(super) async fn end(updates: &mut Updates) -> Option<Error> {
    loop {
        match updates.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                assert!(updates.next().await.is_none(), "an error ends the stream");
                return Some(error);
            }
            None => return None,
        }
    }
}

/// That nothing is told for this long.
pub(super) async fn quiet(updates: &mut Updates, seconds: u64) {
    let next = tokio::time::timeout(Duration::from_secs(seconds), updates.next()).await;
    assert!(next.is_err(), "nothing was due: {next:?}");
}

/// Messages `m0`, `m1`, ... in this status.
pub(super) fn messages(count: usize, status: &str) -> World {
    let mut world = World::default();
    (0..count).for_each(|n| world.add(&format!("m{n}"), status));
    world
}
