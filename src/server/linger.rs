//! A socket that closes so that the last words arrive.
//!
//! A socket that is closed while something of the peer's is unread is reset, and a peer that writes into the
//! reset (an acknowledgement, say) may drop what it had not read yet: the status of a call that has just
//! ended. So the end is announced first, and the peer gets a moment to end its side.

use std::{
    future::Future as _,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// The moment. A peer that is there needs one round trip.
const LINGER: Duration = Duration::from_secs(1);

/// A connection's socket. Its shutdown waits until the peer has ended its side, for a moment at most.
pub(super) struct Lingering {
    socket: TcpStream,
    /// Set once our side has ended.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, patience: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, patience } = &mut *self;
        if patience.is_none() {
            ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
        }
        let patience = patience.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut room = [0; 1024];
        while patience.as_mut().poll(cx).is_pending() {
            let mut unread = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut *socket).poll_read(cx, &mut unread)) {
                Ok(()) if !unread.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (Lingering, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Lingering::new(listener.accept().await.unwrap().0), peer)
    }

    #[tokio::test]
    async fn a_peer_that_still_writes_hears_the_last_words() {
        let (mut ours, mut peer) = pair().await;
        peer.write_all(&[1; 4096]).await.unwrap();
        ours.write_all(b"goodbye").await.unwrap();
        let closing = tokio::spawn(async move { ours.shutdown().await });
        // Into a socket that were closed already, this would fetch a reset.
        peer.write_all(&[2; 4096]).await.unwrap();
        let mut heard = String::new();
        peer.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "goodbye");
        assert!(!closing.is_finished(), "the peer has not ended its side");
        drop(peer);
        closing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_ends_its_side_is_not_waited_for_for_long() {
        let (mut ours, _peer) = pair().await;
        let began = tokio::time::Instant::now();
        ours.shutdown().await.unwrap();
        assert!(began.elapsed() <= LINGER + Duration::from_millis(10));
    }
}
