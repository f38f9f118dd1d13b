//! What only a socket of the system can do to a connection.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::wire::{self, Received, Wire};

impl Wire<TcpStream> {
    /// Whether a request begins, rather than the connection's end. Reads none of it.
    pub(crate) async fn request_begins(&self) -> bool {
        !self.unread.is_empty() || self.socket.peek(&mut [0]).await.is_ok_and(|count| count > 0)
    }

    pub(crate) async fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes.chunks(1) {
            self.write(byte).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// A reset.
    pub(crate) fn reset(self) {
        let _ = self.socket.set_zero_linger();
    }
}

/// Whom a request is to message.
pub(crate) fn persons(request: &Received) -> Vec<String> {
    request.items().iter().map(|item| item["identifier"].as_str().unwrap().to_owned()).collect()
}

/// The body that says that these messages were made, for contacts that nobody asked for.
pub(crate) fn added(message_ids: &[String]) -> String {
    wire::added(message_ids.iter().map(|id| (id.as_str(), "some-contact")))
}
