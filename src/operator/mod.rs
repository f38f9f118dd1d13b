//! The operator's part: what is in doubt, and a word on it, without a stop of the server.
//!
//! The running server alone has the ledger's file open, so a command asks it over a Unix socket that stands
//! beside the file ([`OperatorSocket`]); with no server running the command opens the file itself. Both ways
//! lead through the same [`Door`] to the same desk, which only shows and records: it never guesses.

mod desk;
mod door;
pub mod protocol;
mod socket;

pub use self::{
    door::{Door, DoorFault},
    socket::{OperatorSocket, SocketFault},
};

#[cfg(test)]
mod tests;
