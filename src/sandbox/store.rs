//! The emulated workspaces: who may do what, and the campaigns with their messages.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    idempotency::Memory,
    ids::Ids,
    message::Message,
    options::Options,
    resolve::{Change, Contacts},
};

/// A campaign's state, as far as the page tells states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum CampaignState {
    /// Evergreen and running.
    Active,
    Paused,
    Cancelled,
    Failed,
    NotEvergreen,
}

impl CampaignState {
    /// The page's 400 for adding to such a campaign.
    pub(super) fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Active => None,
            Self::Paused => {
                Some("Cannot add contacts while the campaign is paused. Resume the campaign first.")
            }
            Self::Cancelled | Self::Failed => Some("Cannot add contacts to cancelled or failed campaigns"),
            Self::NotEvergreen => Some("Campaign is not an evergreen campaign"),
        }
    }
}

pub(super) struct Workspace {
    pub(super) name: &'static str,
    /// Each of them opens it.
    pub(super) api_keys: Vec<String>,
    pub(super) campaigns_feature: bool,
    pub(super) contacts: Contacts,
}

pub(super) struct Campaign {
    /// Index into `Store::workspaces`.
    pub(super) workspace: usize,
    pub(super) state: CampaignState,
    /// In order of creation, which makes every page but the recently-updated one plain index arithmetic.
    messages: Vec<Message>,
    by_id: HashMap<Arc<str>, usize>,
}

impl Campaign {
    pub(super) fn new(workspace: usize, state: CampaignState) -> Self {
        Self { workspace, state, messages: Vec::new(), by_id: HashMap::new() }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn push(&mut self, message: Message) {
        self.by_id.insert(message.id.clone(), self.messages.len());
        self.messages.push(message);
    }

    /// Forgets the messages after the first `keep`.
    pub(super) fn truncate(&mut self, keep: usize) {
        for message in self.messages.drain(keep..) {
            self.by_id.remove(&message.id);
        }
    }

    pub(super) fn message(&self, id: &str) -> Option<&Message> {
        self.by_id.get(id).map(|&at| &self.messages[at])
    }

    pub(super) fn message_mut(&mut self, id: &str) -> Option<&mut Message> {
        self.by_id.get(id).map(|&at| &mut self.messages[at])
    }
}

/// Everything but time. One lock guards it: no call into it waits for anything.
pub(super) struct Store {
    pub(super) options: Options,
    pub(super) workspaces: Vec<Workspace>,
    /// A campaign's id is unique across workspaces, as the vendor's ids surely are.
    pub(super) campaigns: HashMap<String, Campaign>,
    pub(super) ids: Ids,
    pub(super) idempotency: Memory,
}

impl Store {
    /// An empty one.
    pub(super) fn new(options: Options) -> Self {
        Self {
            ids: Ids::new(options.seed),
            options,
            workspaces: Vec::new(),
            campaigns: HashMap::new(),
            idempotency: Memory::default(),
        }
    }

    /// The index of the workspace that an API key opens.
    pub(super) fn workspace(&self, api_key: &str) -> Option<usize> {
        self.workspaces.iter().position(|workspace| workspace.api_keys.iter().any(|key| key == api_key))
    }

    /// A campaign as its workspace sees it: another workspace's campaign does not exist.
    pub(super) fn campaign(&mut self, workspace: usize, id: &str) -> Option<&mut Campaign> {
        self.campaigns.get_mut(id).filter(|campaign| campaign.workspace == workspace)
    }

    /// Takes a request's work back.
    pub(super) fn undo(&mut self, campaign: &str, messages: usize, changes: Vec<Change>) {
        if let Some(campaign) = self.campaigns.get_mut(campaign) {
            campaign.truncate(messages);
            let contacts = &mut self.workspaces[campaign.workspace].contacts;
            changes.into_iter().rev().for_each(|change| contacts.undo(change));
        }
    }
}
