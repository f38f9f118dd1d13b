//! What a seed decides before a run begins.

use std::time::Duration;

use fastrand::Rng;

use crate::{coverage::CrashPoint, import::Import, model::Modes};

pub(crate) struct Scenario {
    pub(crate) modes: Modes,
    /// What `serve` is told; never more of the upstream than is true.
    pub(crate) flags: Vec<&'static str>,
    pub(crate) imports: Vec<Import>,
    /// How many callers bring each import at once.
    pub(crate) twins: Vec<usize>,
    pub(crate) latency: Duration,
    pub(crate) strikes: Vec<Strike>,
    pub(crate) crash: Option<(CrashPoint, u32)>,
    /// From then on nothing fails any more, so that everything can come to its end.
    pub(crate) calm_after: Duration,
}

/// Something that befalls the hosts or the network for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strike {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The service and the upstream lose what they send each other.
    NoRoadUp,
    /// What they send each other comes later, in order.
    SlowRoadUp,
    /// The callers and the service lose what they send each other.
    NoRoadDown,
    UpstreamDown,
    ServiceDown,
    DiskFull,
    DiskReadOnly,
    /// One of its next operations fails, and the others do not.
    DiskStumbles,
    /// The service is told to go, and ends in order.
    Drain,
}

impl Scenario {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let modes = Modes {
            atomic: rng.u8(0..3) == 0,
            honours_keys: rng.u8(0..3) == 0,
            harm: *rng.choice(&[0, 20, 50, 80]).unwrap(),
            works: Duration::from_millis(*rng.choice(&[0, 30, 300]).unwrap()),
        };
        let mut flags = Vec::new();
        if modes.atomic && rng.u8(0..4) > 0 {
            flags.push("--upstream-batches=atomic");
        }
        if modes.honours_keys && rng.u8(0..4) > 0 {
            flags.push("--upstream-idempotency=proven");
        }
        let imports = Import::some(&mut rng);
        let twins = imports.iter().map(|_| if rng.u8(0..4) == 0 { 2 } else { 1 }).collect();
        let strikes = (0..rng.usize(0..4)).map(|_| Strike::by_chance(&mut rng)).collect();
        let crash = (rng.u8(0..3) > 0)
            .then(|| (*rng.choice(&CrashPoint::ALL).unwrap(), *rng.choice(&[1, 1, 2, 4]).unwrap()));
        Self {
            modes,
            flags,
            imports,
            twins,
            latency: Duration::from_millis(*rng.choice(&[2, 10, 60]).unwrap()),
            strikes,
            crash,
            calm_after: Duration::from_millis(rng.u64(2_000..8_000)),
        }
    }
}

impl Strike {
    fn by_chance(rng: &mut Rng) -> Self {
        let all = [
            What::NoRoadUp,
            What::SlowRoadUp,
            What::NoRoadDown,
            What::UpstreamDown,
            What::ServiceDown,
            What::DiskFull,
            What::DiskReadOnly,
            What::DiskStumbles,
            What::DiskStumbles,
            What::Drain,
        ];
        Self {
            at: Duration::from_millis(rng.u64(0..4_000)),
            lasts: Duration::from_millis(rng.u64(50..3_000)),
            what: *rng.choice(&all).unwrap(),
        }
    }
}
