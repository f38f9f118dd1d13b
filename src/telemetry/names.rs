//! Every name that this service gives to what it measures and traces. Those without a `blubash` in front are the
//! semantic conventions' own (OpenTelemetry semantic conventions 1.37: RPC, HTTP).

/// The target of all spans. They lie at TRACE, so that where nobody collects them none is made.
pub(crate) const SPANS: &str = "blubash_grpc::span";

/// Attributes.
pub(crate) mod attribute {
    pub(crate) const ERROR_TYPE: &str = "error.type";
    pub(crate) const HTTP_METHOD: &str = "http.request.method";
    pub(crate) const HTTP_STATUS: &str = "http.response.status_code";
    pub(crate) const RPC_METHOD: &str = "rpc.method";
    pub(crate) const RPC_STATUS: &str = "rpc.response.status_code";
    pub(crate) const RPC_SYSTEM: &str = "rpc.system.name";
    pub(crate) const URL_TEMPLATE: &str = "url.template";
    pub(crate) const DISPOSITION: &str = "disposition";
    pub(crate) const RESULT: &str = "result";
    pub(crate) const WHAT: &str = "what";
    pub(crate) const REASON: &str = "reason";
    pub(crate) const KIND: &str = "kind";
}

/// Metrics.
pub(crate) mod metric {
    pub(crate) const RPC_DURATION: &str = "rpc.server.call.duration";
    pub(crate) const HTTP_DURATION: &str = "http.client.request.duration";
    pub(crate) const BUILD_INFO: &str = "blubash.build.info";
    pub(crate) const RETRIES: &str = "blubash.upstream.retries";
    pub(crate) const THROTTLED: &str = "blubash.upstream.throttled";
    pub(crate) const CIRCUITS_OPEN: &str = "blubash.upstream.circuit.open";
    pub(crate) const UNKNOWN_STATUSES: &str = "blubash.upstream.unknown_statuses";
    pub(crate) const CACHE_REQUESTS: &str = "blubash.cache.requests";
    pub(crate) const DISPOSITIONS: &str = "blubash.dispositions";
    pub(crate) const SCHEDULE_MISMATCHES: &str = "blubash.schedule.mismatches";
    pub(crate) const WATCHERS: &str = "blubash.watchers";
    pub(crate) const POLLERS: &str = "blubash.pollers";
    pub(crate) const POLL_CALLS: &str = "blubash.poll.calls";
    pub(crate) const POLL_FAILURES: &str = "blubash.poll.failures";
    pub(crate) const LEDGER_COMMITS: &str = "blubash.ledger.commit.duration";
    pub(crate) const IN_DOUBT: &str = "blubash.in_doubt.items";
    pub(crate) const LEDGER_BYTES: &str = "blubash.ledger.bytes";
    pub(crate) const LEDGER_MAX_BYTES: &str = "blubash.ledger.max_bytes";
    pub(crate) const RELOADS: &str = "blubash.reloads";
    pub(crate) const CACHE_BYTES: &str = "blubash.cache.bytes";
    pub(crate) const CONNECTIONS: &str = "blubash.connections";
    pub(crate) const CONNECTIONS_REFUSED: &str = "blubash.connections.refused";
    pub(crate) const CALLS_SHED: &str = "blubash.calls.shed";
}
