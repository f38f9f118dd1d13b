//! A request's body that says when it broke off, or went silent.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::Status;

/// A request's body whose every break is an error that tonic passes on as it is.
///
/// tonic ends a request's stream in order where its body fails with CANCELLED, and hyper ends a body in
/// order where it is reset with NO_ERROR. HTTP/2 itself knows better: only a caller that half-closed set
/// END_STREAM.
///
/// It is waited for so long and no longer: silence counts from the moment at which the handler wants more.
pub struct Inbound<B> {
    inner: B,
    version: Version,
    idle: Duration,
    silent: Silence,
    broken: bool,
}

/// How long nothing has come.
#[derive(Default)]
enum Silence {
    /// Nothing is waited for.
    #[default]
    No,
    /// It is waited for until then.
    Until(Pin<Box<Sleep>>),
    /// It is not, and the timer is kept for the next time.
    Paused(Pin<Box<Sleep>>),
}

impl<B> Inbound<B> {
    /// Wraps the body of a request of this HTTP version, which may be silent for `idle`.
    pub fn new(inner: B, version: Version, idle: Duration) -> Self {
        Self { inner, version, idle, silent: Silence::No, broken: false }
    }

    /// Nothing has come: ready once that has lasted too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = match std::mem::take(&mut self.silent) {
            Silence::No => Box::pin(sleep(self.idle)),
            Silence::Until(timer) => timer,
            Silence::Paused(mut timer) => {
                timer.as_mut().reset(Instant::now() + self.idle);
                timer
            }
        };
        let over = timer.as_mut().poll(cx);
        self.silent = Silence::Until(timer);
        over
    }

    fn has_come(&mut self) {
        self.silent = match std::mem::take(&mut self.silent) {
            Silence::Until(timer) => Silence::Paused(timer),
            other => other,
        };
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Inbound<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.broken {
            return Poll::Ready(Some(Err(gone())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if self.poll_silence(cx).is_pending() {
                return Poll::Pending;
            }
            self.broken = true;
            return Poll::Ready(Some(Err(silent())));
        };
        self.has_come();
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            // Over HTTP/1 a cut body is an error already, and hyper does not tell its end.
            None if self.version != Version::HTTP_2 || self.inner.is_end_stream() => None,
            None | Some(Err(_)) => {
                self.broken = true;
                Some(Err(gone()))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.broken && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Any code but those of tonic's own decoding errors, and CANCELLED, which tonic swallows.
fn gone() -> Status {
    Status::aborted("the request's stream broke off")
}

/// Known by its code.
fn silent() -> Status {
    Status::deadline_exceeded("nothing came for too long")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use tokio::{sync::mpsc, time::advance};

    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    /// What a test sends.
    struct Sent(mpsc::Receiver<Bytes>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn body() -> (mpsc::Sender<Bytes>, Inbound<Sent>) {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Inbound::new(Sent(receiver), Version::HTTP_11, IDLE))
    }

    async fn next(body: &mut Inbound<Sent>) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stays_silent_while_it_is_waited_for_ends_in_an_error_for_good() {
        let (sender, mut body) = body();
        let began = Instant::now();
        for _ in 0..2 {
            let error = next(&mut body).await.unwrap().err().unwrap();
            assert!(matches!(error.code(), tonic::Code::DeadlineExceeded | tonic::Code::Aborted));
            assert_eq!(began.elapsed().as_secs(), IDLE.as_secs());
        }
        drop(sender);
    }

    #[tokio::test(start_paused = true)]
    async fn only_silence_that_is_waited_for_counts() {
        let (sender, mut body) = body();
        let sending = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
                sender.send(Bytes::from_static(b"x")).await.unwrap();
            }
            sender
        });
        for _ in 0..5 {
            assert!(next(&mut body).await.unwrap().is_ok());
            // The handler is busy with what came: that is not the caller's silence.
            advance(3 * IDLE).await;
        }
        drop(sending.await.unwrap());
        assert!(next(&mut body).await.is_none());
    }
}
