//! A workspace: whose data it is, and the key that opens it.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret as _, SecretString};

/// A workspace's name inside this server: a keyed digest of its API key (or of the name that it has in the access
/// file), so that neither a log line nor the ledger can give the key away. Everything that is stored or shared is keyed by it.
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

/// A key that this server holds and an operator renews: who has it has the present one. Clones share it.
#[derive(Clone, Debug)]
pub struct HeldKey(Arc<ArcSwap<ApiKey>>);

impl HeldKey {
    /// Holds a key.
    pub fn new(key: ApiKey) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(key)))
    }

    /// From now on it is this one.
    pub fn renew(&self, key: ApiKey) {
        self.0.store(Arc::new(key));
    }

    /// The present one.
    pub fn current(&self) -> Arc<ApiKey> {
        self.0.load_full()
    }
}

/// Whose the key is that goes upstream.
#[derive(Clone, Debug)]
pub enum WorkspaceKey {
    /// The caller's: it came with the call.
    Callers(Arc<ApiKey>),
    /// This server's.
    Held(HeldKey),
}

impl WorkspaceKey {
    /// The key as it is now: to be asked for when an operation begins, and kept until that has ended.
    pub fn current(&self) -> Arc<ApiKey> {
        match self {
            Self::Callers(key) => Arc::clone(key),
            Self::Held(key) => key.current(),
        }
    }

    /// Whether this server holds it.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

impl From<ApiKey> for WorkspaceKey {
    fn from(key: ApiKey) -> Self {
        Self::Callers(Arc::new(key))
    }
}

/// A workspace that a caller may act in.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its name inside this server.
    pub id: WorkspaceId,
    /// The key that goes upstream with its calls.
    pub key: WorkspaceKey,
}
