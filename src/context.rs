//! What every call carries with it.

use tokio::time::Instant;

use crate::model::Workspace;

/// Whose call it is and until when it matters.
#[derive(Clone, Debug)]
pub struct Context {
    /// The workspace that the caller acts in, with the key that proves it.
    pub workspace: Workspace,
    /// The instant by which the answer must have left: the caller's deadline less the road back.
    /// `None`: the caller set none.
    pub deadline: Option<Instant>,
}

impl Context {
    /// The same call without an end: for work that must outlive the caller.
    #[must_use]
    pub fn without_deadline(&self) -> Self {
        Self { workspace: self.workspace.clone(), deadline: None }
    }
}
