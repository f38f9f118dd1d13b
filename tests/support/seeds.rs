//! Which seeds to run: `SEEDS` of them, from `FIRST_SEED` on.

use std::ops::Range;

pub(crate) struct Seeds {
    first: u64,
    count: u64,
}

impl Seeds {
    /// So many, unless the environment says otherwise.
    pub(crate) fn from_env(default: u64) -> Self {
        let number = |name: &str| {
            std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        Self { first: number("FIRST_SEED").unwrap_or(0), count: number("SEEDS").unwrap_or(default) }
    }

    pub(crate) fn all(&self) -> Range<u64> {
        self.first..self.first + self.count
    }
}
