//! The real binary, as a process.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use blubash_grpc::pb::campaigns_service_client::CampaignsServiceClient;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use tonic::transport::Channel;

use crate::canary;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blubash-grpc"));
    command.args(arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// A running `serve` or `sandbox`, and what it said until it listened.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stderr: BufReader<ChildStderr>,
    pub(crate) said: String,
    pub(crate) address: String,
}

impl Running {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut command(arguments)).await
    }

    pub(crate) async fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            let read =
                timeout(PATIENCE, stderr.read_line(&mut said)).await.expect("it never listened").unwrap();
            assert!(read > 0, "it ended: {said}");
            if let Some(address) = said[from..].trim().strip_prefix("listening on ") {
                break address.to_owned();
            }
        };
        Self { child, stderr, said, address }
    }

    pub(crate) async fn client(&self) -> CampaignsServiceClient<Channel> {
        CampaignsServiceClient::connect(format!("http://{}", self.address)).await.unwrap()
    }

    pub(crate) fn signal(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Its exit code, and all that it said.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        timeout(PATIENCE, self.stderr.read_to_string(&mut self.said)).await.expect("it never ended").unwrap();
        // But for the sandbox's own first call, which is there to be pasted.
        let said: String = self.said.lines().filter(|line| !line.contains("grpcurl")).collect();
        canary::none_in("what the process said", &said);
        (self.child.wait().await.unwrap().code(), self.said)
    }
}

pub(crate) async fn refused(arguments: &[&str]) -> (i32, String) {
    let output = timeout(PATIENCE, command(arguments).output()).await.expect("it started").unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A command's exit code, what it wrote to stdout, and what to stderr.
pub(crate) async fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = command(arguments);
    // No terminal to ask on, whatever the tests run on.
    let output = command.stdin(Stdio::null()).output();
    let output = timeout(PATIENCE, output).await.expect("it never ended").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
