//! A connection that must begin soon: one on which nothing comes holds a place that others need.

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

/// Fails to read where the first bytes do not come in time.
pub(super) struct Prompt<Io> {
    io: Io,
    waiting: Option<Waiting>,
}

struct Waiting {
    until: Pin<Box<Sleep>>,
    missing: usize,
}

impl<Io> Prompt<Io> {
    /// The first bytes must come within `patience` from now on.
    pub(super) fn new(io: Io, patience: Duration) -> Self {
        Self { io, waiting: Some(Waiting { until: Box::pin(sleep(patience)), missing: PREFACE }) }
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

impl<Io: AsyncWrite + Unpin> AsyncWrite for Prompt<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
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
