//! Every order of the fence's steps, as far as a scheduler that tries them finds: the very source, built
//! upon primitives that it controls.

use std::collections::HashMap;

use shuttle::{
    sync::{Arc, Mutex},
    thread,
};

use self::fence::Fences;

#[path = "../fence.rs"]
// Built twice on purpose, upon other primitives.
#[allow(dead_code, clippy::duplicate_mod)]
mod fence;

/// What `fence` is built upon here.
mod sync {
    pub(super) use shuttle::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    };
}

/// An upstream whose message is cancelled while two read it, and a cache for it.
struct World {
    fences: Fences,
    is_cancelled: Mutex<bool>,
    kept: Mutex<HashMap<&'static str, bool>>,
}

impl World {
    fn read(&self) {
        let stamp = self.fences.stamp();
        let seen = *self.is_cancelled.lock().unwrap();
        self.fences.fill(&"m", stamp, || {
            self.kept.lock().unwrap().insert("m", seen);
        });
    }

    fn cancel(&self) {
        *self.is_cancelled.lock().unwrap() = true;
        self.fences.wrote(&"m", || {
            self.kept.lock().unwrap().remove("m");
        });
        let kept = self.kept.lock().unwrap().get("m").copied();
        assert!(kept != Some(false), "the old status was served after the cancellation's answer");
    }
}

#[test]
fn in_no_order_of_steps_does_a_read_bring_back_what_a_cancellation_ended() {
    let scenario = || {
        let world = Arc::new(World {
            fences: Fences::with_stripes(1),
            is_cancelled: Mutex::new(false),
            kept: Mutex::new(HashMap::new()),
        });
        let threads: Vec<_> = (0..3)
            .map(|n| {
                let world = Arc::clone(&world);
                thread::spawn(move || if n == 0 { world.cancel() } else { world.read() })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(world.kept.lock().unwrap().get("m") != Some(&false), "it stayed");
    };
    shuttle::check_random(scenario, 2_000);
    shuttle::check_pct(scenario, 2_000, 3);
}
