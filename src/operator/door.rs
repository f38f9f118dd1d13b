//! The command's side: the same questions to the running server, or to a ledger opened for them.

use std::{io, path::Path, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};
use tokio_util::codec::{Framed, LinesCodec};

use super::{
    desk::Desk,
    protocol::{Asked, Replied, Request, VERSION},
};
use crate::ledger::Ledger;

/// The longest reply: room for every answer that the server gives.
const MAX_REPLY: usize = 64 << 20;

/// The longest time that an answer may take: a large campaign is read as a whole.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no answer, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum DoorFault {
    /// The server, or the ledger, says no.
    #[error("{0}")]
    Refused(String),
    /// The conversation broke off.
    #[error("the server on the operator's socket broke off: {0}; ask again")]
    BrokeOff(String),
    /// The answer is not one.
    #[error("the server's answer makes no sense to this command: use the blubash-grpc that the server is")]
    Unreadable,
}

/// Where an operator's requests go.
pub struct Door(Behind);

enum Behind {
    Server(Box<Framed<UnixStream, LinesCodec>>),
    Ledger(Box<Desk>),
}

impl Door {
    /// The running server's. `None`: nobody answers there.
    ///
    /// # Errors
    /// Where something is there that cannot be reached.
    pub async fn to_server(socket: &Path) -> io::Result<Option<Self>> {
        match UnixStream::connect(socket).await {
            Ok(stream) => {
                let lines = Framed::new(stream, LinesCodec::new_with_max_length(MAX_REPLY));
                Ok(Some(Self(Behind::Server(Box::new(lines)))))
            }
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// To a ledger that this process has opened.
    pub fn to_ledger(ledger: Ledger) -> Self {
        // Both ends of a pair are this process: so the system says whose it is.
        let uid = UnixStream::pair().and_then(|(own, _)| own.peer_cred()).ok().map(|own| own.uid());
        Self(Behind::Ledger(Box::new(Desk::of_operator(ledger, uid))))
    }

    /// Asks, and waits for the answer, which is of the type that the request names.
    ///
    /// # Errors
    /// Where it is refused, or there is no answer.
    pub async fn ask<A: DeserializeOwned>(&mut self, request: Request) -> Result<A, DoorFault> {
        let answer = match &mut self.0 {
            Behind::Ledger(desk) => desk.answer(request).await.map_err(DoorFault::Refused)?,
            Behind::Server(lines) => {
                let request = serde_json::to_value(&request).map_err(|_| DoorFault::Unreadable)?;
                let line = serde_json::to_string(&Asked { version: VERSION, request })
                    .map_err(|_| DoorFault::Unreadable)?;
                let answered = timeout(PATIENCE, async {
                    lines.send(line).await?;
                    lines.next().await.transpose()
                });
                let reply = match answered.await {
                    Ok(Ok(Some(reply))) => reply,
                    Ok(Ok(None)) => return Err(DoorFault::BrokeOff("it hung up".to_owned())),
                    Ok(Err(error)) => return Err(DoorFault::BrokeOff(error.to_string())),
                    Err(_) => return Err(DoorFault::BrokeOff("it did not answer in time".to_owned())),
                };
                let replied: Replied = serde_json::from_str(&reply).map_err(|_| DoorFault::Unreadable)?;
                match replied.error {
                    None => replied.answer,
                    Some(problem) => return Err(DoorFault::Refused(problem)),
                }
            }
        };
        serde_json::from_value(answer).map_err(|_| DoorFault::Unreadable)
    }
}
