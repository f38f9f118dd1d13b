//! One workspace that asks a hundred times as much as each of the others.

use std::{sync::Arc, time::Duration};

use drivers::{Fault, micros, service::Service};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    calls::{Ask, End, call, connect},
    tally::{Counts, Tally},
    upstream::Upstream,
};

const DEADLINE: Duration = Duration::from_secs(5);

/// The mark: how much worse the others' p99 may be.
const WORSE: f64 = 2.0;

const HONEST: [&str; 10] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9"];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command that starts the service
    #[arg(long, value_name = "COMMAND")]
    ours: String,
    /// Calls a second of each of ten honest workspaces
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// How many times that the noisy one makes
    #[arg(long, default_value_t = 100.0)]
    times: f64,
    /// How long each part lasts, in seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How long the upstream takes to answer, in milliseconds
    #[arg(long, default_value_t = 20)]
    upstream_ms: u64,
    /// How often alone and beside are measured, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub async fn run(args: Args) -> Result<bool, Fault> {
    let upstream = Upstream::start(Duration::from_millis(args.upstream_ms)).await?;
    let service = Service::start(&args.ours, upstream.addr).await?;
    let lasting = Duration::from_secs(args.seconds);
    let (mut alone, mut beside, mut cut) = (Vec::new(), Vec::new(), false);
    for _ in 0..args.rounds {
        let quiet = honest(&service, args.rate, lasting).await?;
        println!("alone:  p50 {:.1} ms, p99 {:.1} ms ({quiet})", quiet.quantile(0.5), quiet.quantile(0.99));
        let noise = tokio::spawn(load(service.addr, "noisy", args.rate * args.times, lasting));
        // Until it is in full swing.
        sleep(Duration::from_secs(1)).await;
        let others = honest(&service, args.rate, lasting - Duration::from_secs(2)).await?;
        let noise = noise.await??;
        println!(
            "beside: p50 {:.1} ms, p99 {:.1} ms ({others})",
            others.quantile(0.5),
            others.quantile(0.99)
        );
        println!("        the noisy one: p99 {:.1} ms ({noise})", noise.quantile(0.99));
        cut |= [&quiet, &others, &noise].iter().any(|counts| counts.ends.contains_key(&End::Cut));
        alone.push(quiet.quantile(0.99));
        beside.push(others.quantile(0.99));
    }
    let ratio = median(&mut beside) / median(&mut alone);
    println!("the others' p99, beside over alone, medians of {} rounds: {ratio:.2}x", args.rounds);
    println!("{}", if ratio < WORSE { "the mark is met" } else { "the mark is MISSED" });
    service.kill().await?;
    Ok(!cut)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn honest(service: &Service, rate: f64, lasting: Duration) -> Result<Counts, Fault> {
    let mut loads = JoinSet::new();
    for key in HONEST {
        loads.spawn(load(service.addr, key, rate, lasting));
    }
    let mut all = Counts::default();
    while let Some(counts) = loads.join_next().await {
        all.add(counts??);
    }
    Ok(all)
}

/// So many calls a second of one workspace, on a connection of its own.
async fn load(
    addr: std::net::SocketAddr,
    key: &'static str,
    rate: f64,
    lasting: Duration,
) -> Result<Counts, Fault> {
    let (sender, ask, tally) = (connect(addr).await?, Ask::get(key)?, Arc::new(Tally::default()));
    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut made = 0;
    while began.elapsed() < lasting {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate) as usize;
        for _ in made..due {
            let (sender, ask, tally) = (sender.clone(), ask.clone(), Arc::clone(&tally));
            tokio::spawn(async move {
                let began = micros();
                let end = call(&sender, &ask, DEADLINE).await;
                tally.ended(end, micros() - began);
            });
        }
        made = made.max(due);
    }
    sleep(Duration::from_millis(500)).await;
    Ok(tally.take())
}
