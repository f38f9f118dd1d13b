//! How many messages are in which status.

use super::Status;

/// How many messages of a campaign are in which status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Status::ALL.len()]);

impl Counts {
    /// Counts one message in this status.
    pub fn add(&mut self, status: Status) {
        self.0[status as usize] += 1;
    }

    /// The statuses that occur, in the order of [`Status::ALL`], and how often each does.
    pub fn occurring(&self) -> impl Iterator<Item = (Status, u64)> + '_ {
        Status::ALL
            .into_iter()
            .map(|status| (status, self.0[status as usize]))
            .filter(|(_, count)| *count > 0)
    }

    /// How many messages there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl FromIterator<Status> for Counts {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Self {
        let mut counts = Self::default();
        statuses.into_iter().for_each(|status| counts.add(status));
        counts
    }
}
