//! Answers an operator's requests from a ledger: the running server's, or one opened for the purpose.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use super::protocol::{Audit, Cause, Counts, Doubt, Doubts, IngestionName, Item, Request, Shown, Verdict};
use crate::{
    error::Error,
    ledger::{self, Doubted, Ledger, Scope, ShownItem, ShownState, State},
    model::{CampaignId, IngestionState, MessageId, RequestId, WorkspaceId},
};

/// Batches that are read from the ledger at once.
const PAGE: usize = 500;

/// The most items of one answer.
const MAX_ITEMS: usize = 1_000;

/// The longest name and note of an operator, in bytes.
const MAX_BY: usize = 128;
const MAX_NOTE: usize = 1_000;

/// Where an operator's requests are answered. One a conversation.
pub(super) struct Desk {
    ledger: Ledger,
    /// The operator's user, as the system knows it: what goes on record beside the name that they give.
    uid: Option<u32>,
    /// Whether the ledger is a server's, and so has its settings.
    is_servers: bool,
    /// The messages on record of one campaign, read once in a conversation.
    named: Option<((WorkspaceId, CampaignId), HashSet<MessageId>)>,
}

impl Desk {
    /// At a server's ledger, for the operator at the other end of a socket.
    pub(super) fn of_server(ledger: Ledger, uid: Option<u32>) -> Self {
        Self { ledger, uid, is_servers: true, named: None }
    }

    /// At a ledger that the operator's own process has opened.
    pub(super) fn of_operator(ledger: Ledger, uid: Option<u32>) -> Self {
        Self { ledger, uid, is_servers: false, named: None }
    }

    /// The answer, or what to say to the operator instead.
    pub(super) async fn answer(&mut self, request: Request) -> Result<Value, String> {
        match request {
            Request::Doubts { campaign, limit } => json(&self.doubts(campaign.as_deref(), limit).await?),
            Request::Find { campaign, request_id } => json(&self.find(&campaign, &request_id).await?),
            Request::Show { of, from, limit } => json(&self.show(&of, from, limit).await?),
            Request::Resolve { of, index, verdict, by, note } => {
                json(&self.resolve(&of, index, verdict, &by, &note).await?)
            }
            Request::Unnamed { workspace, campaign, messages } => {
                json(&self.unnamed(&workspace, &campaign, messages).await?)
            }
        }
    }

    async fn doubts(&self, campaign: Option<&str>, limit: usize) -> Result<Doubts, String> {
        let mut found = Doubts { batches: Vec::new(), items: 0, in_batches: 0 };
        let mut after = None;
        loop {
            let page = self.ledger.list_doubts(after, PAGE).await.map_err(told)?;
            for doubted in page.entries {
                if campaign.is_some_and(|campaign| campaign != doubted.scope.campaign.as_str()) {
                    continue;
                }
                found.items += doubted.indexes.len() as u64;
                found.in_batches += 1;
                found.batches.push(doubt(doubted));
            }
            // The ledger lists them by name; the oldest of them must not be lost for that.
            if found.batches.len() > limit.saturating_add(PAGE) || page.next.is_none() {
                found.batches.sort_by_key(|doubt| doubt.claim_time);
                found.batches.truncate(limit);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    async fn find(&self, campaign: &str, request_id: &str) -> Result<Vec<IngestionName>, String> {
        let (campaign, request_id) = (campaign_id(campaign)?, self::request_id(request_id)?);
        let found = self.ledger.scopes(&campaign, &request_id).await.map_err(told)?;
        Ok(found.iter().map(name).collect())
    }

    async fn show(&self, of: &IngestionName, from: u64, limit: usize) -> Result<Option<Shown>, String> {
        let scope = scope(of)?;
        let shown = self.ledger.show(&scope, from, limit.min(MAX_ITEMS)).await.map_err(told)?;
        Ok(shown.map(|shown| Shown {
            state: match shown.state {
                IngestionState::Running => "RUNNING",
                IngestionState::Ended => "ENDED",
                IngestionState::Interrupted => "INTERRUPTED",
            }
            .to_owned(),
            create_time: shown.create_time,
            expire_time: self.is_servers.then_some(shown.expire_time),
            summary: Counts {
                received: shown.summary.received,
                added: shown.summary.added,
                rejected: shown.summary.rejected,
                in_doubt: shown.summary.in_doubt,
                pending: shown.summary.pending,
                invalid: shown.summary.invalid,
                not_attempted: shown.summary.not_attempted,
            },
            items: shown.items.into_iter().map(item).collect(),
            next: shown.next,
        }))
    }

    async fn resolve(
        &mut self,
        of: &IngestionName,
        index: u64,
        verdict: Verdict,
        by: &str,
        note: &str,
    ) -> Result<(), String> {
        let scope = scope(of)?;
        let by = match self.uid {
            Some(uid) => format!("{by} (uid {uid})"),
            None => by.to_owned(),
        };
        for (name, text, most) in [("the name", by.as_str(), MAX_BY), ("the note", note, MAX_NOTE)] {
            if text.trim().is_empty() || text.len() > most || text.chars().any(char::is_control) {
                return Err(format!("{name} must be one line of 1 to {most} bytes"));
            }
        }
        let verdict = match verdict {
            Verdict::Rejected => ledger::Verdict::Rejected,
            Verdict::Added(id) => {
                let id = message_id(&id)?;
                // One message is one item's: named twice, it would hide that another item's fate is unknown.
                self.named = None;
                if self.named(scope.workspace, &scope.campaign).await?.contains(&id) {
                    return Err(format!("message {} is on record as another item's already", id.as_str()));
                }
                ledger::Verdict::Added(id)
            }
        };
        self.ledger.resolve(&scope, index, verdict, &by, note).await.map_err(told)?;
        // The log has no note: what people write may be about a person.
        tracing::info!(workspace = ?scope.workspace, campaign = scope.campaign.as_str(),
            request_id = scope.request_id.as_str(), index, by, "an operator resolved an item in doubt");
        Ok(())
    }

    async fn unnamed(
        &mut self,
        workspace: &str,
        campaign: &str,
        messages: Vec<String>,
    ) -> Result<Vec<String>, String> {
        let (workspace, campaign) = (workspace_id(workspace)?, campaign_id(campaign)?);
        let named = self.named(workspace, &campaign).await?;
        let is_unnamed =
            |id: &String| MessageId::from_upstream(id.clone()).is_none_or(|id| !named.contains(&id));
        Ok(messages.into_iter().filter(is_unnamed).collect())
    }

    async fn named(
        &mut self,
        workspace: WorkspaceId,
        campaign: &CampaignId,
    ) -> Result<&HashSet<MessageId>, String> {
        let known = match self.named.take() {
            Some((of, known)) if of == (workspace, campaign.clone()) => known,
            _ => self.ledger.known_messages(workspace, campaign).await.map_err(told)?,
        };
        Ok(&self.named.insert(((workspace, campaign.clone()), known)).1)
    }
}

fn json(answer: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| format!("the answer cannot be written: {error}"))
}

fn told(error: Error) -> String {
    error.message().to_owned()
}

fn scope(of: &IngestionName) -> Result<Scope, String> {
    Ok(Scope {
        workspace: workspace_id(&of.workspace)?,
        campaign: campaign_id(&of.campaign)?,
        request_id: request_id(&of.request_id)?,
    })
}

fn workspace_id(text: &str) -> Result<WorkspaceId, String> {
    WorkspaceId::from_hex(text).ok_or_else(|| "the workspace must be named by its 32 hex digits".to_owned())
}

fn campaign_id(text: &str) -> Result<CampaignId, String> {
    CampaignId::parse(text).map_err(|fault| format!("the campaign's id {}", fault.message()))
}

fn request_id(text: &str) -> Result<RequestId, String> {
    RequestId::parse(text).map_err(|fault| format!("the request_id {}", fault.message()))
}

fn message_id(text: &str) -> Result<MessageId, String> {
    MessageId::parse(text).map_err(|fault| format!("the message's id {}", fault.message()))
}

fn name(scope: &Scope) -> IngestionName {
    IngestionName {
        workspace: scope.workspace.to_hex(),
        campaign: scope.campaign.as_str().to_owned(),
        request_id: scope.request_id.as_str().to_owned(),
    }
}

fn cause(error: &Error) -> Cause {
    Cause { reason: error.reason().name().to_owned(), message: error.message().to_owned() }
}

fn doubt(doubted: Doubted) -> Doubt {
    Doubt {
        of: name(&doubted.scope),
        items: doubted.indexes.len() as u64,
        cause: cause(&doubted.cause),
        indexes: doubted.indexes,
        claim_time: doubted.claimed_at,
        attempts: doubted.attempts,
    }
}

fn item(shown: ShownItem) -> Item {
    let (disposition, added, why) = match &shown.state {
        ShownState::Sent(State::InFlight) => ("PENDING", None, None),
        ShownState::Sent(State::Added(added)) => ("ADDED", Some(added), None),
        ShownState::Sent(State::Rejected(error)) => ("REJECTED", None, Some(error)),
        ShownState::Sent(State::InDoubt(error)) => ("IN_DOUBT", None, Some(error)),
        ShownState::Invalid(error) => ("INVALID", None, Some(error)),
    };
    Item {
        index: shown.index,
        disposition: disposition.to_owned(),
        message_id: added.map(|added| added.message_id.as_str().to_owned()),
        contact_id: added.map(|added| added.contact_id.clone()).filter(|id| !id.is_empty()),
        cause: why.map(cause),
        item_id: shown.item_id,
        claim_time: shown.claimed_at,
        attempts: shown.attempts,
        audit: shown.audit.into_iter().map(audit).collect(),
    }
}

fn audit(audit: ledger::Audit) -> Audit {
    let verdict = match audit.verdict {
        ledger::Verdict::Added(id) => Verdict::Added(id.as_str().to_owned()),
        ledger::Verdict::Rejected => Verdict::Rejected,
    };
    Audit { at: audit.at, by: audit.by, verdict, note: audit.note }
}
