//! HTTP/1.1 by hand, as little as an upstream needs: nothing here repairs what a fault broke.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A request, as it came.
pub(crate) struct Received {
    head: String,
    body: Value,
}

impl Received {
    /// A header's value; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.head, name).unwrap_or_default()
    }

    pub(crate) fn items(&self) -> &[Value] {
        self.body["items"].as_array().unwrap()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name));
    head.lines().find_map(value).map(|(_, value)| value)
}

/// One connection from the service.
pub(crate) struct Wire<S> {
    pub(crate) socket: S,
    pub(crate) unread: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, unread: Vec::new() }
    }

    pub(crate) async fn read_more(&mut self) -> io::Result<()> {
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
    pub(crate) async fn read_a_part(&mut self) -> io::Result<usize> {
        loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) if self.unread.len() > end + 4 => return Ok(end),
                _ => self.read_more().await?,
            }
        }
    }

    /// Reads a whole request to add contacts.
    pub(crate) async fn read(&mut self) -> io::Result<Received> {
        let end = self.read_a_part().await?;
        let head = String::from_utf8(self.unread[..end].to_vec()).unwrap();
        assert!(head.starts_with("POST /") && head.contains("/audience HTTP/1.1"), "{head}");
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        let whole = end + 4 + length;
        while self.unread.len() < whole {
            self.read_more().await?;
        }
        let body = serde_json::from_slice(&self.unread[end + 4..whole]).unwrap();
        self.unread.drain(..whole);
        Ok(Received { head, body })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // Whoever hung up does not hear it: no fault of this side's.
        let _ = self.socket.write_all(bytes).await;
    }

    /// Says nothing until the other side gives up.
    pub(crate) async fn hang(mut self) {
        while self.read_more().await.is_ok() {}
    }

    /// A clean end.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.shutdown().await;
    }
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

/// The body that says that these messages were made, for contacts of these ids.
pub(crate) fn added<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let item = |(message, contact)| json!({"messageId": message, "contactId": contact, "scheduled_at": null});
    json!({ "items": messages.into_iter().map(item).collect::<Vec<_>>() }).to_string()
}
