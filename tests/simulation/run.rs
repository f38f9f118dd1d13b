//! One seed, from its first event to its last.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::sync::watch;
use turmoil::{Builder, Sim};

use crate::{
    caller::Caller,
    disk::Survivors,
    import::Import,
    model::Model,
    scenario::{Scenario, Strike, What},
    service::{Service, settings},
    storage::{Storage, secret},
    world::World,
};

/// A host's clock moves in steps of this.
const TICK: Duration = Duration::from_millis(10);
/// No run takes longer, or something waits for what never comes.
const LONGEST: Duration = Duration::from_secs(1_200);

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) faults: Vec<String>,
    pub(crate) met: BTreeMap<&'static str, u64>,
    pub(crate) events: Vec<String>,
    pub(crate) digest: u64,
}

pub(crate) fn run(seed: u64) -> Outcome {
    // Made once, and not without chance.
    secret();
    // Jitter comes from here; without a seed no run would be like another.
    fastrand::seed(seed);
    let scenario = Scenario::of(seed);
    let world = World::default();
    let latency = scenario.latency;
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(LONGEST)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(latency)
        .tcp_capacity(4096)
        .build();

    let model = Model::new(world.clone(), scenario.modes, seed);
    sim.host("upstream", move || model.clone().serve());
    let (drain, drains) = watch::channel(0);
    let config = settings(&scenario.flags);
    let storage = Storage::new(world.clone());
    let service = Service { world: world.clone(), config, storage: storage.clone(), drains };
    service.install();
    sim.host("service", move || service.clone().serve());
    let imports: Vec<Arc<Import>> = scenario.imports.into_iter().map(Arc::new).collect();
    let mut callers = 0;
    for (import, twins) in imports.iter().zip(scenario.twins) {
        for _ in 0..twins {
            callers += 1;
            let seed = seed.wrapping_mul(31).wrapping_add(callers);
            let caller = Caller::new(world.clone(), Arc::clone(import), twins > 1, seed);
            sim.client(format!("caller-{callers}"), caller.live());
        }
    }
    if let Some((point, nth)) = scenario.crash {
        world.plan_crash(point, nth);
    }

    let mut fate = Fate {
        world: world.clone(),
        strikes: scenario.strikes.into_iter().map(|strike| (strike, false)).collect(),
        callers,
        drain,
        storage,
        rng: Rng::with_seed(seed),
        down_until: None,
    };
    loop {
        match sim.step() {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => {
                world.fault(format!("the simulation ended: {error}"));
                break;
            }
        }
        let all_settled = imports.iter().all(|import| import.book.lock().unwrap().is_settled());
        if !world.is_calm() && (sim.elapsed() >= scenario.calm_after || all_settled) {
            fate.end_all(&mut sim);
            world.calm();
        }
        fate.step(&mut sim);
    }
    world.event(|| format!("the end, after {} messages", world.truth.count()));
    for twice in world.truth.twice() {
        world.fault(twice);
    }
    Outcome { faults: world.faults(), met: world.met(), events: world.events(), digest: world.digest() }
}

/// What befalls the hosts and the network, in its time.
struct Fate {
    world: World,
    /// Whether each is under way.
    strikes: Vec<(Strike, bool)>,
    callers: u64,
    drain: watch::Sender<u32>,
    storage: Storage,
    rng: Rng,
    /// When the service gets its power back.
    down_until: Option<Duration>,
}

impl Fate {
    fn step(&mut self, sim: &mut Sim<'_>) {
        let now = sim.elapsed();
        if self.world.is_off() && self.down_until.is_none() {
            self.world.event(|| format!("{} the service crashes", now.as_millis()));
            sim.crash("service");
            self.world.disturb();
            self.storage.cut(match self.rng.u8(0..4) {
                0 => Survivors::Nothing,
                1 => Survivors::Everything,
                _ => Survivors::Some(self.rng.u64(..)),
            });
            self.down_until = Some(now + Duration::from_millis(self.rng.u64(0..1_500)));
        }
        if self.down_until.is_some_and(|until| until <= now) {
            self.down_until = None;
            sim.bounce("service");
        }
        // A drain is over when the last call is.
        if self.down_until.is_none() && !sim.is_host_running("service") {
            sim.bounce("service");
        }
        if self.world.is_calm() {
            return;
        }
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for (strike, is_on) in &mut self.strikes {
            if !*is_on && (strike.at..strike.at + strike.lasts).contains(&now) {
                *is_on = true;
                begin.push(strike.what);
            } else if *is_on && strike.at + strike.lasts <= now {
                *is_on = false;
                end.push(strike.what);
            }
        }
        begin.into_iter().for_each(|what| self.begin(sim, what));
        end.into_iter().for_each(|what| self.end(sim, what));
    }

    fn end_all(&mut self, sim: &mut Sim<'_>) {
        let on: Vec<_> =
            self.strikes.iter().filter(|(_, is_on)| *is_on).map(|(strike, _)| strike.what).collect();
        on.into_iter().for_each(|what| self.end(sim, what));
    }

    fn begin(&mut self, sim: &mut Sim<'_>, what: What) {
        self.world.event(|| format!("{} {what:?}", sim.elapsed().as_millis()));
        if matches!(what, What::DiskFull | What::DiskReadOnly | What::DiskStumbles) {
            self.world.disturb();
        }
        match what {
            What::NoRoadUp => sim.partition("service", "upstream"),
            What::SlowRoadUp => sim.hold("service", "upstream"),
            What::NoRoadDown => self.each_caller(|caller| sim.partition("service", caller)),
            What::UpstreamDown => sim.crash("upstream"),
            What::ServiceDown => self.world.power_off(),
            What::DiskFull => self.storage.set_full(true),
            What::DiskReadOnly => self.storage.set_read_only(true),
            What::DiskStumbles => self.storage.stumble(&mut self.rng),
            What::Drain => self.drain.send_modify(|count| *count += 1),
        }
    }

    fn end(&self, sim: &mut Sim<'_>, what: What) {
        match what {
            What::NoRoadUp => sim.repair("service", "upstream"),
            What::SlowRoadUp => sim.release("service", "upstream"),
            What::NoRoadDown => self.each_caller(|caller| sim.repair("service", caller)),
            What::UpstreamDown => sim.bounce("upstream"),
            What::DiskFull => self.storage.set_full(false),
            What::DiskReadOnly => self.storage.set_read_only(false),
            What::ServiceDown | What::DiskStumbles | What::Drain => {}
        }
    }

    fn each_caller(&self, mut with: impl FnMut(String)) {
        (1..=self.callers).for_each(|n| with(format!("caller-{n}")));
    }
}
