//! A workspace: whose data it is, and the key that opens it.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// A workspace's name inside this server: a keyed digest of its API key, so that neither a log line nor
/// the ledger can give the key away. Everything that is stored or shared is keyed by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkspaceId(pub [u8; 16]);

impl fmt::Debug for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Six bytes tell workspaces apart in a log.
        self.0[..6].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A workspace API key. Its `Debug` is masked; its memory is cleared when it is dropped.
#[derive(Clone, Debug)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(SecretString::from(key.into()))
    }

    /// The key itself, for the one header that carries it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A workspace that a caller may act in.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its name inside this server.
    pub id: WorkspaceId,
    /// The key that goes upstream with its calls.
    pub key: ApiKey,
}
