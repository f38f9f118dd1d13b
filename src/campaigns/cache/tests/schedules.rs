//! Random schedules of reads, polls, adds and cancellations on virtual time: after a cancellation's answer no
//! read that begins later is told the old status, and no answer is older than its reader allowed.
//!
//! `SEEDS=100000 cargo test --lib cache::tests::schedules` runs as many; a failure names its seed.

use fastrand::Rng;
use futures_util::future::join_all;

use super::*;

/// How many schedules, unless `SEEDS` says.
const SEEDS: u64 = 2_000;

struct World {
    cache: Cache,
    upstream: Upstream,
    /// When the cancellation had been answered.
    answered: Mutex<Option<Instant>>,
}

async fn pause(rng: &mut Rng) {
    sleep(Duration::from_micros(rng.u64(..30_000))).await;
}

async fn reader(world: &World, mut rng: Rng) {
    for _ in 0..rng.usize(1..6) {
        pause(&mut rng).await;
        let allowed = [None, seconds(0), seconds(1), seconds(600), Some(Duration::from_millis(3))];
        let allowed = allowed[rng.usize(..allowed.len())];
        let asked = Instant::now();
        let is_after = world.answered.lock().unwrap().is_some();
        let now = world.upstream.0.clock.now();
        let (status, observed) = observe(&world.cache, &world.upstream, allowed).await.unwrap();
        assert!(!is_after || status == Status::Cancelled, "the old status, asked for at {asked:?}");
        let age = (now - observed).to_std().unwrap_or_default();
        assert!(age <= allowed.unwrap_or(Duration::from_secs(3_600)), "{age:?} old, {allowed:?} allowed");
    }
}

async fn poller(world: &World, mut rng: Rng) {
    for _ in 0..rng.usize(..6) {
        pause(&mut rng).await;
        let start = world.cache.start();
        let seen = world.upstream.get().await.unwrap();
        world.cache.saw(context(1).workspace.id, &campaign(), start, seen.began, [Arc::new(seen.value)]);
    }
}

async fn canceller(world: &World, mut rng: Rng) {
    pause(&mut rng).await;
    // On its way, applied, on its way back.
    sleep(Duration::from_micros(rng.u64(..10_000))).await;
    world.upstream.set(Status::Cancelled);
    sleep(Duration::from_micros(rng.u64(..10_000))).await;
    world.cache.cancelled(context(1).workspace.id, &campaign(), &id("m"));
    *world.answered.lock().unwrap() = Some(Instant::now());
}

async fn adder(world: &World, mut rng: Rng) {
    for _ in 0..rng.usize(..4) {
        pause(&mut rng).await;
        world.cache.added(context(1).workspace.id, &campaign());
    }
}

async fn latency(world: &World, mut rng: Rng) {
    for _ in 0..4 {
        world.upstream.latency(Duration::from_micros(rng.u64(..40_000)));
        pause(&mut rng).await;
    }
}

fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        // A small store forgets now and then.
        let limits = Limits { max_bytes: if rng.bool() { 64 << 20 } else { 700 }, ..Limits::default() };
        let cache = Cache::new(limits);
        let world = World { cache, upstream: Upstream::new(Status::Queued), answered: Mutex::new(None) };
        let readers = join_all((0..rng.usize(1..5)).map(|_| rng.fork()).map(|rng| reader(&world, rng)));
        let (a, b, c, d) = (rng.fork(), rng.fork(), rng.fork(), rng.fork());
        let (poller, canceller) = (poller(&world, a), canceller(&world, b));
        tokio::join!(readers, poller, canceller, adder(&world, c), latency(&world, d));
        assert_eq!(read(&world.cache, &world.upstream, seconds(600)).await.unwrap(), Status::Cancelled);
    });
}

#[test]
fn whatever_the_schedule_a_cancelled_message_is_never_read_as_it_was() {
    let seeds = std::env::var("SEEDS").ok().map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let told = std::panic::catch_unwind(|| run(seed));
        assert!(told.is_ok(), "seed {seed} failed: see above");
    }
}
