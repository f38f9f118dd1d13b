//! What several of the edge's tests need, and tests of what joins its parts.
#![allow(clippy::unwrap_used)]

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{context, status};
use crate::{
    error::{Error, Reason},
    secret::Secret,
};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that is logged on this thread while `act` runs, at the lowest level.
pub(super) fn captured(act: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_calls_context_is_its_workspace_and_its_deadline() {
    let secret = Secret::random();
    let mut request = tonic::Request::new(());
    let refused = context(&request, &secret).unwrap_err();
    assert_eq!(refused.reason(), Reason::ApiKeyInvalid);
    request.metadata_mut().insert("x-api-key", "bb_live_1".parse().unwrap());
    assert_eq!(context(&request, &secret).unwrap().deadline, None);
    request.set_timeout(Duration::from_secs(1));
    let context = context(&request, &secret).unwrap();
    assert_eq!(context.workspace.key.expose(), "bb_live_1");
    let left = context.deadline.unwrap() - Instant::now();
    assert!(left <= Duration::from_millis(900), "{left:?}");
}

#[test]
fn a_fault_of_this_server_is_logged_once_with_its_words() {
    let log = captured(|| {
        status::status(&Error::new(Reason::Internal, "the index is out of step"));
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("ERROR") && log.contains("the index is out of step"), "{log}");
}
