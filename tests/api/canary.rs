//! What must never be said, in whatever a test makes the service say: every test of this binary looks for it, in the
//! log of its own process at every level, in what a process of its own printed, and in each error.

use std::{
    io,
    sync::{Mutex, Once, PoisonError},
};

use tonic::Status;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The phone numbers, names, e-mail addresses, keys and tokens that the tests send begin or end so.
const CANARIES: [&str; 9] = [
    "551190",
    "551180",
    "Jane Smith",
    "Canary",
    "@example.com",
    "canary@",
    "sandbox-key-",
    "bbg_writer",
    "bbg_reader",
];

/// Lines of the log that held one.
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Reads the log of this process from now on. The HTTP libraries are those of the tests' own clients, too: the service
/// keeps them at INFO, and so does this.
pub(crate) fn watch() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let filter = EnvFilter::new("info,blubash_grpc=trace");
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Reader).init();
    });
}

/// Fails where the log held one so far, whichever test made it say so.
pub(crate) fn none_was_logged() {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(found.is_empty(), "the log held what must never be said:\n{}", found.concat());
}

/// The first that a text holds.
fn first_in(text: &str) -> Option<&'static str> {
    CANARIES.into_iter().find(|canary| text.contains(canary))
}

/// Fails where a text holds one.
pub(crate) fn none_in(what: &str, text: &str) {
    if let Some(canary) = first_in(text) {
        panic!("{what} holds {canary}: {text}");
    }
}

/// Fails where an error holds one, in its message, its details or its metadata.
pub(crate) fn none_in_status(status: &Status) {
    none_in("an error's message", status.message());
    none_in("an error's details", &String::from_utf8_lossy(status.details()));
    none_in("an error's metadata", &format!("{:?}", status.metadata()));
}

/// Where the log goes.
struct Reader;

impl<'a> MakeWriter<'a> for Reader {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl io::Write for Reader {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if first_in(&text).is_some() {
            FOUND.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_the_tests_send_would_be_found() {
    // Not through the log itself: the tests beside this one read it too.
    for said in
        [blubash_grpc::sandbox::ACME_API_KEY, "to 5511900000042", "name=\"Jane Smith\"", "jane@example.com"]
    {
        assert!(first_in(said).is_some(), "{said}");
    }
    assert_eq!(first_in("GetMessage 200 5.1ms"), None);
}
