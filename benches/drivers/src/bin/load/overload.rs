//! Twice what the service can answer, from callers who do not wait for one another.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use drivers::{Fault, micros, service::Service};
use h2::client::SendRequest;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    calls::{Ask, End, call, connect},
    tally::{Counts, Tally},
    upstream::Upstream,
};

/// What a caller waits.
const DEADLINE: Duration = Duration::from_secs(1);

/// The marks: performance in the words.
const GOODPUT: f64 = 0.8;
const RECOVERY: Duration = Duration::from_secs(30);
const RSS: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command that starts the service, pinned to one core: `taskset -c 0 target/release/blubash-grpc serve ...`
    #[arg(long, value_name = "COMMAND")]
    ours: String,
    /// How long the overload lasts, in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// How long the peak, and the calm before, are measured, in seconds
    #[arg(long, default_value_t = 10)]
    calm: u64,
    /// How many times its peak is offered
    #[arg(long, default_value_t = 2.0)]
    times: f64,
    /// Connections
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

/// The road to the service: its connections, and what is asked on them.
struct Road {
    addr: SocketAddr,
    connections: Vec<Connection>,
    asks: Vec<Ask>,
    tally: Tally,
}

/// A connection that is made anew where it has ended, as a channel of a gRPC library is.
struct Connection {
    sender: Mutex<SendRequest<Bytes>>,
    is_connecting: AtomicBool,
}

impl Road {
    async fn call(&self, n: usize) {
        let began = micros();
        let connection = &self.connections[n % self.connections.len()];
        let sender = connection.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = call(&sender, &self.asks[n % self.asks.len()], DEADLINE).await;
        self.tally.ended(end, micros() - began);
        if matches!(end, End::NotTaken | End::Cut) && !connection.is_connecting.swap(true, Relaxed) {
            if let Ok(sender) = connect(self.addr).await {
                *connection.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
            }
            connection.is_connecting.store(false, Relaxed);
        }
    }
}

pub async fn run(args: Args) -> Result<bool, Fault> {
    let upstream = Upstream::start(Duration::ZERO).await?;
    let service = Service::start(&args.ours, upstream.addr).await?;
    let mut connections = Vec::new();
    for _ in 0..args.connections {
        let sender = Mutex::new(connect(service.addr).await?);
        connections.push(Connection { sender, is_connecting: AtomicBool::new(false) });
    }
    const KEY: &str = "load-key";
    // Seven pages, two messages and an add of ten in ten calls.
    let (list, get, add) = (Ask::list(KEY)?, Ask::get(KEY)?, Ask::add(KEY)?);
    let asks = [&list, &list, &get, &list, &add, &list, &list, &get, &list, &list].map(Clone::clone).to_vec();
    let road = Arc::new(Road { addr: service.addr, connections, asks, tally: Tally::default() });

    eprintln!("closed loop, 64 callers, {} s", args.calm);
    closed(&road, 64, Duration::from_secs(2)).await;
    road.tally.take();
    let peak = closed(&road, 64, Duration::from_secs(args.calm)).await;
    let peak_rate = peak.ok() as f64 / args.calm as f64;
    println!("peak: {peak_rate:.0} calls/s, p99 {:.1} ms ({peak})", peak.quantile(0.99));

    let half = peak_rate / 2.0;
    let calm = open(&road, half, Duration::from_secs(args.calm)).await;
    println!("calm, {half:.0} calls/s: p99 {:.1} ms ({calm})", calm.quantile(0.99));
    let idle_rss = service.rss()?;

    let offered = peak_rate * args.times;
    eprintln!("open loop, {offered:.0} calls/s, {} s", args.seconds);
    let cpu = service.cpu()?;
    let began = Instant::now();
    let over = open(&road, offered, Duration::from_secs(args.seconds)).await;
    let busy = (service.cpu()? - cpu) / began.elapsed().as_secs_f64();
    let goodput = over.ok() as f64 / args.seconds as f64;
    println!(
        "overload: offered {:.0}/s, good {goodput:.0}/s = {:.0} % of peak, p99 of the good {:.0} ms, CPU {:.0} % ({over})",
        over.all() as f64 / args.seconds as f64,
        goodput / peak_rate * 100.0,
        over.quantile(0.99),
        busy * 100.0
    );

    let recovered = recovery(&road, half, calm.quantile(0.99)).await;
    let rss = service.peak_rss()?;
    println!("RSS: {} MiB in the calm, {} MiB at its highest", idle_rss >> 20, rss >> 20);
    match recovered {
        Some(after) => println!("recovered after {} s", after.as_secs()),
        None => println!("not recovered after {} s", RECOVERY.as_secs()),
    }
    let held = goodput >= GOODPUT * peak_rate && recovered.is_some() && rss < RSS;
    println!("{}", if held { "the marks are met" } else { "a mark is MISSED" });
    service.kill().await?;
    Ok(over.ends.keys().all(|end| *end != End::Cut))
}

/// So many callers, each with a call at a time.
async fn closed(road: &Arc<Road>, callers: usize, lasting: Duration) -> Counts {
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (road, over) = (Arc::clone(road), Arc::clone(&over));
            tokio::spawn(async move {
                let mut n = caller;
                while !over.load(Relaxed) {
                    road.call(n).await;
                    n += 1;
                }
            })
        })
        .collect();
    sleep(lasting).await;
    over.store(true, Relaxed);
    let counts = road.tally.take();
    for caller in callers {
        let _ = caller.await;
    }
    road.tally.take();
    counts
}

/// So many calls a second, whatever becomes of those before. What has not ended a deadline after the last one began
/// is late.
async fn open(road: &Arc<Road>, rate: f64, lasting: Duration) -> Counts {
    offer(road, rate, lasting).await;
    sleep(DEADLINE + Duration::from_millis(100)).await;
    road.tally.take()
}

async fn offer(road: &Arc<Road>, rate: f64, lasting: Duration) {
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut made = 0;
    while began.elapsed() < lasting {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        for n in made..due {
            let road = Arc::clone(road);
            tokio::spawn(async move { road.call(n).await });
        }
        made = made.max(due);
    }
}

/// How long until a second is as it was in the calm: all calls good, at most twice its p99.
async fn recovery(road: &Arc<Road>, rate: f64, p99: f64) -> Option<Duration> {
    let began = Instant::now();
    road.tally.take();
    while began.elapsed() < RECOVERY {
        offer(road, rate, Duration::from_secs(1)).await;
        let second = road.tally.take();
        eprintln!("after {} s: p99 {:.1} ms ({second})", began.elapsed().as_secs(), second.quantile(0.99));
        if second.ok() == second.all() && second.quantile(0.99) <= 2.0 * p99.max(5.0) {
            return Some(began.elapsed());
        }
    }
    None
}
