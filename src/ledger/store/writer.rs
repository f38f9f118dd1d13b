//! The one thread that writes: it takes all that waits, and commits once.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Keep,
    disk::{Disk, Shared},
    lock,
};
use crate::{
    error::{Error, Reason},
    ledger::logic::{Answer, Command},
    telemetry::metrics,
};

/// Commands that wait at most; who brings one more waits to bring it.
const QUEUE: usize = 1_024;

/// Commands that are committed at once at most, so that none waits for very many others.
const GROUP: usize = 256;

/// While several callers write, commits begin no closer together than this. A commit costs about 0.2 ms of
/// processor time (two syncs and the tree's path), whatever it holds: so what comes within the time makes one
/// of it. Small beside what the upstream takes; and who writes alone never waits, as nobody would join.
const PACE: Duration = Duration::from_millis(4);

/// How long what needs no sync may go without one, and how often a failing disk is tried.
const REST: Duration = Duration::from_secs(1);

/// How often ingestions are looked for whose time is over, and how soon again while there are many.
const SWEEP: Duration = Duration::from_secs(60);
const SWEEP_ON: Duration = Duration::from_millis(100);

enum Job {
    Do(Command, oneshot::Sender<Result<Answer, Error>>),
    Close(oneshot::Sender<()>),
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    /// What came from where nobody can wait.
    later: Arc<Later>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A command for which nobody waits, and what must live until it is done.
type Unheard = (Command, Keep);

#[derive(Default)]
struct Later {
    commands: Mutex<Vec<Unheard>>,
    come: tokio::sync::Notify,
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

impl Writer {
    pub(super) fn start(disk: Disk) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let later = Arc::<Later>::default();
        let shared = Arc::clone(disk.shared());
        // Its own runtime, for nothing but to wait for a command or for the time.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let work = work(disk, queue, Arc::clone(&later));
        let thread =
            std::thread::Builder::new().name("ledger".into()).spawn(move || runtime.block_on(work))?;
        Ok(Self { jobs, later, shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) async fn run(&self, command: Command) -> Result<Answer, Error> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Do(command, answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    pub(super) fn run_later(&self, command: Command, keep: Keep) {
        // In memory until the writer comes to it, which it does before it sleeps: nothing of it is lost but with the
        // process, and then the batch is found in flight.
        lock(&self.later.commands).push((command, keep));
        self.later.come.notify_one();
    }

    pub(super) async fn close(&self) {
        let (closed, wait) = oneshot::channel();
        if self.jobs.send(Job::Close(closed)).await.is_ok() {
            let _ = wait.await;
        }
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // It has closed the file: what is left of it is its last instructions.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

fn gone() -> Error {
    Error::new(Reason::LedgerUnavailable, "the ledger is closed, so nothing is sent")
}

async fn work(mut disk: Disk, mut queue: mpsc::Receiver<Job>, later: Arc<Later>) {
    let mut next_sweep = Instant::now();
    let (mut next_commit, mut company) = (Instant::now(), false);
    let mut unheard: Vec<Unheard> = Vec::new();
    loop {
        let rest = disk.is_restless().then(|| Instant::now() + REST);
        let wake = rest.map_or(next_sweep, |rest| rest.min(next_sweep));
        let mut jobs = Vec::new();
        let mut closed = None;
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => jobs.push(job),
                // Nobody is left who could ask.
                None => break,
            },
            () = later.come.notified() => {}
            () = sleep_until(wake) => {}
        }
        if company && jobs.iter().all(|job| matches!(job, Job::Do(..))) {
            sleep_until(next_commit).await;
        }
        next_commit = Instant::now() + PACE;
        // A claim may be dropped while it still waits in the queue. So what was dropped is looked for first, and done
        // only when all that was in the queue by then is done.
        unheard.append(&mut lock(&later.commands));
        let drained = loop {
            match queue.try_recv() {
                Ok(job) => jobs.push(job),
                Err(_) => break true,
            }
            if jobs.len() >= GROUP {
                break false;
            }
        };

        company = jobs.len() > 1;
        let mut commands = Vec::with_capacity(jobs.len());
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::Do(command, answer) => {
                    commands.push(command);
                    answers.push(answer);
                }
                Job::Close(done) => closed = Some(done),
            }
        }
        let mut kept = Vec::new();
        if drained {
            for (command, keep) in unheard.drain(..) {
                commands.push(command);
                kept.push(keep);
            }
        }
        if commands.is_empty() {
            disk.settle_down();
        } else {
            let began = Instant::now();
            let done = disk.run(commands);
            metrics().ledger_commit(began.elapsed());
            for (answer, result) in answers.into_iter().zip(done) {
                // Who has gone away has left its claim behind, which says the rest.
                let _ = answer.send(result);
            }
        }
        drop(kept);
        if let Some(done) = closed {
            disk.close();
            let _ = done.send(());
            return;
        }
        if Instant::now() >= next_sweep {
            next_sweep = Instant::now() + if disk.sweep() { SWEEP_ON } else { SWEEP };
        }
    }
    disk.close();
}
