//! Who wants what of a feed, and what the rounds of polling so far are good for. Pure.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::model::MessageId;

/// What the watchers of a feed want to see.
#[derive(Debug, Default)]
pub(super) struct Interest {
    /// How many want the whole campaign.
    whole: usize,
    named: HashMap<MessageId, Named>,
    joins: u64,
}

#[derive(Debug)]
struct Named {
    watchers: usize,
    /// The join since which it has been named without a gap.
    since: u64,
}

impl Interest {
    /// Lets one more watch these messages; none: the whole campaign. Gives the join from which on all of
    /// them are covered by every round.
    pub(super) fn join(&mut self, ids: &HashSet<MessageId>) -> u64 {
        self.joins += 1;
        if ids.is_empty() {
            self.whole += 1;
        }
        let mut covered = 0;
        for id in ids {
            let new = Named { watchers: 0, since: self.joins };
            let named = self.named.entry(id.clone()).or_insert(new);
            named.watchers += 1;
            covered = covered.max(named.since);
        }
        covered
    }

    /// Takes it that one who watched these has left.
    pub(super) fn leave(&mut self, ids: &HashSet<MessageId>) {
        if ids.is_empty() {
            self.whole -= 1;
        }
        for id in ids {
            if let Some(named) = self.named.get_mut(id) {
                named.watchers -= 1;
                if named.watchers == 0 {
                    self.named.remove(id);
                }
            }
        }
    }

    /// Whether anyone wants the whole campaign.
    pub(super) fn is_whole(&self) -> bool {
        self.whole > 0
    }

    /// The messages that are named.
    pub(super) fn named(&self) -> impl Iterator<Item = &MessageId> {
        self.named.keys()
    }

    /// How many have joined so far.
    pub(super) fn joins(&self) -> u64 {
        self.joins
    }
}

/// What a round must be for a watcher to begin, or to complete, on what it saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// It must have seen the whole campaign, not merely what is named.
    pub(super) whole: bool,
    /// It began after so many writes of this server.
    pub(super) writes: u64,
    /// It did not begin before this.
    pub(super) since: Instant,
    /// It began after so many joins, lest it missed what was named by them.
    pub(super) joins: u64,
}

impl Need {
    /// What meets both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            whole: self.whole || other.whole,
            writes: self.writes.max(other.writes),
            since: self.since.max(other.since),
            joins: self.joins.max(other.joins),
        }
    }
}

/// A round that went through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swept {
    /// When it began, by the clock on the wall and by the runtime's.
    pub(super) began: DateTime<Utc>,
    pub(super) at: Instant,
    /// This server's own writes when it began.
    pub(super) writes: u64,
    /// The joins when it began: what their watchers named, it has seen.
    pub(super) joins: u64,
    /// The newest change when it ended.
    pub(super) head: u64,
}

/// The last rounds that went through.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// One that saw the whole campaign.
    whole: Option<Swept>,
    /// One that saw at least what was named.
    last: Option<Swept>,
}

impl Sweeps {
    /// Takes one more, and says whether anyone may have waited for it: it is newer than a write, or it has
    /// seen changes that none like it had.
    pub(super) fn push(&mut self, swept: Swept, whole: bool) -> bool {
        let is_news = |last: &Option<Swept>| {
            last.is_none_or(|last| (last.writes, last.head) != (swept.writes, swept.head))
        };
        let news = is_news(&self.last) || whole && is_news(&self.whole);
        self.last = Some(swept);
        if whole {
            self.whole = Some(swept);
        }
        news
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<&Swept> {
        self.last.as_ref()
    }

    /// The last one that saw the whole campaign, if it began after so many writes.
    pub(super) fn whole_since(&self, writes: u64) -> Option<&Swept> {
        self.whole.as_ref().filter(|whole| whole.writes >= writes)
    }

    /// Those that meet the need, the newest first.
    pub(super) fn meeting(&self, need: Need) -> impl Iterator<Item = &Swept> {
        let since = move |swept: &&Swept| swept.writes >= need.writes && swept.at >= need.since;
        // One that saw the whole campaign has seen what was named since, too.
        let last = self.last.as_ref().filter(move |last| !need.whole && last.joins >= need.joins);
        last.into_iter().chain(&self.whole).filter(since)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ids(names: &[&str]) -> HashSet<MessageId> {
        names.iter().map(|name| MessageId::parse(*name).unwrap()).collect()
    }

    #[test]
    fn what_others_have_named_for_long_is_covered_already_and_what_is_new_is_not() {
        let mut interest = Interest::default();
        assert_eq!(interest.join(&ids(&["a"])), 1);
        assert_eq!(interest.join(&ids(&["a", "b"])), 2);
        assert_eq!(interest.join(&ids(&["a"])), 1);
        interest.leave(&ids(&["a"]));
        interest.leave(&ids(&["a", "b"]));
        assert_eq!(interest.join(&ids(&["a"])), 1);
        assert_eq!(interest.join(&ids(&["b"])), 5, "nobody asked for it meanwhile");
        assert!(!interest.is_whole());
        interest.join(&HashSet::new());
        assert!(interest.is_whole());
        interest.leave(&HashSet::new());
        assert!(!interest.is_whole());
        assert_eq!(interest.named().count(), 2);
    }

    #[test]
    fn a_round_by_name_serves_whom_it_covered_and_never_who_wants_the_whole() {
        let at = Instant::now();
        let swept = |writes, joins| Swept { began: DateTime::UNIX_EPOCH, at, writes, joins, head: 0 };
        let need = Need { whole: false, writes: 1, since: at, joins: 2 };
        let mut sweeps = Sweeps::default();
        let meets = |sweeps: &Sweeps, need| sweeps.meeting(need).next().is_some();
        for (writes, joins, served) in [(0, 2, false), (1, 1, false), (1, 2, true)] {
            sweeps.push(swept(writes, joins), false);
            assert_eq!(meets(&sweeps, need), served);
            assert!(!meets(&sweeps, Need { whole: true, ..need }));
        }
        sweeps.push(swept(1, 0), true);
        assert!(meets(&sweeps, need) && meets(&sweeps, Need { whole: true, ..need }));
        assert!(!meets(&sweeps, Need { since: at + Duration::from_millis(1), ..need }));
    }
}
