//! HTTP/1.1 by hand, as little as an upstream needs: nothing here repairs what a fault broke.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A request, as it came.
pub(crate) struct Received {
    pub(crate) persons: Vec<String>,
}

/// One connection from the service.
pub(crate) struct Wire {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        let _ = socket.set_nodelay(true);
        Self { socket, unread: Vec::new() }
    }

    /// Whether a request begins, rather than the connection's end. Reads none of it.
    pub(crate) async fn request_begins(&self) -> bool {
        !self.unread.is_empty() || self.socket.peek(&mut [0]).await.is_ok_and(|count| count > 0)
    }

    async fn read_more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match self.socket.read(&mut bytes).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.unread.extend_from_slice(&bytes[..count]);
                Ok(())
            }
        }
    }

    /// Reads the request's head and the first byte of its body.
    pub(crate) async fn read_a_part(&mut self) -> io::Result<()> {
        loop {
            match find(&self.unread, b"\r\n\r\n") {
                Some(end) if self.unread.len() > end + 4 => return Ok(()),
                _ => self.read_more().await?,
            }
        }
    }

    /// Reads a whole request.
    pub(crate) async fn read(&mut self) -> io::Result<Received> {
        self.read_a_part().await?;
        let end = find(&self.unread, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(self.unread[..end].to_vec()).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("post /") && head.contains("/audience http/1.1"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let whole = end + 4 + length.parse::<usize>().unwrap();
        while self.unread.len() < whole {
            self.read_more().await?;
        }
        let body: Value = serde_json::from_slice(&self.unread[end + 4..whole]).unwrap();
        self.unread.drain(..whole);
        let items = body["items"].as_array().unwrap().iter();
        Ok(Received { persons: items.map(|item| item["identifier"].as_str().unwrap().to_owned()).collect() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // Whoever hung up does not hear it: no fault of this side's.
        let _ = self.socket.write_all(bytes).await;
    }

    pub(crate) async fn drip(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes.chunks(1) {
            self.write(byte).await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Says nothing until the other side gives up.
    pub(crate) async fn hang(mut self) {
        while self.read_more().await.is_ok() {}
    }

    /// A clean end; what was not read makes the system send a reset all the same, as it does everywhere.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.shutdown().await;
    }

    /// A reset.
    pub(crate) fn reset(self) {
        let _ = self.socket.set_zero_linger();
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// An answer with the length that it really has.
pub(crate) fn response(status: u16, headers: &str, body: &str) -> Vec<u8> {
    response_of_length(status, headers, &body.len().to_string(), body)
}

/// An answer with the length that somebody claims.
pub(crate) fn response_of_length(status: u16, headers: &str, length: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The body that says that these messages were made.
pub(crate) fn added(message_ids: &[String]) -> String {
    let items: Vec<_> = message_ids
        .iter()
        .map(|id| json!({"messageId": id, "contactId": format!("contact-of-{id}"), "scheduled_at": null}))
        .collect();
    json!({ "items": items }).to_string()
}
