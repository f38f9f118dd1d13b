//! The keys of the ledger's rows: a byte for the table, then what sorts. Every part but the last has a fixed
//! or a written length, so that no two different keys are the same bytes.

use super::Scope;
use crate::model::{CampaignId, RequestId, WorkspaceId};

/// What kind of row: the first byte of its key. Never change one: files hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    /// Of the ledger as a whole.
    Meta = 0,
    /// An ingestion.
    Header = 1,
    /// A claimed batch, under its first item's index.
    Batch = 2,
    /// Items that were refused here, under the first one's index.
    Refused = 3,
    /// When an ingestion was used, by time.
    Use = 4,
    /// A batch on its way: what a crash leaves in flight.
    Open = 5,
    /// A batch with items in doubt.
    Doubt = 6,
    /// How many items of a campaign are in doubt.
    CampaignDoubt = 7,
    /// The bytes by which a batch can be sent again.
    Frozen = 8,
    /// What an operator decided of an item.
    Audit = 9,
}

/// Every table with rows of one ingestion under the ingestion's own prefix.
pub(super) const OF_A_SCOPE: [Table; 6] =
    [Table::Batch, Table::Refused, Table::Open, Table::Doubt, Table::Frozen, Table::Audit];

fn start(table: Table, room: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + room);
    key.push(table as u8);
    key
}

/// The first key behind a table.
pub(super) fn end_of(table: Table) -> Vec<u8> {
    vec![table as u8 + 1]
}

/// The first key of a table.
pub(super) fn start_of(table: Table) -> Vec<u8> {
    vec![table as u8]
}

fn push_campaign(key: &mut Vec<u8>, workspace: WorkspaceId, campaign: &CampaignId) {
    key.extend_from_slice(&workspace.0);
    let campaign = campaign.as_str().as_bytes();
    // An id has at most 256 bytes, a request id 128.
    key.extend_from_slice(&(campaign.len() as u16).to_be_bytes());
    key.extend_from_slice(campaign);
}

fn push_scope(key: &mut Vec<u8>, scope: &Scope) {
    push_campaign(key, scope.workspace, &scope.campaign);
    let request_id = scope.request_id.as_str().as_bytes();
    key.push(request_id.len() as u8);
    key.extend_from_slice(request_id);
}

/// A row of a campaign, and the prefix of its ingestions' rows.
pub(super) fn campaign(table: Table, workspace: WorkspaceId, campaign: &CampaignId) -> Vec<u8> {
    let mut key = start(table, 32 + campaign.as_str().len());
    push_campaign(&mut key, workspace, campaign);
    key
}

/// A row of an ingestion, and the prefix of its items' rows.
pub(super) fn scope(table: Table, scope: &Scope) -> Vec<u8> {
    let mut key = start(table, 40 + scope.campaign.as_str().len() + scope.request_id.as_str().len());
    push_scope(&mut key, scope);
    key
}

/// A row at an index of an ingestion.
pub(super) fn at(table: Table, within: &Scope, index: u64) -> Vec<u8> {
    let mut key = scope(table, within);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// An ingestion's place among all uses.
pub(super) fn used(at: i64, within: &Scope) -> Vec<u8> {
    let mut key = start(Table::Use, 160);
    key.extend_from_slice(&u64::try_from(at).unwrap_or(0).to_be_bytes());
    push_scope(&mut key, within);
    key
}

/// The first key after all that begin with `prefix`.
pub(super) fn after(mut prefix: Vec<u8>) -> Vec<u8> {
    // The first byte is a table's, so one below 255 is always found.
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

/// Reads a key of a table whose rows lie at an index.
pub(super) fn parse_at(key: &[u8]) -> Option<(Scope, u64)> {
    let (scope, rest) = parse_scope(key.get(1..)?)?;
    Some((scope, u64::from_be_bytes(rest.try_into().ok()?)))
}

/// Reads the workspace of a key of `Table::Header`.
pub(super) fn workspace(key: &[u8]) -> Option<WorkspaceId> {
    key.get(1..)?.first_chunk().map(|id| WorkspaceId(*id))
}

/// The first key of a table behind all of a workspace's.
pub(super) fn after_workspace(table: Table, workspace: WorkspaceId) -> Vec<u8> {
    let mut key = start(table, 16);
    key.extend_from_slice(&workspace.0);
    after(key)
}

/// Reads the index at the end of a key.
pub(super) fn index(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|last| u64::from_be_bytes(*last))
}

/// Reads a key of `Table::Use`.
pub(super) fn parse_used(key: &[u8]) -> Option<(i64, Scope)> {
    let (at, rest) = key.get(1..)?.split_first_chunk()?;
    let (scope, rest) = parse_scope(rest)?;
    (rest.is_empty()).then_some((i64::try_from(u64::from_be_bytes(*at)).ok()?, scope))
}

fn parse_scope(bytes: &[u8]) -> Option<(Scope, &[u8])> {
    let (workspace, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (campaign, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (length, rest) = rest.split_first()?;
    let (request_id, rest) = rest.split_at_checked(usize::from(*length))?;
    let scope = Scope {
        workspace: WorkspaceId(*workspace),
        campaign: CampaignId::parse(std::str::from_utf8(campaign).ok()?).ok()?,
        request_id: RequestId::parse(std::str::from_utf8(request_id).ok()?).ok()?,
    };
    Some((scope, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scope_of(campaign: &str, request_id: &str) -> Scope {
        Scope {
            workspace: WorkspaceId([255; 16]),
            campaign: CampaignId::parse(campaign).unwrap(),
            request_id: RequestId::parse(request_id).unwrap(),
        }
    }

    #[test]
    fn keys_of_one_ingestion_lie_together_and_read_back() {
        for scope_ in [scope_of("c", "r"), scope_of(&"\u{ff}".repeat(128), &"x".repeat(128))] {
            let prefix = scope(Table::Batch, &scope_);
            for index in [0, 1, 255, u64::MAX] {
                let key = at(Table::Batch, &scope_, index);
                assert!(prefix <= key && key < after(prefix.clone()));
                assert_eq!(parse_at(&key).unwrap(), (scope_.clone(), index));
            }
            let key = used(1_234_567_890_123, &scope_);
            assert_eq!(parse_used(&key).unwrap(), (1_234_567_890_123, scope_));
        }
    }

    #[test]
    fn no_ingestions_rows_lie_within_anothers() {
        let names = ["a", "ab", "b", "a-b", "aa"];
        let scopes: Vec<Scope> = names.iter().flat_map(|c| names.iter().map(|r| scope_of(c, r))).collect();
        for one in &scopes {
            let (from, to) = (scope(Table::Batch, one), after(scope(Table::Batch, one)));
            for other in scopes.iter().filter(|other| *other != one) {
                let key = at(Table::Batch, other, 7);
                assert!(key < from || key >= to, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_key_that_is_cut_short_does_not_read() {
        let whole = at(Table::Batch, &scope_of("camp", "req"), 3);
        for length in 0..whole.len() {
            assert!(parse_at(&whole[..length]).is_none());
        }
    }
}
