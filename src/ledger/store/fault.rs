//! Why a ledger cannot be opened, and what to do about it.

use std::io;

use redb::{DatabaseError, StorageError};

/// Why a ledger cannot be opened. Each text says what to do. Nothing was sent, and nothing that exists was changed
/// or replaced.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// Another process has it open.
    #[error(
        "another blubash-grpc uses {place}: stop it, or give this one a ledger of its own (two that share one \
         could message people twice)"
    )]
    Locked {
        /// Which ledger.
        place: String,
    },
    /// What is there is something else.
    #[error("{place} is not a ledger of blubash-grpc: name another file (this one is left as it is)")]
    NotALedger {
        /// Which file.
        place: String,
    },
    /// It cannot be trusted any more.
    #[error(
        "{place} is damaged ({what}), so it is not used: restore it from a backup. It is never repaired by \
         guessing, deleted or made anew, because a ledger that forgets messages people twice; if you move it \
         away, repeated request_ids send their items again"
    )]
    Damaged {
        /// Which ledger.
        place: String,
        /// What was found.
        what: String,
    },
    /// It was written under another key.
    #[error(
        "{place} was written under another secret: start with the secret file that belongs to it (--secret-file)"
    )]
    OtherSecret {
        /// Which ledger.
        place: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "{place} has format {found}, and this version reads format {known}: use the version that wrote it"
    )]
    OtherFormat {
        /// Which ledger.
        place: String,
        /// Its format.
        found: u8,
        /// This version's.
        known: u8,
    },
    /// It may not be written.
    #[error(
        "{place} cannot be written: {source}; make it and its folder writable by the user that runs this server"
    )]
    NotWritable {
        /// Which ledger.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room for it.
    #[error("{place} cannot be written, because its disk is full: make room, and start again")]
    NoSpace {
        /// Which ledger.
        place: String,
    },
    /// The system refuses, for another reason.
    #[error(
        "{place} cannot be opened: {source}; name a file on a local disk, in a folder that can be made or exists"
    )]
    Io {
        /// Which ledger.
        place: String,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenFault {
    pub(super) fn io(place: &str, source: io::Error) -> Self {
        let place = place.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { place, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { place },
            // So redb calls a file that does not begin as its own do.
            io::ErrorKind::InvalidData => Self::NotALedger { place },
            io::ErrorKind::UnexpectedEof => Self::Damaged { place, what: "it is cut short".into() },
            _ => Self::Io { place, source },
        }
    }

    pub(super) fn damaged(place: &str, what: impl Into<String>) -> Self {
        Self::Damaged { place: place.to_owned(), what: what.into() }
    }

    pub(super) fn database(place: &str, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                Self::Locked { place: place.to_owned() }
            }
            DatabaseError::UpgradeRequired(_) => Self::NotALedger { place: place.to_owned() },
            DatabaseError::Storage(StorageError::Io(error)) => Self::io(place, error),
            error => Self::damaged(place, error.to_string()),
        }
    }

    /// A failure after the database was opened.
    pub(super) fn later(place: &str, error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::io(place, error),
            error => Self::damaged(place, error.to_string()),
        }
    }
}
