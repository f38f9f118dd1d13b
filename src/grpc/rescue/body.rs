//! A request's body that says when it broke off.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

/// A request's body whose every break is an error that tonic passes on as it is.
///
/// tonic ends a request's stream in order where its body fails with CANCELLED, and hyper ends a body in
/// order where it is reset with NO_ERROR. HTTP/2 itself knows better: only a caller that half-closed set
/// END_STREAM.
pub struct Inbound<B> {
    inner: B,
    version: Version,
    broken: bool,
}

impl<B> Inbound<B> {
    /// Wraps the body of a request of this HTTP version.
    pub fn new(inner: B, version: Version) -> Self {
        Self { inner, version, broken: false }
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
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
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
