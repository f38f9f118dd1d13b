//! One measurement: a fresh service, its watchers, and what they are told.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::transport::{Channel, Endpoint};

use drivers::{
    Fault, micros,
    service::{self, Service},
};

use crate::{
    Args,
    board::{Board, Telling},
    upstream::{Campaign, Kind, Upstream},
    watcher::watch,
};

/// The service lets a connection have 1,000 streams.
const WATCHERS_A_CONNECTION: u32 = 900;

/// How often it is looked whether all have been told. What counts is the time that they noted.
const LOOK: Duration = Duration::from_millis(2);

/// Figures of one number of watchers. Memory is in bytes, CPU in seconds, all other times in microseconds.
#[derive(Serialize)]
pub struct Figures {
    pub watchers: u32,
    pub connections: u32,
    pub messages: u32,
    pub poll_interval: u64,
    /// From the first watch opened behind the first watcher until all had read their snapshot.
    pub snapshots_took: u64,
    pub rss_one: u64,
    /// As soon as all had read their snapshot.
    pub rss_read: u64,
    /// A window later.
    pub rss_later: u64,
    pub rss_peak: u64,
    /// The driver's own, with its upstream.
    pub rss_driver: u64,
    pub with_one: Window,
    pub with_all: Window,
    pub singles: Vec<Round>,
    pub all: Round,
}

/// What was asked of the upstream in a window that begins with a sweep, while nothing changed.
#[derive(Serialize)]
pub struct Window {
    pub sweeps: usize,
    pub pages: usize,
    pub gets: usize,
    pub cpu: f64,
}

/// A change, until the first and until the last watcher had been told.
#[derive(Serialize)]
pub struct Round {
    /// Since the change.
    pub first: u64,
    pub last: u64,
    /// Since the upstream had first shown the whole change: what is left is the service's (and the driver's) part.
    pub first_since_shown: i64,
    pub last_since_shown: i64,
    pub cpu: f64,
}

impl Figures {
    /// What a watcher takes, in bytes, of what all but the first took together.
    pub fn bytes_a_watcher(&self) -> Option<f64> {
        let others = self.watchers.checked_sub(1).filter(|others| *others > 0)?;
        Some((self.rss_read as f64 - self.rss_one as f64) / f64::from(others))
    }
}

impl Window {
    pub fn calls(&self) -> usize {
        self.pages + self.gets
    }
}

/// Measures so many watchers.
///
/// # Errors
/// Where a check failed, or a step took too long.
pub async fn measure(args: &Args, watchers: u32) -> Result<Figures, Fault> {
    let upstream = Upstream::start(args.messages as usize).await?;
    let service = Service::start(&args.ours, upstream.addr).await?;
    let board = Arc::new(Board::new(args.messages as usize));
    let run = Run { args, watchers, campaign: &upstream.campaign, service: &service, board: &board };
    let figures = run.measure().await;
    let wrongs = board.wrongs();
    let last_words = service.last_words();
    service.kill().await?;
    let say = |fault: Fault| format!("{fault}; the service's last words:\n    {last_words}").into();
    match figures {
        _ if !wrongs.is_empty() => Err(say(wrongs.join("\n    ").into())),
        figures => figures.map_err(say),
    }
}

struct Run<'a> {
    args: &'a Args,
    watchers: u32,
    campaign: &'a Campaign,
    service: &'a Service,
    board: &'a Arc<Board>,
}

impl Run<'_> {
    async fn measure(&self) -> Result<Figures, Fault> {
        let connections = self.watchers.div_ceil(WATCHERS_A_CONNECTION);
        let mut channels = Vec::new();
        for _ in 0..connections {
            channels.push(Endpoint::from_shared(format!("http://{}", self.service.addr))?.connect().await?);
        }
        // Dropped at the end, and all watches with it.
        let mut watches = JoinSet::new();
        let gate = Arc::new(Semaphore::new(self.args.at_once as usize));

        // A heartbeat a second, for the pace that it tells.
        self.open(&mut watches, &channels[0], Some(Duration::from_secs(1)), &gate);
        self.until("the first snapshot", || self.board.snapshots.count() == 1).await?;
        self.until("a heartbeat", || self.board.poll_interval.load(SeqCst) > 0).await?;
        let with_one = self.window().await?;
        let rss_one = self.service.rss()?;
        self.say(&format!("one watches: {} upstream calls, RSS {} KiB", with_one.calls(), rss_one >> 10));

        let opened = micros();
        for watcher in 1..self.watchers {
            let channel = &channels[(watcher / WATCHERS_A_CONNECTION) as usize];
            self.open(&mut watches, channel, None, &gate);
        }
        self.until("all snapshots", || self.board.snapshots.count() == self.watchers as usize).await?;
        let rss_read = self.service.rss()?;
        let snapshots_took = self.board.snapshots.last().saturating_sub(opened);
        self.say(&format!(
            "all have read their snapshot after {snapshots_took} us, RSS {} KiB",
            rss_read >> 10
        ));
        let with_all = self.window().await?;
        let rss_later = self.service.rss()?;
        self.say(&format!("all watch: {} upstream calls, RSS {} KiB", with_all.calls(), rss_later >> 10));

        let mut singles = Vec::new();
        for round in 0..self.args.changes {
            sleep(self.phase(round)).await;
            singles.push(self.single(round).await?);
        }
        self.say(&format!("all were told of {} changes", singles.len()));
        let all = self.all().await?;
        self.say("all were told of the change of all messages");
        self.nothing_more().await?;
        self.compare(&with_one, &with_all)?;
        Ok(Figures {
            watchers: self.watchers,
            connections,
            messages: self.args.messages,
            poll_interval: self.board.poll_interval.load(SeqCst),
            snapshots_took,
            rss_one,
            rss_read,
            rss_later,
            rss_peak: self.service.peak_rss()?,
            rss_driver: service::own_rss()?,
            with_one,
            with_all,
            singles,
            all,
        })
    }

    fn say(&self, what: &str) {
        eprintln!("{} watchers: {what}", self.watchers);
    }

    fn open(
        &self,
        watches: &mut JoinSet<()>,
        channel: &Channel,
        heartbeat: Option<Duration>,
        gate: &Arc<Semaphore>,
    ) {
        let (channel, board, gate) = (channel.clone(), Arc::clone(self.board), Arc::clone(gate));
        let messages = self.args.messages as usize;
        watches.spawn(async move { watch(channel, &board, messages, heartbeat, &gate).await });
    }

    /// Waits until it is so; in vain where something is wrong, or for too long.
    async fn until(&self, what: &str, is_so: impl Fn() -> bool) -> Result<(), Fault> {
        let began = Instant::now();
        while !is_so() {
            if self.board.is_wrong() {
                return Err(format!("while waiting for {what}").into());
            }
            if began.elapsed() > self.args.timeout() {
                return Err(format!("{what}: not within {:?}", self.args.timeout()).into());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    fn poll_interval(&self) -> Duration {
        Duration::from_micros(self.board.poll_interval.load(SeqCst))
    }

    /// Counts from the start of the next sweep on.
    async fn window(&self) -> Result<Window, Fault> {
        let now = micros();
        let sweep = || {
            let mut calls = self.campaign.calls(now, u64::MAX).into_iter();
            calls.find(|call| call.kind == Kind::FirstPage)
        };
        self.until("a sweep", || sweep().is_some()).await?;
        let from = sweep().map_or(now, |call| call.at);
        let cpu = self.service.cpu()?;
        sleep(Duration::from_secs(self.args.window)).await;
        let cpu = self.service.cpu()? - cpu;
        let calls = self.campaign.calls(from, from + self.args.window * 1_000_000);
        let count = |kind| calls.iter().filter(|call| call.kind == kind).count();
        let (sweeps, gets) = (count(Kind::FirstPage), count(Kind::Get));
        Ok(Window { sweeps, pages: calls.len() - gets, gets, cpu })
    }

    /// How long to wait before a change, so that the changes fall all over the poll interval.
    fn phase(&self, round: u32) -> Duration {
        let golden = 0.618_034;
        self.poll_interval().mul_f64((f64::from(round) * golden).fract())
    }

    /// One message changes.
    async fn single(&self, round: u32) -> Result<Round, Fault> {
        let index =
            (u64::from(round) * u64::from(self.args.messages) / u64::from(self.args.changes)) as usize;
        let told = &self.board.single[index];
        let what = format!("change {round} to be told to all");
        self.round(&what, told, || self.campaign.change(index), || self.campaign.shown(index)).await
    }

    /// All messages change.
    async fn all(&self) -> Result<Round, Fault> {
        let (told, campaign) = (&self.board.all, self.campaign);
        let what = "the change of all messages to be told to all";
        self.round(what, told, || campaign.change_all(), || campaign.shown_all()).await
    }

    async fn round(
        &self,
        what: &str,
        told: &Telling,
        change: impl Fn() -> u64,
        shown: impl Fn() -> Option<u64>,
    ) -> Result<Round, Fault> {
        let cpu = self.service.cpu()?;
        let changed = change();
        self.until(what, || told.count() == self.watchers as usize).await?;
        let cpu = self.service.cpu()? - cpu;
        let shown = shown().ok_or("told, and never shown")?;
        Ok(Round {
            first: told.first().saturating_sub(changed),
            last: told.last().saturating_sub(changed),
            first_since_shown: told.first().cast_signed() - shown.cast_signed(),
            last_since_shown: told.last().cast_signed() - shown.cast_signed(),
            cpu,
        })
    }

    /// Each watcher was told each change once: nothing follows in another sweep and a half.
    async fn nothing_more(&self) -> Result<(), Fault> {
        sleep(self.poll_interval().mul_f64(1.5)).await;
        let told = self.board.changes.load(SeqCst);
        let each = u64::from(self.args.changes) + u64::from(self.args.messages);
        let expected = each * u64::from(self.watchers);
        if told != expected {
            return Err(format!("{told} changes were told to all together, and not {expected}").into());
        }
        Ok(())
    }

    /// That all share one sweep is a promise, and not only a mark. A window can catch one sweep more.
    fn compare(&self, one: &Window, all: &Window) -> Result<(), Fault> {
        let sweep = one.pages.div_ceil(one.sweeps.max(1));
        if all.calls() > one.calls() + sweep {
            return Err(format!(
                "the upstream counted {} calls, and {} with one watcher",
                all.calls(),
                one.calls()
            )
            .into());
        }
        Ok(())
    }
}
