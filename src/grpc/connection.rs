//! What a call knows of the connection that it came by.

use futures_util::{Stream, StreamExt as _, stream::unfold};
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Status};

use super::status::status;
use crate::error::{Error, Reason};

/// An extension of each request: cancelled once its connection is to end, since the server drains or the
/// connection has grown old.
#[derive(Clone, Debug)]
pub struct Leaving(pub CancellationToken);

impl Leaving {
    /// Of the connection that a request came by. (Without one, in tests of a handler alone, never.)
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(|| Self(CancellationToken::new()))
    }
}

/// Answers that can be gone on with elsewhere: they end with their connection, in words that say so. Otherwise a
/// watch, which has no end of its own, would hold an old connection for as long as it is let.
pub(super) fn until_it_leaves<T>(
    leaving: Leaving,
    answers: impl Stream<Item = Result<T, Status>> + Send + Unpin,
) -> impl Stream<Item = Result<T, Status>> + Send {
    unfold(Some((answers, leaving.0)), async |state| {
        let (mut answers, leaving) = state?;
        tokio::select! {
            biased;
            // What is there is told first, and the hub's own word about a drain.
            answer = answers.next() => answer.map(|answer| (answer, Some((answers, leaving)))),
            () = leaving.cancelled() => Some((Err(moved_on()), None)),
        }
    })
}

fn moved_on() -> Status {
    status(&Error::new(
        Reason::ServerDraining,
        "this connection is to end, so that callers spread over the servers anew; go on with the last resume_token",
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn what_is_there_is_told_then_the_end_of_the_connection_and_nothing_after_it() {
        let leaving = CancellationToken::new();
        let mut extensions = Extensions::new();
        extensions.insert(Leaving(leaving.clone()));
        let answers = stream::iter([Ok(1), Ok(2)]).chain(stream::pending());
        let mut told = Box::pin(until_it_leaves(Leaving::of(&extensions), answers));
        leaving.cancel();
        assert_eq!((told.next().await.unwrap().unwrap(), told.next().await.unwrap().unwrap()), (1, 2));
        let end = told.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), tonic::Code::Unavailable);
        assert!(told.next().await.is_none());
    }

    #[tokio::test]
    async fn an_end_of_their_own_stays_as_it_is() {
        let told =
            until_it_leaves(Leaving::of(&Extensions::new()), stream::iter([Ok(1)])).collect::<Vec<_>>().await;
        assert_eq!(told.len(), 1);
    }
}
