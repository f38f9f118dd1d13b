//! The tables, and whether the marks are met.

use crate::{
    Args,
    measure::{Figures, Round},
};

/// The design's marks: bytes a watcher, and microseconds on top of one poll interval.
const MARK_BYTES: f64 = 12.0 * 1024.0;
const MARK_TOLD: u64 = 250_000;

/// Below this, what a watcher takes is lost in the noise of the rest.
const JUDGED_FROM: u32 = 1_000;

pub fn print(args: &Args, measured: &[Figures]) {
    let Some(first) = measured.first() else { return };
    println!(
        "\none campaign of {} messages, poll interval {:.1} s, {} snapshots at once",
        args.messages,
        first.poll_interval as f64 / 1e6,
        args.at_once
    );
    memory(measured);
    upstream(args, measured);
    singles(args, measured);
    all(measured);
    println!();
    measured.iter().for_each(marks);
}

fn memory(measured: &[Figures]) {
    println!(
        "\nRSS in MiB\n    {:>8}{:>7}{:>13}{:>9}{:>9}{:>9}{:>9}{:>13}{:>9}",
        "watchers", "conns", "snapshots s", "one", "all read", "later", "peak", "KiB/watcher", "driver"
    );
    for f in measured {
        println!(
            "    {:>8}{:>7}{:>13.2}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{:>13}{:>9.1}",
            f.watchers,
            f.connections,
            f.snapshots_took as f64 / 1e6,
            mib(f.rss_one),
            mib(f.rss_read),
            mib(f.rss_later),
            mib(f.rss_peak),
            f.bytes_a_watcher().map_or_else(String::new, |bytes| format!("{:.1}", bytes / 1024.0)),
            mib(f.rss_driver)
        );
    }
}

fn upstream(args: &Args, measured: &[Figures]) {
    println!(
        "\nupstream calls in {} s without a change: with one watcher, with all\n    {:>8}{:>8}{:>8}{:>8}{:>10}{:>10}{:>8}{:>8}{:>8}{:>10}",
        args.window,
        "watchers",
        "sweeps",
        "pages",
        "gets",
        "cpu ms/s",
        "|  sweeps",
        "pages",
        "gets",
        "calls",
        "cpu ms/s"
    );
    let per_second = |cpu: f64| cpu * 1e3 / args.window as f64;
    for f in measured {
        let (one, all) = (&f.with_one, &f.with_all);
        println!(
            "    {:>8}{:>8}{:>8}{:>8}{:>10.1}{:>10}{:>8}{:>8}{:>7.2}x{:>10.1}",
            f.watchers,
            one.sweeps,
            one.pages,
            one.gets,
            per_second(one.cpu),
            all.sweeps,
            all.pages,
            all.gets,
            all.calls() as f64 / one.calls() as f64,
            per_second(all.cpu)
        );
    }
}

const TOLD: &str = "ms since the change, and since the upstream showed it";

fn singles(args: &Args, measured: &[Figures]) {
    println!(
        "\none message changes, {} times (median, worst): {TOLD}\n    {:>8}{:>9}{:>9}{:>9}{:>12}{:>9}{:>9}{:>9}{:>12}",
        args.changes,
        "watchers",
        "first",
        "last",
        "worst",
        "|  first",
        "last",
        "worst",
        "cpu ms",
        "us/watcher"
    );
    for f in measured.iter().filter(|f| !f.singles.is_empty()) {
        let median = |value: fn(&Round) -> f64| median(f.singles.iter().map(value).collect());
        let worst = |value: fn(&Round) -> f64| f.singles.iter().map(value).fold(0.0, f64::max);
        let cpu = f.singles.iter().map(|round| round.cpu).sum::<f64>() / f.singles.len() as f64;
        println!(
            "    {:>8}{:>9.1}{:>9.1}{:>9.1}{:>12.1}{:>9.1}{:>9.1}{:>9.1}{:>12.1}",
            f.watchers,
            median(|round| round.first as f64 / 1e3),
            median(|round| round.last as f64 / 1e3),
            worst(|round| round.last as f64 / 1e3),
            median(|round| round.first_since_shown as f64 / 1e3),
            median(|round| round.last_since_shown as f64 / 1e3),
            worst(|round| round.last_since_shown as f64 / 1e3),
            cpu * 1e3,
            cpu * 1e6 / f64::from(f.watchers)
        );
    }
}

fn all(measured: &[Figures]) {
    println!(
        "\nall messages change at once: {TOLD}\n    {:>8}{:>9}{:>9}{:>12}{:>9}{:>9}{:>12}",
        "watchers", "first", "last", "|  first", "last", "cpu ms", "us/change"
    );
    for f in measured {
        println!(
            "    {:>8}{:>9.1}{:>9.1}{:>12.1}{:>9.1}{:>9.0}{:>12.2}",
            f.watchers,
            f.all.first as f64 / 1e3,
            f.all.last as f64 / 1e3,
            f.all.first_since_shown as f64 / 1e3,
            f.all.last_since_shown as f64 / 1e3,
            f.all.cpu * 1e3,
            f.all.cpu * 1e6 / f64::from(f.watchers) / f64::from(f.messages)
        );
    }
}

fn marks(f: &Figures) {
    let mut marks = Vec::new();
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    if let Some(bytes) = f.bytes_a_watcher().filter(|_| f.watchers >= JUDGED_FROM) {
        let met = verdict(bytes <= MARK_BYTES);
        marks.push(format!("{:.1} of {:.0} KiB a watcher {met}", bytes / 1024.0, MARK_BYTES / 1024.0));
    }
    let met = verdict(f.with_all.calls() <= f.with_one.calls());
    marks.push(format!("{} of {} upstream calls {met}", f.with_all.calls(), f.with_one.calls()));
    if let Some(worst) = f.singles.iter().map(|round| round.last).max() {
        let mark = f.poll_interval + MARK_TOLD;
        let met = verdict(worst <= mark);
        marks.push(format!("all told after {:.2} of {:.2} s {met}", worst as f64 / 1e6, mark as f64 / 1e6));
    }
    println!("    marks, {} watchers: {}", f.watchers, marks.join("; "));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
