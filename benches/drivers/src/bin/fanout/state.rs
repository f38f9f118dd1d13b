//! The three states that a message of the bench goes through. It never goes back, so each step can be told
//! once at most.

use drivers::pb::MessageStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Not told of yet.
    Unknown,
    Queued,
    Sending,
    Sent,
}

impl State {
    /// The upstream's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Queued => "QUEUED",
            Self::Sending => "SENDING",
            Self::Sent => "SENT",
        }
    }

    /// As the contract says it.
    pub fn told(status: MessageStatus) -> Option<Self> {
        match status {
            MessageStatus::Unspecified => Some(Self::Unknown),
            MessageStatus::Queued => Some(Self::Queued),
            MessageStatus::Sending => Some(Self::Sending),
            MessageStatus::Sent => Some(Self::Sent),
            _ => None,
        }
    }
}
