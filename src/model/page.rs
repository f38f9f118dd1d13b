//! Pages of an offset-paginated list, and when they were seen.

use chrono::{DateTime, Utc};

use super::Message;

/// Which part of a list to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Entries to skip.
    pub offset: u64,
    /// Entries wanted, at least 1. The upstream may send fewer (it may cap `limit`), or more.
    pub limit: u32,
}

/// One page as the upstream sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The entries in the upstream's order. `None`: one that had no id, and can only be counted.
    pub entries: Vec<Option<Message>>,
    /// The number of messages in the whole list, where the upstream tells.
    pub total: Option<u64>,
}

/// Something seen upstream, with the moment from which it speaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed<T> {
    /// What was seen.
    pub value: T,
    /// When the request that saw it began: the value is at least as new as this.
    pub began: DateTime<Utc>,
}

impl<T> Observed<T> {
    /// The same moment, with what `change` makes of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Observed<U> {
        Observed { value: change(self.value), began: self.began }
    }
}
