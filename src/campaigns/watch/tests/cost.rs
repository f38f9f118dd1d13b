//! What watching a large campaign costs, and how soon it tells. By default a tenth of the size, at a
//! tenth of the rate, for a quarter of an hour; `WATCH_COST=full cargo test --lib watch::tests::cost` runs all of it.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{Hub, WatchConfig},
    harness::{LATENCY, PATIENT, Updates, campaign, context, everything},
};
use crate::{
    campaigns::cache::{Cache, Limits},
    clock::Clock,
    model::WatchEvent,
    upstream::{Call, Client, Config, Evidence},
};

const WAY: [&str; 4] = ["PENDING", "QUEUED", "SENDING", "SENT"];
const SENT: usize = 3;

/// An upstream that writes only the page that it is asked for.
#[derive(Default)]
struct Large {
    /// The messages, newest first, each with how far it is.
    list: Vec<u32>,
    at: Vec<usize>,
    calls: usize,
}

impl Large {
    fn answer(&mut self, path: &str) -> String {
        self.calls += 1;
        let mut body = String::new();
        let Some((_, query)) = path.split_once("?limit=") else {
            let id = path.rsplit("/m").next().unwrap();
            self.write(&mut body, id.parse().unwrap());
            return body;
        };
        let (limit, offset) = query.split_once("&offset=").unwrap();
        let (limit, offset): (usize, usize) = (limit.parse().unwrap(), offset.parse().unwrap());
        write!(body, r#"{{"total":{},"items":["#, self.list.len()).unwrap();
        for (n, id) in self.list.iter().skip(offset).take(limit).enumerate() {
            body.push_str(if n > 0 { "," } else { "" });
            self.write(&mut body, *id);
        }
        body.push_str("]}");
        body
    }

    fn write(&self, body: &mut String, id: u32) {
        write!(body, r#"{{"id":"m{id}","status":"{}"}}"#, WAY[self.at[id as usize]]).unwrap();
    }
}

/// What came of a run.
#[derive(Debug)]
struct Figures {
    calls: usize,
    /// A sweep over all pages each two seconds would cost this.
    sweeps: usize,
    changes: usize,
    /// How long it took until a change was told, in poll intervals as they were when it came about, and in
    /// seconds: of a hundred changes the last but one.
    intervals: f64,
    seconds: f64,
}

/// A change that waits to be told: how far the message is, when it came there, and the pace at that time.
type Waiting = HashMap<u32, Vec<(usize, Instant, Duration)>>;

/// Watches a campaign of which one in a hundred is open: the newest, with new ones in front as others end,
/// or (`scattered`) such as lie all over the list.
async fn run(scattered: bool) -> Figures {
    let is_full = std::env::var("WATCH_COST").is_ok_and(|size| size == "full");
    let (count, poll_rate, length) = if is_full { (100_000_u32, 40, 3_600) } else { (10_000, 4, 900) };
    let mut random = fastrand::Rng::with_seed(7);
    let is_open = |n: u32| if scattered { n % 100 == n / 100 % 100 } else { n < count / 100 };
    let at = (0..count).map(|n| if is_open(n) { random.usize(..SENT) } else { SENT }).collect();
    let large = Arc::new(Mutex::new(Large { list: (0..count).collect(), at, calls: 0 }));
    let hub = hub(Arc::clone(&large), poll_rate);
    let mut watch = hub.watch(context(1), campaign(), everything(), None).boxed();
    read(&mut watch, Instant::now() + Duration::from_secs(60), &mut HashMap::new(), &mut Vec::new()).await;
    let mut open: Vec<u32> = (0..count).filter(|n| is_open(*n)).collect();
    let (mut waiting, mut told, mut changes) = (HashMap::new(), Vec::new(), 0);
    let begin = Instant::now();
    large.lock().unwrap().calls = 0;
    // About as many changes as there are steps in the lives of those that are open.
    let every = Duration::from_secs_f64(f64::from(length) / f64::from(count / 50));
    while begin.elapsed() < Duration::from_secs(u64::from(length)) {
        let interval = hub.0.feeds().get(&(context(1).workspace.id, campaign())).unwrap().health().interval;
        if !open.is_empty() {
            let mut large = large.lock().unwrap();
            let which = random.usize(..open.len());
            let id = open[which];
            large.at[id as usize] += 1;
            let now = large.at[id as usize];
            waiting.entry(id).or_insert_with(Vec::new).push((now, Instant::now(), interval));
            changes += 1;
            if now == SENT {
                open.swap_remove(which);
                if !scattered {
                    let new = large.at.len() as u32;
                    large.at.push(0);
                    large.list.insert(0, new);
                    waiting.entry(new).or_insert_with(Vec::new).push((0, Instant::now(), interval));
                    open.push(new);
                    changes += 1;
                }
            }
        }
        read(&mut watch, Instant::now() + every, &mut waiting, &mut told).await;
    }
    let calls = large.lock().unwrap().calls;
    read(&mut watch, Instant::now() + Duration::from_secs(120), &mut waiting, &mut told).await;
    assert!(waiting.is_empty(), "never told: {waiting:?}");
    assert_eq!(told.len(), changes);
    let mut at_99 = |of: fn(&(Duration, Duration)) -> f64| {
        told.sort_unstable_by(|a, b| of(a).total_cmp(&of(b)));
        of(&told[told.len() * 99 / 100])
    };
    let intervals = at_99(|(took, interval)| took.as_secs_f64() / interval.as_secs_f64());
    let seconds = at_99(|(took, _)| took.as_secs_f64());
    let sweeps = (count / 100 * length / 2) as usize;
    Figures { calls, sweeps, changes, intervals, seconds }
}

fn hub(large: Arc<Mutex<Large>>, poll_rate: u32) -> Hub {
    let clock = Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap());
    let transport = tower::service_fn(move |call: Call| {
        let large = Arc::clone(&large);
        async move {
            tokio::time::sleep(LATENCY).await;
            let body = large.lock().unwrap().answer(&call.request.uri().to_string());
            Ok::<_, Infallible>(Evidence::answered(200.try_into().unwrap(), body))
        }
    });
    let client =
        Client::with_transport(transport, &Config::new("http://127.0.0.1:1/campaigns").unwrap(), clock);
    let config = WatchConfig { poll_rate, reader_patience: PATIENT, ..WatchConfig::default() };
    let cache = Cache::new(Limits::default());
    Hub::new(client, cache, config, clock, TaskTracker::new(), CancellationToken::new())
}

/// Reads until then, and notes what was told of those that wait.
async fn read(
    watch: &mut Updates,
    until: Instant,
    waiting: &mut Waiting,
    told: &mut Vec<(Duration, Duration)>,
) {
    while let Ok(update) = tokio::time::timeout_at(until, watch.next()).await {
        let WatchEvent::Changes(changes) = update.unwrap().unwrap().event else { continue };
        for change in changes {
            let id = change.message.id.as_str()[1..].parse().unwrap();
            let Some(steps) = waiting.get_mut(&id) else { continue };
            let now = WAY.iter().position(|word| *word == change.message.upstream_status).unwrap();
            for (_, since, interval) in steps.extract_if(.., |(step, ..)| *step <= now) {
                told.push((since.elapsed(), interval));
            }
            if steps.is_empty() {
                waiting.remove(&id);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_campaign_costs_a_tenth_of_sweeping_it_and_changes_are_told_within_two_intervals() {
    for scattered in [false, true] {
        let figures = run(scattered).await;
        println!("scattered: {scattered}: {figures:?}");
        assert!(figures.changes > 150, "{figures:?}");
        assert!(figures.calls * 10 <= figures.sweeps, "{figures:?}");
        assert!(figures.intervals <= 2.0, "{figures:?}");
        assert!(figures.seconds <= 60.0, "{figures:?}");
    }
}
