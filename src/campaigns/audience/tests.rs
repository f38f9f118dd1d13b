//! A model of the upstream that knows who was really messaged, and random harm: the promises hold.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    convert::Infallible,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    campaigns::{
        cache::{self, Cache},
        watch::{Hub, WatchConfig},
    },
    clock::Clock,
    ledger,
    model::{ApiKey, Disposition, Personal, Recipient, Schedule, Workspace, WorkspaceId},
    upstream::{Body, Broken, Call, Client, Config, Evidence, Unsent},
};

/// The number that the upstream refuses.
const BAD: &str = "bad";

struct World {
    rng: Rng,
    harm: bool,
    /// How often each was messaged, by number.
    messaged: HashMap<String, usize>,
}

impl World {
    /// Messages these people, and answers as though nothing were wrong.
    fn apply(&mut self, people: &[String]) -> Evidence {
        let kept = people.iter().take_while(|person| *person != BAD);
        let mut entries = Vec::new();
        for person in kept {
            *self.messaged.entry(person.clone()).or_default() += 1;
            entries.push(json!({"messageId": format!("m-{person}"), "contactId": format!("c-{person}")}));
        }
        if entries.len() < people.len() {
            return answer(400, &json!({"statusCode": 400, "message": "Identifier is invalid"}));
        }
        answer(200, &Value::from(entries))
    }

    fn act(&mut self, people: &[String]) -> Evidence {
        if !self.harm || self.rng.u8(..2) == 0 {
            return self.apply(people);
        }
        let unsent =
            [Unsent::Dns, Unsent::Connect, Unsent::ConnectTimeout, Unsent::StreamRefused, Unsent::Cancelled];
        match self.rng.u8(..5) {
            // Proof that nothing was done, and nothing is.
            0 => Evidence::NotSent { why: unsent[self.rng.usize(..unsent.len())] },
            1 => {
                let status = [429, 421, 425, 413, 431, 401, 403, 404][self.rng.usize(..8)];
                answer(status, &json!({"statusCode": status, "message": "no"}))
            }
            // No proof: done or not.
            kind => {
                let honest = if self.rng.bool() { self.apply(people) } else { answer(200, &json!([])) };
                match kind {
                    2 => Evidence::Broken {
                        why: if self.rng.bool() { Broken::Timeout } else { Broken::Connection },
                    },
                    3 => {
                        let status = [500, 502, 503, 504, 408, 409, 302][self.rng.usize(..7)];
                        answer(status, &json!({}))
                    }
                    _ if self.rng.bool() => Evidence::Answered {
                        status: StatusCode::OK,
                        headers: HeaderMap::new(),
                        body: if self.rng.bool() { Body::Truncated } else { Body::OverCap },
                    },
                    _ => honest,
                }
            }
        }
    }
}

fn answer(status: u16, body: &Value) -> Evidence {
    Evidence::answered(StatusCode::from_u16(status).unwrap(), body.to_string())
}

struct Rig {
    audience: Audience,
    tracker: TaskTracker,
    world: Arc<Mutex<World>>,
}

impl Rig {
    fn new(seed: u64) -> Self {
        let limits = Limits {
            batch_max_items: 4,
            batch_max_bytes: 90_000,
            batch_max_age: Duration::from_millis(100),
            window: 3,
            singles_window: 5,
            doubt: DoubtLimits::default(),
            proven_keys: false,
        };
        Self::with(seed, limits, None)
    }

    /// With these limits, and this many calls upstream a second.
    fn with(seed: u64, limits: Limits, rate: Option<NonZeroU32>) -> Self {
        let world = World { rng: Rng::with_seed(seed), harm: true, messaged: HashMap::new() };
        let world = Arc::new(Mutex::new(world));
        let model = Arc::clone(&world);
        let transport = tower::service_fn(move |call: Call| {
            let world = Arc::clone(&model);
            async move {
                let body: Value = serde_json::from_slice(call.request.body()).unwrap();
                let people: Vec<String> = body["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["identifier"].as_str().unwrap().to_owned())
                    .collect();
                let [there, back] = {
                    let mut world = world.lock().unwrap();
                    [(); 2].map(|()| Duration::from_millis(world.rng.u64(..1_500)))
                };
                tokio::time::sleep(there).await;
                let evidence = world.lock().unwrap().act(&people);
                tokio::time::sleep(back).await;
                Ok::<_, Infallible>(evidence)
            }
        });
        let clock = Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap());
        let upstream = Config { rate, ..Config::new("http://127.0.0.1:1/c").unwrap() };
        let client = Client::with_transport(transport, &upstream, clock);
        let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
        let config = WatchConfig::default();
        let cache = Cache::new(cache::Limits::default());
        let hub = Hub::new(client.clone(), cache.clone(), config, clock, tracker.clone(), stopping.clone());
        let ledger = Ledger::in_memory(ledger::Config::default(), clock);
        let prints = Fingerprinter::new(&[1; 32]);
        let audience = Audience::new(Parts {
            client,
            ledger,
            fingerprinter: prints,
            writes: Writes::new(cache, hub),
            limits,
            clock,
            tracker: tracker.clone(),
            stopping,
        });
        Self { audience, tracker, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    async fn call(
        &self,
        people: &[Option<String>],
        within: Duration,
        as_stream: bool,
    ) -> Result<Ingested, Error> {
        let workspace = Workspace { id: WorkspaceId([1; 16]), key: ApiKey::new("key").into() };
        let ctx = Context { workspace, deadline: Some(Instant::now() + within) };
        let request_id = Some(RequestId::parse("one").unwrap());
        let options = IngestionOptions { request_id, ..Default::default() };
        let entries = people.iter().enumerate().map(|(n, person)| Entry {
            item_id: n.to_string(),
            item: person.clone().map_or_else(|| Err(vec![]), |person| Ok(item(person))),
        });
        let (campaign, entries) = (CampaignId::parse("c1").unwrap(), entries.collect());
        if as_stream {
            self.ingest(ctx, campaign, options, entries).await
        } else {
            self.audience.add(ctx, campaign, options, entries).await
        }
    }

    /// The same through a stream that brings some items at a time.
    async fn ingest(
        &self,
        ctx: Context,
        campaign: CampaignId,
        options: IngestionOptions,
        mut entries: Vec<Entry>,
    ) -> Result<Ingested, Error> {
        let (mut feeder, mut run) = self.audience.ingest(ctx, campaign, options).await?;
        let feeding = tokio::spawn(async move {
            while !entries.is_empty() {
                let rest = entries.split_off(entries.len().min(fastrand::usize(1..7)));
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
                if !feeder.items(std::mem::replace(&mut entries, rest)).await {
                    return;
                }
            }
            feeder.end().await;
        });
        let _ends_with_caller = AbortOnDrop(feeding);
        let (mut results, mut through) = (Vec::new(), 0);
        loop {
            match run.next().await.unwrap() {
                Answer::Results { results: more, settled_through } => {
                    assert!(settled_through > through);
                    through = settled_through;
                    results.extend(more);
                    assert_eq!(results.len() as u64, through, "what is told is told whole");
                }
                Answer::End(ended) => {
                    let End { summary, termination } = ended?;
                    return Ok(Ingested { request_id: run.request_id, summary, results, termination });
                }
            }
        }
    }

    /// That each item that was read has one result, in order, and a true one.
    fn check(&self, people: &[Option<String>], told: &Ingested, seed: u64) {
        // Only a stream that was ended early leaves items unread.
        assert!(told.results.len() == people.len() || told.termination.is_some(), "seed {seed}");
        let world = self.world();
        for ((n, result), person) in (0..).zip(&told.results).zip(people) {
            assert_eq!((result.index, &result.item_id), (n, &n.to_string()), "seed {seed}");
            let times = person.as_ref().and_then(|person| world.messaged.get(person)).copied().unwrap_or(0);
            let is_true = match &result.disposition {
                Disposition::Added(added) => {
                    times == 1 && person.as_ref().is_some_and(|p| added.contact_id == format!("c-{p}"))
                }
                Disposition::Invalid(_) => person.is_none(),
                Disposition::Rejected(_) | Disposition::NotAttempted(_) => times == 0,
                Disposition::InDoubt(_) | Disposition::Pending => times <= 1,
                Disposition::Valid => false,
            };
            assert!(is_true, "seed {seed}: {result:?}, messaged {times} times");
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn item(person: String) -> Item {
    Item {
        recipient: Recipient::Identifier(Personal(person)),
        name: None,
        email: None,
        custom_fields: None,
        tags: Vec::new(),
        schedule: Schedule::Immediate,
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_nobody_is_messaged_twice_and_every_disposition_is_true() {
    for seed in 0..256 {
        fastrand::seed(seed);
        let (rig, mut rng) = (Rig::new(seed), Rng::with_seed(seed ^ 0xB1B));
        let people: Vec<Option<String>> = (0..rng.usize(1..25))
            .map(|n| match rng.u8(..12) {
                0 => None,
                1 => Some(BAD.to_owned()),
                _ => Some(format!("p{n}")),
            })
            .collect();
        for _ in 0..rng.u8(..5) {
            let within = Duration::from_millis(rng.u64(..20_000));
            let as_stream = rng.bool();
            let patience = Duration::from_millis(rng.u64(..25_000));
            match tokio::time::timeout(patience, rig.call(&people, within, as_stream)).await {
                Ok(Ok(told)) => rig.check(&people, &told, seed),
                // A bare status tells of no item: none of this call's may be under way, nor ever was.
                // (A stream may have ended before it was read: then it tells of nothing.)
                Ok(Err(error)) if error.reason() != Reason::RequestIdInUse && !as_stream => {
                    assert!(rig.world().messaged.is_empty(), "seed {seed}: {error:?}");
                }
                // Turned away, or the caller hung up.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        rig.tracker.close();
        rig.tracker.wait().await;
        rig.world().harm = false;
        // Beyond the doubt breaker's pause: a probe may go, and its answer closes it.
        tokio::time::advance(Duration::from_secs(60)).await;
        let told = rig.call(&people, Duration::from_secs(600), rng.bool()).await.unwrap();
        rig.check(&people, &told, seed);
        assert_eq!((told.termination, told.summary.pending), (None, 0), "seed {seed}");
        assert!(rig.world().messaged.values().all(|times| *times == 1), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_when_the_caller_leaves_is_called_back_at_once() {
    let limits = Limits { batch_max_items: 1, singles_window: 50, ..Rig::new(1).audience.parts.limits };
    let rig = Rig::with(1, limits, NonZeroU32::new(1));
    rig.world().harm = false;
    let people: Vec<_> = (0..200).map(|n| Some(format!("p{n}"))).collect();
    let call = rig.call(&people, Duration::from_secs(3_600), true);
    assert!(tokio::time::timeout(Duration::from_secs(20), call).await.is_err());
    // Fifty stand in the queue, of which one a second may go. Only what is on its way is waited for: three seconds.
    let left = Instant::now();
    rig.tracker.close();
    rig.tracker.wait().await;
    assert!(left.elapsed() <= Duration::from_secs(4), "{:?}", left.elapsed());
    assert!((5..30).contains(&rig.world().messaged.len()));
}
