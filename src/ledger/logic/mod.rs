//! What the ledger does, over any store: each command looks at all it needs, then writes, so that a refused
//! one has written nothing.

mod call;
mod claim;
mod expire;
mod header;
mod look;
mod operator;
mod read;
mod refuse;
mod settle;

use std::{ops::Range, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

pub(super) use expire::sweep;
pub(super) use look::pieces;
pub(super) use operator::{doubts, known_messages, list_doubts, scopes, show};
pub(super) use read::{Repeatable, frozen_doubts, known, page};
pub(super) use settle::lose_all_open;

use super::{
    ClaimedItem, Ending, Event, Frozen, Refused, Scope, Verdict,
    codec::{decode, encode},
    tables::{Fault, Tables, TablesMut},
};
use crate::error::{Error, Reason};

/// What changes the ledger.
#[derive(Clone)]
pub(super) enum Command {
    /// A call begins to use an ingestion.
    Open { scope: Scope },
    /// Items were refused here.
    Refuse { scope: Scope, refused: Vec<Refused> },
    /// Items are about to be sent.
    Claim { scope: Scope, items: Vec<ClaimedItem>, frozen: Option<Frozen> },
    /// What became of a claim's items, ascending by index.
    Settle { scope: Scope, pieces: Vec<u64>, events: Vec<(u64, Event)> },
    /// The same, where nobody knows whether that is on record already.
    SettleAgain { scope: Scope, pieces: Vec<u64>, events: Vec<(u64, Event)> },
    /// Nobody can say any more what became of a claim's items.
    Lose { scope: Scope, pieces: Vec<u64> },
    /// A batch is about to be sent once more.
    Attempt { scope: Scope, pieces: Vec<u64> },
    /// A call ended.
    End { scope: Scope, read: Range<u64>, ending: Ending },
    /// An operator knows what became of an item.
    Resolve { scope: Scope, index: u64, verdict: Verdict, by: String, note: String },
}

/// What a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// Whether nothing is on record of the ingestion.
    Opened {
        fresh: bool,
    },
}

/// When a command is done, and by which rule ingestions are forgotten. Milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: i64,
    pub(super) retention: i64,
}

impl Command {
    /// Whether its answer means that it is on the disk. The others only make an ingestion's story rounder:
    /// what a crash or a failure takes of them is told as INTERRUPTED, which is what it was.
    pub(super) fn is_durable(&self) -> bool {
        match self {
            Self::Open { .. } | Self::End { .. } => false,
            Self::Refuse { .. }
            | Self::Claim { .. }
            | Self::Settle { .. }
            | Self::SettleAgain { .. }
            // Nobody waits for it, and nobody would say it again.
            | Self::Lose { .. }
            | Self::Attempt { .. }
            | Self::Resolve { .. } => true,
        }
    }

    /// What is to be done about this command where the store failed before it answered, so that nobody knows
    /// whether it took effect: done as soon as the store works again, before anything else.
    pub(super) fn amends(self) -> Option<Self> {
        match self {
            // Its caller was refused and sent nothing.
            Self::Claim { scope, items, .. } => {
                let mut indexes: Vec<u64> = items.iter().map(|item| item.index).collect();
                indexes.sort_unstable();
                let pieces = pieces(&indexes);
                let events = indexes.into_iter().map(|index| (index, Event::NotApplied)).collect();
                Some(Self::SettleAgain { scope, pieces, events })
            }
            // What is known is known; if nobody can be told of it now, a repeat of the call can.
            Self::Settle { scope, pieces, events } => Some(Self::SettleAgain { scope, pieces, events }),
            again @ (Self::SettleAgain { .. } | Self::Lose { .. }) => Some(again),
            Self::Open { .. }
            | Self::Refuse { .. }
            | Self::Attempt { .. }
            | Self::End { .. }
            | Self::Resolve { .. } => None,
        }
    }
}

/// Does one command.
pub(super) fn apply(tables: &mut dyn TablesMut, command: &Command, moment: Moment) -> Result<Answer, Fault> {
    match command {
        Command::Open { scope } => return call::open(tables, scope, moment),
        Command::Refuse { scope, refused } => refuse::refuse(tables, scope, refused, moment)?,
        Command::Claim { scope, items, frozen } => {
            claim::claim(tables, scope, items, frozen.as_ref(), moment)?;
        }
        Command::Settle { scope, pieces, events } => settle::settle(tables, scope, pieces, events, moment)?,
        Command::SettleAgain { scope, pieces, events } => {
            settle::settle_again(tables, scope, pieces, events, moment)?;
        }
        Command::Lose { scope, pieces } => settle::lose(tables, scope, pieces, moment)?,
        Command::Attempt { scope, pieces } => settle::attempt(tables, scope, pieces)?,
        Command::End { scope, read, ending } => call::end(tables, scope, read, ending, moment)?,
        Command::Resolve { scope, index, verdict, by, note } => {
            operator::resolve(tables, scope, *index, verdict, by, note, moment)?;
        }
    }
    Ok(Answer::Done)
}

fn load<T: DeserializeOwned>(tables: &(impl Tables + ?Sized), key: &[u8]) -> Result<Option<T>, Fault> {
    tables.get(key)?.map(|bytes| decode(&bytes)).transpose()
}

fn save<T: Serialize>(tables: &mut dyn TablesMut, key: Vec<u8>, record: &T) -> Result<(), Fault> {
    tables.put(key, encode(record)?)
}

/// A forbidden transition is a fault of this program: it must be seen, and nothing may be sent on it.
fn forbidden(fault: super::Forbidden) -> Fault {
    tracing::error!(%fault, "forbidden ledger transition");
    Fault::Refused(Error::new(Reason::Internal, fault.to_string()))
}

/// Another fault of this program.
fn broken_rule(message: &'static str) -> Fault {
    tracing::error!(message, "the ledger was asked for something that makes no sense");
    Fault::Refused(Error::new(Reason::Internal, message))
}

/// No room is left below the ledger's bound.
pub(super) fn full() -> Fault {
    Fault::Refused(
        Error::new(
            Reason::LedgerUnavailable,
            "the ledger is full, so nothing is sent: give it more room (--ledger-max-bytes)",
        )
        .retry_after(Duration::from_secs(60)),
    )
}
