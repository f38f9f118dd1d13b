//! Who has to know of this server's own writes, so that its next answers show them.

use super::{cache::Cache, watch::Hub};
use crate::{
    error::Error,
    model::{CampaignId, MessageId, WorkspaceId},
};

/// Tells of writes. Cheap to clone.
#[derive(Clone)]
pub struct Writes {
    cache: Cache,
    hub: Hub,
}

impl Writes {
    /// Tells these two.
    pub fn new(cache: Cache, hub: Hub) -> Self {
        Self { cache, hub }
    }

    /// Takes it that a write failed: a refused key opens nothing any more.
    pub fn failed(&self, workspace: WorkspaceId, error: &Error) {
        self.cache.failed(workspace, error);
    }

    /// Takes it that messages may have been added to a campaign.
    pub fn added(&self, workspace: WorkspaceId, campaign: &CampaignId) {
        self.cache.added(workspace, campaign);
        self.hub.wrote(workspace, campaign);
    }

    /// Takes it that a message may have been cancelled.
    pub fn cancelled(&self, workspace: WorkspaceId, campaign: &CampaignId, id: &MessageId) {
        self.cache.cancelled(workspace, campaign, id);
        self.hub.wrote(workspace, campaign);
    }
}
