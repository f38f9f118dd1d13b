//! For how long a caller may be where it was let in: a stream can outlive the right to it.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream::unfold};
use tonic::Status;

use crate::{
    access::{Access, Right, Shown},
    error::Error,
    grpc::status::status,
};

/// What a caller was let in with.
#[derive(Debug)]
pub struct Pass(Option<Box<Grant>>);

#[derive(Debug)]
struct Grant {
    access: Access,
    shown: Shown,
    workspace: Arc<str>,
    wants: Right,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Pass {
    /// For a caller with a key of its own: the upstream sees to it.
    pub(super) fn unlimited() -> Self {
        Self(None)
    }

    /// For as long as this is granted.
    pub(super) fn until_withdrawn(access: Access, shown: Shown, workspace: Arc<str>, wants: Right) -> Self {
        Self(Some(Box::new(Grant { access, shown, workspace, wants })))
    }

    /// Waits until the caller may be there no longer, and says why.
    pub async fn withdrawn(self) -> Error {
        match self.0 {
            None => std::future::pending().await,
            Some(grant) => {
                let Grant { access, shown, workspace, wants } = *grant;
                access.withdrawn(shown, workspace, wants).await
            }
        }
    }

    /// These answers, until the caller may have them no longer: then the error, as `told` makes it, is the last.
    pub fn guard<T: Send + 'static>(self, answers: Answers<T>, told: fn(Error) -> Error) -> Answers<T> {
        if self.0.is_none() {
            return answers;
        }
        let running = Some((answers, Box::pin(self.withdrawn())));
        Box::pin(unfold(running, move |running| async move {
            let (mut answers, mut withdrawn) = running?;
            tokio::select! {
                biased;
                error = &mut withdrawn => Some((Err(status(&told(error))), None)),
                answer = answers.next() => Some((answer?, Some((answers, withdrawn)))),
            }
        }))
    }
}
