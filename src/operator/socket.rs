//! The server's side of the operator's socket.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{
    codec::{Framed, LinesCodec, LinesCodecError},
    sync::CancellationToken,
    task::TaskTracker,
};

use super::{
    desk::Desk,
    protocol::{Asked, Replied, Request, VERSION},
};
use crate::ledger::Ledger;

/// The longest request, in bytes: room for some thousand message ids.
const MAX_REQUEST: usize = 1 << 20;

/// Conversations at once. Operators are few.
const MAX_CONVERSATIONS: usize = 8;

/// Who says nothing for so long has gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Why there is no socket. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// Another process answers on it.
    #[error("another server answers on the operator's socket {}: stop it, or name another --operator-socket", .0.display())]
    InUse(PathBuf),
    /// Something else has its name.
    #[error("{} is in the way of the operator's socket and is not a socket: move it away, or name another --operator-socket", .0.display())]
    InTheWay(PathBuf),
    /// It cannot be made.
    #[error("cannot make the operator's socket {}: {source}; name another place with --operator-socket (a short path: \
             systems allow about 100 bytes)", path.display())]
    NotMade {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The operator's socket, bound. Dropping it takes its name away.
#[derive(Debug)]
pub struct OperatorSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl OperatorSocket {
    /// Binds it, for this user only. One that a former process left behind is replaced.
    ///
    /// # Errors
    /// Where somebody answers on it, or it cannot be made.
    pub async fn bind(path: &Path) -> Result<Self, SocketFault> {
        let not_made = |source| SocketFault::NotMade { path: path.into(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(SocketFault::InTheWay(path.into())),
            Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(SocketFault::InUse(path.into())),
            _ => {}
        }
        // Bound under another name and closed to others first: under its own it is never open to them. The
        // rename replaces what a former process left.
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft).map_err(not_made)?;
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&draft, path))
            .map_err(|source| {
                let _ = fs::remove_file(&draft);
                not_made(source)
            })?;
        Ok(Self { listener, path: path.into() })
    }

    /// Answers from this ledger until `stopping` is cancelled; requests under way then still end.
    pub async fn serve(self, ledger: Ledger, stopping: CancellationToken) {
        let conversations = TaskTracker::new();
        let places = Arc::new(Semaphore::new(MAX_CONVERSATIONS));
        loop {
            let accepted = tokio::select! {
                () = stopping.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an operator's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // With no place free the connection just ends; its operator may come again.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let desk = Desk::of_server(ledger.clone(), stream.peer_cred().ok().map(|peer| peer.uid()));
            let stopping = stopping.clone();
            conversations.spawn(async move {
                converse(stream, desk, &stopping).await;
                drop(place);
            });
        }
        conversations.close();
        conversations.wait().await;
    }
}

impl Drop for OperatorSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers line after line, until either side has enough.
async fn converse(stream: UnixStream, mut desk: Desk, stopping: &CancellationToken) {
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(MAX_REQUEST));
    loop {
        let asked = tokio::select! {
            // What is being answered is answered: only between two requests does the server leave.
            () = stopping.cancelled() => return,
            asked = timeout(SILENCE, lines.next()) => asked,
        };
        let (reply, last) = match asked {
            Err(_) | Ok(None) | Ok(Some(Err(LinesCodecError::Io(_)))) => return,
            Ok(Some(Err(LinesCodecError::MaxLineLengthExceeded))) => {
                (Err(format!("a request has at most {MAX_REQUEST} bytes")), true)
            }
            Ok(Some(Ok(line))) => match read(&line) {
                Ok(request) => (desk.answer(request).await, false),
                Err(problem) => (Err(problem), false),
            },
        };
        let (answer, error) = match reply {
            Ok(answer) => (answer, None),
            Err(problem) => (serde_json::Value::Null, Some(problem)),
        };
        let replied = Replied { version: VERSION, error, answer };
        let Ok(line) = serde_json::to_string(&replied) else { return };
        let sent = timeout(SILENCE, lines.send(line)).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

fn read(line: &str) -> Result<Request, String> {
    let asked: Asked = serde_json::from_str(line)
        .map_err(|_| "expected one JSON object a line, with a version".to_owned())?;
    if asked.version != VERSION {
        return Err(format!(
            "the server speaks version {VERSION} of the operator's words, and this command version {}: use \
             the blubash-grpc that the server is",
            asked.version
        ));
    }
    serde_json::from_value(asked.request).map_err(|_| "not a request that this server knows".to_owned())
}
