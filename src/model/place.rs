//! Where a watch stands: what its resume token holds.

use chrono::{DateTime, Utc};

/// Where a watch stands after something was told. A number is a change's, in the history that the epoch
/// names; it means nothing in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchPlace {
    /// Nothing has been told that counts: a watch that waits for its first poll, or was just reset.
    Start {
        /// Whether the present state is told first.
        snapshot: bool,
    },
    /// In the midst of the present state, as it was after the change `head`.
    Telling {
        /// Of which history.
        epoch: u64,
        /// The newest change in the state that is being told.
        head: u64,
        /// All messages whose last change in it was this one or an earlier one have been looked at.
        through: u64,
        /// How many messages were told.
        told: u64,
        /// When the poll behind it began.
        began: DateTime<Utc>,
    },
    /// Past the present state.
    Following {
        /// Of which history.
        epoch: u64,
        /// All up to here has been told.
        base: u64,
        /// All up to here has been looked at.
        at: u64,
        /// All changes of a message up to here are told as one, against what it was at `base`.
        until: u64,
    },
}
