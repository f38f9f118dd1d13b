//! What the process says of itself: logs on stderr.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// These print headers and frames below INFO, and so keys and personal data: RUST_LOG cannot open them.
const CAPPED: [&str; 6] = ["hyper", "hyper_util", "h2", "reqwest", "rustls", "tonic"];

/// Starts logging to stderr, as RUST_LOG asks (default: info).
pub(crate) fn init() {
    let asked = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let caps = CAPPED.iter().fold(Targets::new().with_default(LevelFilter::TRACE), |caps, name| {
        caps.with_target(*name, LevelFilter::INFO)
    });
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let stderr = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .with_filter(asked.and(caps));
    // A second subscriber (tests install their own) is no reason to fail.
    let _ = tracing_subscriber::registry().with(stderr).try_init();
}
