//! What the service is doing, in numbers.

use serde::Serialize;

/// All that the page shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Since the start, in seconds.
    pub uptime_seconds: u64,
    /// Items in doubt, all campaigns together; `None` until they were first counted.
    pub in_doubt: Option<u64>,
    /// Open connections.
    pub connections: u64,
    /// Campaigns that are polled.
    pub polled_campaigns: u64,
    /// Open watches.
    pub watchers: u64,
    /// Campaigns whose history is kept for resume tokens, and about how many bytes that takes.
    pub kept_histories: u64,
    /// See `kept_histories`.
    pub kept_history_bytes: u64,
    /// Answers in the cache.
    pub cache_entries: u64,
    /// About how many bytes they take.
    pub cache_bytes: u64,
    /// Each workspace that has called lately.
    pub workspaces: Vec<Workspace>,
}

/// One workspace's road to the upstream.
#[derive(Clone, Debug, Serialize)]
pub struct Workspace {
    /// The first digits of its digest, as the log shows them.
    pub workspace: String,
    /// `closed`, `half-open` or `open`: nothing is sent.
    pub circuit: &'static str,
    /// Calls on their way.
    pub calls: u64,
    /// Batches of imports among them.
    pub batches: u64,
    /// Polls among them.
    pub polls: u64,
}
