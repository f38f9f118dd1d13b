//! The real binary as a child process: it ends with its handle, and what it says is kept.

use std::{process::Stdio, time::Duration};

use blubash_grpc::pb::campaigns_service_client::CampaignsServiceClient;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::{Mutex, watch},
    time::timeout,
};
use tonic::transport::Channel;

/// Far beyond what any step takes, so that a test that waits in vain says so.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Process {
    child: Mutex<Child>,
    id: u32,
    said: watch::Receiver<String>,
    /// Where it listens.
    pub(super) address: String,
    _folder: TempDir,
}

/// How a run ended that was not meant to last.
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The binary, without what this process's own environment would tell it.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blubash-grpc"));
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| name.to_string_lossy().starts_with("BLUBASH_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command.args(arguments).env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(super) async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let output = command(arguments).envs(variables.iter().copied()).output();
    let output = timeout(PATIENCE, output).await.expect("it ends").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Process {
    pub(super) async fn serve(arguments: &[&str]) -> Self {
        Self::serve_with(arguments, &[]).await
    }

    pub(super) async fn serve_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = folder();
        let port_file = folder.path().join("address");
        let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--port-file"]);
        command.arg(&port_file).args(arguments).envs(variables.iter().copied());
        let process = Self::start(command, folder).await;
        assert_eq!(std::fs::read_to_string(port_file).unwrap(), process.address);
        process
    }

    pub(super) async fn sandbox() -> Self {
        Self::sandbox_with(&[]).await
    }

    pub(super) async fn sandbox_with(variables: &[(&str, &str)]) -> Self {
        let mut command = command(&["sandbox", "--listen", "127.0.0.1:0"]);
        command.envs(variables.iter().copied());
        Self::start(command, folder()).await
    }

    async fn start(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (say, said) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                say.send_modify(|said| said.extend([&line, "\n"]));
            }
        });
        let id = child.id().unwrap();
        let mut process =
            Self { child: Mutex::new(child), id, said, address: String::new(), _folder: folder };
        let said = process.says("\nlistening on ").await;
        let line = said.lines().find_map(|line| line.strip_prefix("listening on "));
        process.address = line.unwrap().to_owned();
        process
    }

    /// Waits until it says this, and gives all that it has said.
    pub(super) async fn says(&self, text: &str) -> String {
        let mut said = self.said.clone();
        let heard = timeout(PATIENCE, said.wait_for(|said| said.contains(text))).await;
        match heard {
            Ok(Ok(said)) => said.clone(),
            _ => panic!("it does not say {text:?}: {}", self.said()),
        }
    }

    pub(super) fn said(&self) -> String {
        self.said.borrow().clone()
    }

    pub(super) async fn client(&self) -> CampaignsServiceClient<Channel> {
        CampaignsServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    /// The emulated API of a sandbox process.
    pub(super) fn campaigns_url(&self) -> String {
        format!("http://{}/api/v1/campaigns", self.address)
    }

    /// One of the emulator's control routes, wherever the emulator runs: alone, or inside of `serve`.
    pub(super) async fn control(&self, method: reqwest::Method, route: &str, body: Value) -> Value {
        let said = self.said();
        let inside = said.lines().find_map(|line| line.strip_prefix("The emulated REST API: "));
        let base = inside.map_or_else(|| self.campaigns_url(), str::to_owned);
        let url = base.replace("/api/v1/campaigns", &format!("/_sandbox/{route}"));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.request(method, url).body(body.to_string()).send().await.unwrap().json().await.unwrap()
    }

    pub(super) async fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id);
        assert!(Command::new("sh").args(["-c", &kill]).status().await.unwrap().success());
    }

    /// Its exit code, once it has ended and all that it said was read.
    pub(super) async fn ended(&self) -> Option<i32> {
        let status = timeout(PATIENCE, async { self.child.lock().await.wait().await });
        let status = status.await.unwrap_or_else(|_| panic!("it does not end: {}", self.said())).unwrap();
        let mut said = self.said.clone();
        let closed = async { while said.changed().await.is_ok() {} };
        timeout(PATIENCE, closed).await.unwrap();
        status.code()
    }

    pub(super) async fn stop_with(&self, signal: &str) -> Option<i32> {
        self.signal(signal).await;
        self.ended().await
    }

    pub(super) async fn terminate(self) -> Option<i32> {
        self.stop_with("TERM").await
    }
}
