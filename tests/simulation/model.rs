//! The upstream, as a model: it takes contacts, messages them, remembers whom, and fails in every way that the
//! outcome table names. What its answers prove is so by its own rules: it never says that nothing was done
//! when something was.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::Value;
use turmoil::net::{TcpListener, TcpStream};

use crate::{
    coverage::CrashPoint,
    harm::Harm,
    support::wire::{Received, Wire, added},
    world::World,
};

pub(crate) const PORT: u16 = 80;
/// The header of an answer by which nothing was done, for the oracles; the service knows nothing of it. Its
/// value says by what: this request alone, or any under its idempotency key.
pub(crate) const PROOF: &str = "x-proof";
pub(crate) const BY_KEY: &str = "key";

/// What kind of upstream it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modes {
    /// A batch is taken as a whole or not at all.
    pub(crate) atomic: bool,
    /// A repeat under the same idempotency key adds nobody again, and is answered as the first was.
    pub(crate) honours_keys: bool,
    /// How many exchanges of a hundred meet some harm.
    pub(crate) harm: u8,
    /// The longest that it works on a request.
    pub(crate) works: Duration,
}

/// The upstream. What it remembers outlives its process.
#[derive(Clone)]
pub(crate) struct Model {
    world: World,
    modes: Modes,
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    by_key: HashMap<String, Processed>,
    busy: HashSet<String>,
}

/// What came of a request.
#[derive(Clone, Debug)]
pub(crate) enum Processed {
    /// A message and a contact each.
    Added(Vec<(String, String)>),
    /// One of the items was refused, with this status and text. Whether others of them were added.
    Refused { status: u16, text: &'static str, partly: bool },
}

/// Whom an item is for: the key's workspace, and the name that the callers give each item.
pub(crate) fn person(api_key: &str, item: &Value) -> String {
    format!("{api_key}/{}", item["name"].as_str().unwrap_or_default())
}

impl Model {
    pub(crate) fn new(world: World, modes: Modes, seed: u64) -> Self {
        let state = State { rng: Rng::with_seed(seed), by_key: HashMap::new(), busy: HashSet::new() };
        Self { world, modes, state: Arc::new(Mutex::new(state)) }
    }

    /// Serves until the host goes down.
    pub(crate) async fn serve(self) -> turmoil::Result {
        self.state.lock().unwrap().busy.clear();
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        // No tasks: when the host crashes, the order in which they end would never be the same.
        let mut exchanges = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                // Whoever hangs up has had what there was to have.
                Some(_) = exchanges.next() => {}
                accepted = listener.accept() => exchanges.push(self.exchange(Wire::new(accepted?.0))),
            }
        }
    }

    async fn exchange(&self, mut wire: Wire<TcpStream>) -> io::Result<()> {
        let request = wire.read().await?;
        let (harm, work) = {
            let rng = &mut self.state.lock().unwrap().rng;
            let harmful = !self.world.is_calm() && rng.u8(0..100) < self.modes.harm;
            let harm = if harmful { Harm::by_chance(rng) } else { Harm::None };
            (harm, Duration::from_millis(rng.u64(0..=self.modes.works.as_millis() as u64)))
        };
        self.world.event(|| format!("upstream: {} items, {harm:?}", request.items().len()));
        self.world.pass(CrashPoint::UpstreamWorks);
        let key = request.header("x-idempotency-key").to_owned();
        if !self.state.lock().unwrap().busy.insert(key.clone()) {
            // The same request is being worked on: whatever comes of it is told to the first.
            self.world.meet("409");
            wire.write(&crate::answer::plain(409, "")).await;
            return Ok(());
        }
        tokio::time::sleep(work).await;
        let answered = self.answer(wire, &request, harm).await;
        self.state.lock().unwrap().busy.remove(&key);
        answered
    }

    /// Takes the request, as far as it can be taken.
    pub(crate) fn process(&self, request: &Received) -> Processed {
        let key = request.header("x-idempotency-key");
        let mut state = self.state.lock().unwrap();
        if self.modes.honours_keys
            && let Some(known) = state.by_key.get(key)
        {
            return known.clone();
        }
        let api_key = request.header("x-api-key");
        let is_bad = |item: &Value| recipient(item).starts_with("bad");
        let processed = match request.items().iter().find(|item| is_bad(item)) {
            None => {
                Processed::Added(request.items().iter().map(|item| self.message(api_key, item)).collect())
            }
            Some(bad) => {
                let mut partly = false;
                if !self.modes.atomic {
                    for item in request.items().iter().filter(|item| !is_bad(item)) {
                        if state.rng.bool() {
                            self.message(api_key, item);
                            partly = true;
                        }
                    }
                }
                let text = match (state.rng.u8(0..3), bad["contact_id"].is_string()) {
                    (0, _) => "this one will not do",
                    (_, true) => "Contact does not have a valid channel identifier",
                    (_, false) => "Identifier is invalid",
                };
                Processed::Refused { status: if state.rng.bool() { 400 } else { 422 }, text, partly }
            }
        };
        state.by_key.insert(key.to_owned(), processed.clone());
        drop(state);
        self.world.event(|| format!("upstream: {processed:?}"));
        self.world.pass(CrashPoint::AfterApplying);
        processed
    }

    fn message(&self, api_key: &str, item: &Value) -> (String, String) {
        let contact = item["contact_id"].as_str().unwrap_or(crate::answer::NEW_CONTACT).to_owned();
        (self.world.truth.message(&person(api_key, item)), contact)
    }

    pub(crate) fn is_atomic(&self) -> bool {
        self.modes.atomic
    }

    pub(crate) fn honours_keys(&self) -> bool {
        self.modes.honours_keys
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }
}

fn recipient(item: &Value) -> &str {
    item["identifier"].as_str().or(item["contact_id"].as_str()).unwrap_or_default()
}

/// The body that tells of these messages.
pub(crate) fn body(messages: &[(String, String)]) -> String {
    added(messages.iter().map(|(message, contact)| (message.as_str(), contact.as_str())))
}
