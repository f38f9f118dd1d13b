//! The service under test: a process of its own, killed when this is dropped.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::Fault;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// How often its port file is looked for.
const LOOK: Duration = Duration::from_millis(5);

pub struct Service {
    pub addr: SocketAddr,
    child: Child,
    pid: u32,
    folder: TempDir,
}

impl Service {
    /// Starts `command` in front of this upstream, and waits until it listens.
    pub async fn start(command: &str, upstream: SocketAddr) -> Result<Self, Fault> {
        let words = shlex::split(command).filter(|words| !words.is_empty());
        let words = words.ok_or("--ours: not a command")?;
        let folder = TempDir::with_prefix("drivers-")?;
        let port_file = folder.path().join("port");
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--listen", "127.0.0.1:0"])
            .arg("--upstream-url")
            .arg(format!("http://{upstream}/api/v1/campaigns"))
            .arg("--port-file")
            .arg(&port_file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|fault| format!("--ours: {}: {fault}", words[0]))?;
        let pid = child.id().ok_or("the service ended at once")?;
        let mut service = Self { addr: upstream, child, pid, folder };
        service.addr = service.listening(port_file).await?;
        Ok(service)
    }

    async fn listening(&mut self, port_file: PathBuf) -> Result<SocketAddr, Fault> {
        let began = Instant::now();
        loop {
            if let Ok(addr) = fs::read_to_string(&port_file) {
                return Ok(addr.trim().parse()?);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the service ended with {status}: {}", self.last_words()).into());
            }
            if began.elapsed() > START {
                return Err(
                    format!("the service does not listen after {START:?}: {}", self.last_words()).into()
                );
            }
            sleep(LOOK).await;
        }
    }

    /// The end of what it logged.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n    ")
    }

    /// Its resident memory, in bytes.
    pub fn rss(&self) -> io::Result<u64> {
        memory(&self.pid.to_string(), "VmRSS:")
    }

    /// The most that it ever was, in bytes.
    pub fn peak_rss(&self) -> io::Result<u64> {
        memory(&self.pid.to_string(), "VmHWM:")
    }

    /// Its user and system time so far, in seconds, to the kernel's 10 ms.
    pub fn cpu(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The command's name stands in parentheses, and can hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / 100.0)
    }

    /// Asks it to drain and end.
    pub async fn terminate(&self) -> Result<(), Fault> {
        let status = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await?;
        if status.success() { Ok(()) } else { Err("the service cannot be signalled".into()) }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// A folder that lives as long as this.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Ends it, without a drain.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// The driver's own resident memory, in bytes.
pub fn own_rss() -> io::Result<u64> {
    memory("self", "VmRSS:")
}

fn memory(process: &str, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("/proc/{process}/status has no {field}")))
}
