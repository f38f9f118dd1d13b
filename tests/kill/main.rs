//! SIGKILL of the real binary in the middle of imports, and what is left of them.
//!
//! An import runs against `serve --ledger file:`; at a moment that the seed chooses the process is killed,
//! started again on the same ledger, and the same import repeated under the same request_id, until one goes
//! through. The sandbox, which lives in this process and survives, knows who was really messaged.
//!
//! `KILLS=200 cargo test --test kill` kills 200 times (a release's measure); by default a few. `SEED` repeats
//! one sequence (the moments are real time: a repeat comes close, no more).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashMap, path::Path, process::Stdio, time::Duration};

use blubash_grpc::{
    pb::{self, Disposition, campaigns_service_client::CampaignsServiceClient},
    sandbox::{self, Options, Sandbox},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};
use tokio_stream::StreamExt as _;
use tonic::{Request, transport::Channel};

const PATIENCE: Duration = Duration::from_secs(30);
const ITEMS: usize = 400;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

struct Server {
    child: Child,
    client: CampaignsServiceClient<Channel>,
}

impl Server {
    async fn start(ledger: &Path, upstream: &str) -> Self {
        let place = format!("file:{}", ledger.display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_blubash-grpc"))
            .args(["serve", "--listen", "127.0.0.1:0", "--upstream-url", upstream, "--ledger", &place])
            // Small batches, so that there are many moments at which to be killed.
            .args(["--batch-max-items", "10"])
            // Each kill leaves some items in doubt, and here no operator resolves any.
            .args(["--doubt-limit", "1000000"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let address = loop {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("it never listened").unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended: {said}"));
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.to_owned();
            }
            said += &line;
        };
        // Read on, so that it never waits for room in the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = CampaignsServiceClient::connect(format!("http://{address}")).await.unwrap();
        Self { child, client }
    }

    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// What was told of each item: by index.
type Told = HashMap<i64, pb::AudienceItemResult>;

/// Streams an import, and notes what is told. `Err`: it broke off.
async fn import(
    mut client: CampaignsServiceClient<Channel>,
    request_id: &str,
    people: &[String],
    told: &mut Told,
) -> Result<pb::AudienceSummary, tonic::Status> {
    let mut messages = vec![pb::IngestAudienceRequest {
        campaign_id: sandbox::EVERGREEN.into(),
        options: Some(pb::AudienceOptions { request_id: request_id.into(), ..Default::default() }),
        items: vec![],
    }];
    messages.extend(people.chunks(25).map(|people| pb::IngestAudienceRequest {
        items: people.iter().map(|person| item(person)).collect(),
        ..Default::default()
    }));
    let mut request = Request::new(tokio_stream::iter(messages));
    request.metadata_mut().insert("x-api-key", sandbox::ACME_API_KEY.parse().unwrap());
    let mut answers = client.ingest_audience(request).await?.into_inner();
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        for result in answer.results {
            if let Some(before) = told.get(&result.index) {
                agrees(before, &result);
            }
            told.insert(result.index, result);
        }
        if let Some(summary) = answer.summary {
            assert_eq!(answer.termination, None, "{request_id}");
            return Ok(summary);
        }
    }
    panic!("{request_id}: the stream ended without its summary");
}

/// What was told before a kill still holds after it.
fn agrees(before: &pb::AudienceItemResult, after: &pb::AudienceItemResult) {
    if matches!(before.disposition(), Disposition::Added | Disposition::InDoubt) {
        assert!(after.replayed, "{after:?}");
        assert_eq!(
            (after.disposition(), &after.added),
            (before.disposition(), &before.added),
            "{before:?}, then {after:?}"
        );
    }
}

fn item(person: &str) -> pb::AudienceItem {
    pb::AudienceItem {
        recipient: Some(pb::audience_item::Recipient::Identifier(person.into())),
        schedule: Some(pb::Schedule { when: Some(pb::schedule::When::Immediate(pb::Immediate {})) }),
        ..Default::default()
    }
}

async fn control(sandbox: &Sandbox, method: reqwest::Method, path: &str, body: Value) -> Value {
    let url = format!("{}/{path}", sandbox.control_url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.request(method, url).body(body.to_string()).send().await.unwrap();
    assert!(answer.status().is_success());
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_leaves_the_truth_on_disk_and_nobody_is_messaged_twice() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (kills, seed) = (number("KILLS", 5), number("SEED", 1));
    let mut chance = fastrand::Rng::with_seed(seed);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Sandbox::serve(listener, Options::default()).await.unwrap();
    // A little time on the way, so that a kill finds batches there.
    let slow = json!({"operation": "add", "latency_ms": 4});
    control(&upstream, reqwest::Method::POST, "faults", slow).await;
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger.redb");

    let (mut killed, mut imports) = (0, Vec::new());
    let mut server = Server::start(&ledger, &upstream.campaigns_url()).await;
    while killed < kills {
        let name = format!("import-{}", imports.len());
        let people: Vec<String> =
            (0..ITEMS).map(|n| format!("55{:011}", imports.len() * ITEMS + n)).collect();
        let mut told = Told::new();
        loop {
            let patience = Duration::from_millis(chance.u64(1..300));
            let run = import(server.client.clone(), &name, &people, &mut told);
            match timeout(patience, run).await {
                Ok(Ok(summary)) => {
                    assert_eq!(summary.received as usize, ITEMS);
                    break;
                }
                Ok(Err(status)) => panic!("{name}: {status:?}"),
                Err(_) if killed < kills => {
                    killed += 1;
                    server.kill().await;
                    server = Server::start(&ledger, &upstream.campaigns_url()).await;
                }
                // Enough: this one may take its time.
                Err(_) => {}
            }
            if killed == kills {
                import(server.client.clone(), &name, &people, &mut told).await.unwrap();
                break;
            }
        }
        imports.push((name, people, told));
    }

    let truth =
        control(&upstream, reqwest::Method::GET, "messages?campaign=camp-evergreen", Value::Null).await;
    let mut messaged: HashMap<String, Vec<String>> = HashMap::new();
    for message in truth["messages"].as_array().unwrap() {
        let text = |field: &str| message[field].as_str().unwrap().to_owned();
        messaged.entry(text("identifier")).or_default().push(text("messageId"));
    }
    let (mut added, mut in_doubt) = (0, 0);
    for (name, people, told) in &imports {
        assert_eq!(told.len(), people.len(), "{name}: an item without a disposition");
        for (index, person) in people.iter().enumerate() {
            let ids = messaged.get(person).map_or(&[][..], Vec::as_slice);
            assert!(ids.len() <= 1, "{name}: {person} was messaged {} times", ids.len());
            let result = &told[&(index as i64)];
            match result.disposition() {
                Disposition::Added => {
                    added += 1;
                    assert_eq!(ids, [result.added.clone().unwrap().message_id], "{name}: {result:?}");
                }
                Disposition::InDoubt => in_doubt += 1,
                other => panic!("{name}: {other:?}: {result:?}"),
            }
        }
    }
    // Only what was on its way at a kill may be in doubt: a window of batches each, and one whose answers had come
    // and were on their way to the disk.
    assert!(in_doubt <= killed as usize * 2 * 4 * 10, "{in_doubt} in doubt after {killed} kills");
    println!("{killed} kills, {} imports, {added} added, {in_doubt} in doubt, 0 twice", imports.len());
}
