//! What has to be met for a run of many seeds to prove anything: each row of the outcome table, and each
//! point at which the service may lose its power.

use std::collections::BTreeMap;

/// Where the service's power goes, in the order of a batch's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    BeforeClaim,
    AfterCommit,
    AfterClaim,
    WhileSending,
    UpstreamWorks,
    AfterApplying,
    AnswerOnItsWay,
    AfterAnswer,
    BeforeRecord,
    AfterRecord,
    BeforeTelling,
    AfterTelling,
}

impl CrashPoint {
    pub(crate) const ALL: [Self; 12] = [
        Self::BeforeClaim,
        Self::AfterCommit,
        Self::AfterClaim,
        Self::WhileSending,
        Self::UpstreamWorks,
        Self::AfterApplying,
        Self::AnswerOnItsWay,
        Self::AfterAnswer,
        Self::BeforeRecord,
        Self::AfterRecord,
        Self::BeforeTelling,
        Self::AfterTelling,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BeforeClaim => "crash: within a commit, with no answer untold (an opening, a claim)",
            Self::AfterCommit => "crash: after a sync, with no answer untold",
            Self::AfterClaim => "crash: after the claim, before the first byte",
            Self::WhileSending => "crash: while the request is sent",
            Self::UpstreamWorks => "crash: the upstream has the request",
            Self::AfterApplying => "crash: the upstream has applied it",
            Self::AnswerOnItsWay => "crash: the answer is on its way",
            Self::AfterAnswer => "crash: after the answer, before it is thought about",
            Self::BeforeRecord => "crash: within the record's commit",
            Self::AfterRecord => "crash: after a sync of the record",
            Self::BeforeTelling => "crash: before the caller hears",
            Self::AfterTelling => "crash: while the caller hears",
        }
    }
}

/// The rows of the outcome table, finer where its row names several things.
pub(crate) const ROWS: [&str; 40] = [
    "no connection",
    "421",
    "425",
    "429",
    "429 with Retry-After",
    "cut before anything was applied",
    "cut after all was applied",
    "cut within the answer",
    "no answer, nothing applied",
    "no answer, all applied",
    "no answer, applied late",
    "100 Continue, then cut",
    "408",
    "409",
    "500",
    "502",
    "503",
    "504",
    "52x",
    "2xx truncated",
    "2xx not JSON",
    "2xx of the wrong length",
    "2xx with a repeated message id",
    "2xx with an empty message id",
    "2xx with others' contacts",
    "2xx over the cap",
    "2xx, true",
    "3xx",
    "401",
    "403",
    "404",
    "405",
    "415",
    "a campaign's 400",
    "413 or 431 to several",
    "413 or 431 to one",
    "400 or 422 to one",
    "400 or 422 to several, some applied",
    "400 or 422 to several, atomic",
    "another 4xx",
];

/// What was met, by name.
#[derive(Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(crate) fn add(&mut self, met: BTreeMap<&'static str, u64>) {
        for (row, count) in met {
            *self.0.entry(row).or_default() += count;
        }
    }

    /// Each row and crash point with how often it was met.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let points = CrashPoint::ALL.map(CrashPoint::name);
        let count = |row| (row, self.0.get(row).copied().unwrap_or(0));
        ROWS.into_iter().chain(points).map(count)
    }

    /// What was met, and stands in no list: a misspelt name would otherwise count for nothing.
    pub(crate) fn unknown(&self) -> Vec<&'static str> {
        let known: Vec<_> = self.rows().map(|(row, _)| row).collect();
        self.0.keys().copied().filter(|row| !known.contains(row)).collect()
    }
}
