//! A connection that must begin soon, since one on which nothing comes holds a place that others need; and that ends
//! only once its caller has read to the end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// So many bytes have a client's preface of HTTP/2 (RFC 9113, 3.4). With the first of them alone nothing has
/// begun; behind them hyper's own timers watch.
const PREFACE: usize = 24;

/// How long what a caller still sends is read once all has been said to it. A socket that is closed on unread bytes
/// resets the connection, and the reset can overtake the last answers (RFC 9112, 9.6): an import that the drain ends
/// would not hear of it while it sends.
const LINGER: Duration = Duration::from_secs(1);

/// Fails to read where the first bytes do not come in time, and reads on for a while when it is shut down.
pub(super) struct Prompt<Io> {
    io: Io,
    waiting: Option<Waiting>,
    lingering: Option<Pin<Box<Sleep>>>,
}

struct Waiting {
    until: Pin<Box<Sleep>>,
    missing: usize,
}

impl<Io> Prompt<Io> {
    /// The first bytes must come within `patience` from now on.
    pub(super) fn new(io: Io, patience: Duration) -> Self {
        Self {
            io,
            waiting: Some(Waiting { until: Box::pin(sleep(patience)), missing: PREFACE }),
            lingering: None,
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Prompt<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let this = &mut *self;
        let Some(waiting) = &mut this.waiting else { return Pin::new(&mut this.io).poll_read(cx, buf) };
        if waiting.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        waiting.missing = waiting.missing.saturating_sub(buf.filled().len() - before);
        if waiting.missing == 0 {
            this.waiting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Prompt<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        let over = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut sink = [0; 4096];
        loop {
            let mut unread = ReadBuf::new(&mut sink);
            match Pin::new(&mut this.io).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                // The caller has closed its side, or is gone.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return over.as_mut().poll(cx).map(Ok),
            }
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_or_too_little_comes_is_given_up() {
        for drips in [0, 1, PREFACE - 1] {
            let (mut client, server) = duplex(64);
            let mut prompt = Prompt::new(server, PATIENCE);
            client.write_all(&vec![b'P'; drips]).await.unwrap();
            let error = prompt.read_exact(&mut [0; PREFACE]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "after {drips} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_once_its_caller_has_read_to_the_end_or_after_a_while() {
        for leaves in [true, false] {
            let (client, server) = duplex(8);
            let mut prompt = Prompt::new(server, PATIENCE);
            let (mut reads, mut sends) = tokio::io::split(client);
            let sending = tokio::spawn(async move {
                // More than fits, as long as somebody takes it.
                for _ in 0..100 {
                    if sends.write_all(b"more").await.is_err() {
                        break;
                    }
                }
                if leaves {
                    sends.shutdown().await.unwrap();
                }
                sends
            });
            prompt.write_all(b"the end").await.unwrap();
            let began = tokio::time::Instant::now();
            prompt.shutdown().await.unwrap();
            assert_eq!(began.elapsed() >= LINGER, !leaves);
            let mut told = String::new();
            drop(prompt);
            reads.read_to_string(&mut told).await.unwrap();
            assert_eq!(told, "the end");
            drop(sending.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn once_it_has_begun_it_may_be_silent() {
        let (mut client, server) = duplex(64);
        let mut prompt = Prompt::new(server, PATIENCE);
        client.write_all(&[b'P'; PREFACE]).await.unwrap();
        prompt.read_exact(&mut [0; PREFACE]).await.unwrap();
        let later = tokio::spawn(async move {
            tokio::time::sleep(100 * PATIENCE).await;
            client.write_all(b"x").await.unwrap();
        });
        assert_eq!(prompt.read_u8().await.unwrap(), b'x');
        later.await.unwrap();
    }
}
