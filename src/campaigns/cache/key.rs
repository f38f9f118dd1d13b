//! What is kept, under which name. A name begins with a workspace, so that none can be found from another's.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::fence::Stamp;
use crate::{
    error::Error,
    model::{CampaignId, Counts, Message, MessageId, Observed, Page, Slice, WorkspaceId},
    upstream::RawPage,
};

/// Whose it is, and of which campaign. `purges` is another number after each purge of the workspace, so that
/// what was kept before is found no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) workspace: WorkspaceId,
    pub(super) purges: u64,
    pub(super) campaign: CampaignId,
}

/// The name of something kept. `lists` is another number after each write of this server in the campaign.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A message, by its id in lower case: the upstream writes one id in more than one way.
    Message {
        scope: Scope,
        id: Arc<str>,
    },
    Page {
        scope: Scope,
        lists: u64,
        slice: Slice,
    },
    Counts {
        scope: Scope,
        lists: u64,
    },
}

impl Key {
    pub(super) fn message(scope: Scope, id: &MessageId) -> Self {
        let written = id.as_str();
        let id = if written.bytes().any(|byte| byte.is_ascii_uppercase()) {
            written.to_ascii_lowercase().into()
        } else {
            written.into()
        };
        Self::Message { scope, id }
    }

    pub(super) fn scope(&self) -> &Scope {
        match self {
            Self::Message { scope, .. } | Self::Page { scope, .. } | Self::Counts { scope, .. } => scope,
        }
    }
}

/// What is kept.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Message(Observed<Arc<Message>>),
    /// The upstream has no such message: its answer, and the `lists` of then. An add outdates it.
    Missing {
        error: Error,
        lists: u64,
    },
    Page(Observed<Sheet>),
    Counts(Observed<Counts>),
}

/// A page, as it is kept. Who asked for it takes it as it was read; whoever comes later reads it again.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    raw: RawPage,
    read: Arc<Mutex<Option<Page>>>,
}

impl Sheet {
    pub(super) fn new((page, raw): (Page, RawPage)) -> Self {
        Self { raw, read: Arc::new(Mutex::new(Some(page))) }
    }

    pub(super) fn read(&self) -> Result<Page, Error> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
        read.map_or_else(|| self.raw.read(), Ok)
    }
}

/// When a read began: before its first request was sent.
#[derive(Clone, Copy, Debug)]
pub struct ReadStart {
    pub(super) stamp: Stamp,
    pub(super) at: Instant,
}

/// Something kept, and from when.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) start: ReadStart,
}

impl Entry {
    /// About how many bytes it takes, with its name.
    pub(super) fn weight(&self) -> u32 {
        // The structs themselves, the store's own links, and the overhead of a few allocations.
        const OVERHEAD: usize = 400;
        let value = match &self.value {
            Value::Message(message) => message.value.weight(),
            Value::Missing { .. } => 200,
            Value::Page(sheet) => sheet.value.raw.weight(),
            Value::Counts(_) => 0,
        };
        u32::try_from(OVERHEAD + value).unwrap_or(u32::MAX)
    }
}
