//! What a caller says.

use std::time::Duration;

use blubash_grpc::config::{Config, Flags};
use clap::Parser;
use tonic::Request;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

/// What `serve` would make of these flags.
pub(crate) fn config(url: &str, flags: &[&str]) -> Config {
    let arguments = ["serve", "--ledger=memory:", "--drain-timeout=2s"].iter().chain(flags);
    Arguments::parse_from(arguments).flags.check(url).unwrap()
}

/// A request with this key and timeout.
pub(crate) fn keyed<T>(message: T, key: &str, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-api-key", key.parse().unwrap());
    request.set_timeout(timeout);
    request
}
