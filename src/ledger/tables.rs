//! What the ledger's logic needs of a store: rows by key, inside one transaction.

use crate::error::{Error, Reason};

/// Why a command came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// This command cannot be done. It has written nothing: others of its transaction are unharmed.
    Refused(Error),
    /// The store failed; nothing of the transaction counts.
    Broken(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A record that does not read: a flipped bit, most likely. Nothing may be sent on it.
pub(super) fn damaged() -> Fault {
    tracing::error!("a record of the ledger is damaged: restore the ledger from a backup");
    Fault::Refused(Error::new(
        Reason::LedgerUnavailable,
        "a record of the ledger is damaged, so nothing is sent: the operator must restore it from a backup",
    ))
}

/// What is shown rows, key and value, until it says `false`.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, Fault> + 'a;

/// Rows as one transaction sees them. A key begins with its table's byte (see [`key`](super::key)).
pub(super) trait Tables {
    /// The row under this key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;

    /// Shows every row with `from <= key < to`, in order, until `visit` says `false`.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), Fault>;
}

/// A transaction that also writes. A command checks all that it checks before its first write, so that one
/// which is refused leaves the transaction as it was.
pub(super) trait TablesMut: Tables {
    /// Puts a row, in place of the one that was there.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), Fault>;

    /// Removes a row, if it is there.
    fn remove(&mut self, key: &[u8]) -> Result<(), Fault>;

    /// Whether so many more bytes fit below the ledger's bound.
    fn has_room(&self, bytes: usize) -> bool;
}
