//! How long a call may wait before it is sent.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::evidence::DEFAULT_RETRY_AFTER;
use crate::error::{Error, Reason};

/// The instant after which no attempt may begin, and whose word that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// No attempt begins after this; a read ends here.
    pub(super) until: Instant,
    /// Whether `until` is the caller's own deadline. Otherwise it is the operation timeout's end.
    pub(super) is_callers: bool,
}

impl Patience {
    /// Until the caller's deadline, but for so long at most.
    pub(super) fn of(deadline: Option<Instant>, at_most: Duration) -> Self {
        let own = Instant::now() + at_most;
        let callers = deadline.filter(|deadline| *deadline <= own);
        Self { until: callers.unwrap_or(own), is_callers: callers.is_some() }
    }

    /// Whether there still is time after such a wait.
    pub(super) fn lasts(&self, wait: Duration) -> bool {
        Instant::now() + wait < self.until
    }

    /// Whether there is none left.
    pub(super) fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }

    /// Waits as long as there is time.
    pub(super) async fn wait<F: Future>(&self, work: F) -> Result<F::Output, Error> {
        timeout_at(self.until, work).await.map_err(|_| self.exhausted())
    }

    /// The time passed while the call waited to be sent: nothing was.
    pub(super) fn exhausted(&self) -> Error {
        if self.is_callers {
            Error::new(Reason::DeadlineExceeded, "the deadline passed before the call could be sent")
        } else {
            overloaded().retry_after(DEFAULT_RETRY_AFTER)
        }
    }

    /// The time passed before the upstream answered a read.
    pub(super) fn unanswered(&self) -> Error {
        if self.is_callers {
            Error::new(Reason::DeadlineExceeded, "the deadline passed before the upstream answered")
        } else {
            Error::new(
                Reason::UpstreamUnavailable,
                "the upstream did not answer within the operation timeout",
            )
            .retry_after(DEFAULT_RETRY_AFTER)
        }
    }
}

/// The contract's word for a quota of this server's own that is used up.
pub(super) fn overloaded() -> Error {
    Error::new(
        Reason::Overloaded,
        "this workspace's share of calls to the upstream is used up: the call was not sent",
    )
}
