//! SIGTERM while calls are made: nothing that was taken is cut, and nothing is left in doubt by it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use drivers::{
    Fault, micros,
    pb::{self, Disposition, campaigns_service_client::CampaignsServiceClient},
    service::Service,
};
use tokio::{
    process::Command,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::{Request, codegen::tokio_stream::wrappers::ReceiverStream};

use crate::{
    calls::{Ask, End, call, connect},
    tally::Tally,
    upstream::Upstream,
};

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command that starts the service; it gets a ledger in a file
    #[arg(long, value_name = "COMMAND")]
    ours: String,
    /// How often
    #[arg(long, default_value_t = 50)]
    times: u32,
    /// The drain timeout that it gets, in seconds
    #[arg(long, default_value_t = 5)]
    drain_timeout: u64,
    /// How long the upstream takes to answer, in milliseconds
    #[arg(long, default_value_t = 30)]
    upstream_ms: u64,
}

/// What must not happen, and what was seen.
#[derive(Default)]
struct Seen {
    cut: u64,
    in_doubt: u64,
    late_exits: u32,
    bad_exits: u32,
    ingests_untold: u64,
    calls: u64,
    ingests: u64,
    slowest_exit: Duration,
}

pub async fn run(args: Args) -> Result<bool, Fault> {
    let mut seen = Seen::default();
    for time in 0..args.times {
        once(&args, time, &mut seen).await?;
        eprint!("\r{} of {}", time + 1, args.times);
    }
    eprintln!();
    println!(
        "{} times: {} unary calls, {} cut; {} imports, {} without an end that says so; {} items in doubt; \
         slowest exit {:.1} s, {} too late, {} not with 0",
        args.times,
        seen.calls,
        seen.cut,
        seen.ingests,
        seen.ingests_untold,
        seen.in_doubt,
        seen.slowest_exit.as_secs_f64(),
        seen.late_exits,
        seen.bad_exits
    );
    Ok(seen.cut == 0
        && seen.in_doubt == 0
        && seen.ingests_untold == 0
        && seen.late_exits == 0
        && seen.bad_exits == 0)
}

async fn once(args: &Args, time: u32, seen: &mut Seen) -> Result<(), Fault> {
    let upstream = Upstream::start(Duration::from_millis(args.upstream_ms)).await?;
    let folder = tempfile::TempDir::with_prefix("drivers-ledger-")?;
    let ledger = format!("file:{}", folder.path().join("ledger.redb").display());
    let command = format!("{} --ledger {ledger} --drain-timeout {}s", args.ours, args.drain_timeout);
    let mut service = Service::start(&command, upstream.addr).await?;
    let over = Arc::new(AtomicBool::new(false));
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        callers.spawn(unary(service.addr, caller, Arc::clone(&tally), Arc::clone(&over)));
    }
    let mut imports = JoinSet::new();
    for _ in 0..4 {
        imports.spawn(import(service.addr));
    }
    // Another moment of the calls each time.
    sleep(Duration::from_millis(150 + u64::from(time * 37 % 100))).await;
    let told = Instant::now();
    service.terminate().await?;
    let patience = Duration::from_secs(args.drain_timeout + 4);
    match timeout(patience, service.ended()).await {
        Ok(status) => seen.bad_exits += u32::from(status?.code() != Some(0)),
        Err(_) => seen.late_exits += 1,
    }
    seen.slowest_exit = seen.slowest_exit.max(told.elapsed());
    over.store(true, Relaxed);
    while callers.join_next().await.is_some() {}
    let counts = tally.take();
    seen.calls += counts.all();
    let late = [End::Cut, End::Late].iter().filter_map(|end| counts.ends.get(end)).sum::<u64>();
    if late > 0 {
        println!("time {time}: {counts}");
    }
    seen.cut += late;
    while let Some(import) = imports.join_next().await {
        let (told, in_doubt) = import??;
        seen.ingests += 1;
        seen.ingests_untold += u64::from(!told);
        seen.in_doubt += in_doubt;
    }
    seen.in_doubt += in_doubt(&args.ours, &ledger).await?;
    Ok(())
}

async fn unary(
    addr: SocketAddr,
    caller: usize,
    tally: Arc<Tally>,
    over: Arc<AtomicBool>,
) -> Result<(), Fault> {
    const KEY: &str = "drain-key";
    let asks = [Ask::add(KEY)?, Ask::get(KEY)?, Ask::list(KEY)?];
    let sender = connect(addr).await?;
    for n in caller.. {
        if over.load(Relaxed) {
            break;
        }
        let began = micros();
        let end = call(&sender, &asks[n % asks.len()], DEADLINE).await;
        tally.ended(end, micros() - began);
        if end == End::NotTaken {
            break;
        }
    }
    Ok(())
}

/// An import that goes on until the server ends it. Whether its end said so, and how many items are in doubt.
async fn import(addr: SocketAddr) -> Result<(bool, u64), Fault> {
    let mut client = CampaignsServiceClient::connect(format!("http://{addr}")).await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut n = 0;
        loop {
            let item = |n: u64| pb::AudienceItem {
                recipient: Some(pb::audience_item::Recipient::Identifier(format!("55118{n:08}"))),
                schedule: Some(pb::Schedule { when: Some(pb::schedule::When::Immediate(pb::Immediate {})) }),
                ..Default::default()
            };
            let items = (n..n + 50).map(item).collect();
            n += 50;
            let message = pb::IngestAudienceRequest { campaign_id: "c".into(), items, ..Default::default() };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert("x-api-key", "drain-key".parse()?);
    let draining = |text: &str| text.contains("SERVER_DRAINING");
    let mut answers = match client.ingest_audience(request).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return Ok((says_draining(&status), 0)),
    };
    let (mut told, mut in_doubt) = (false, 0);
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                let doubts =
                    answer.results.iter().filter(|result| result.disposition() == Disposition::InDoubt);
                in_doubt += doubts.count() as u64;
                told |= answer.termination.is_some_and(|end| draining(end.reason().as_str_name()));
            }
            Ok(None) => return Ok((told, in_doubt)),
            Err(status) => {
                let told = told || says_draining(&status);
                if !told {
                    println!("an import ended with {:?}: {}", status.code(), status.message());
                }
                return Ok((told, in_doubt));
            }
        }
    }
}

/// The reason stands in the details; its name is the same in any encoding.
fn says_draining(status: &tonic::Status) -> bool {
    let details = status.details();
    const NAME: &[u8] = b"SERVER_DRAINING";
    details.windows(NAME.len()).any(|part| part == NAME)
}

/// What the ledger holds in doubt, now that nobody serves from it.
async fn in_doubt(ours: &str, ledger: &str) -> Result<u64, Fault> {
    let words = shlex::split(ours).ok_or("--ours: not a command")?;
    let program = words.iter().take_while(|word| *word != "serve").cloned().collect::<Vec<_>>();
    let output = Command::new(&program[0])
        .args(&program[1..])
        .args(["ledger", "list", "--ledger", ledger, "--output", "jsonl"])
        .output()
        .await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    // A line an ingestion that has items in doubt.
    Ok(output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64)
}
