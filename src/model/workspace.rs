//! A workspace: whose data it is, and the key that opens it.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// A workspace's name inside this server: a keyed digest of its API key, so that neither a log line nor
/// the ledger can give the key away. Everything that is stored or shared is keyed by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkspaceId(pub [u8; 16]);

impl WorkspaceId {
    /// All of it, as 32 hex digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What [`WorkspaceId::to_hex`] wrote.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|id| Self(id.to_be_bytes()))
    }
}

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
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Whether a text can be a key: visible ASCII, neither empty nor too long.
    pub fn is_well_formed(text: &str) -> bool {
        (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    }

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
