//! The server's one secret: 32 bytes, from which a key is derived for each purpose, so that a leak of
//! one use says nothing about another. It lives in a file beside the ledger, never inside it.

mod file;
mod private;
#[cfg(test)]
mod tests;

use std::{fmt, path::Path, sync::Arc};

use ring::{
    hkdf, hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use secrecy::{ExposeSecret as _, SecretBox};

pub use file::SecretFault;
pub use private::{PrivateFault, read_private};

/// The length of the secret and of every key derived from it.
pub const SECRET_BYTES: usize = 32;

/// 32 secret bytes. `Debug` is masked, the memory is cleared with the last clone, and no method returns
/// the bytes themselves: only keys derived for a purpose leave.
#[derive(Clone)]
pub struct Secret(Arc<SecretBox<[u8; SECRET_BYTES]>>);

/// What a derived key is for. One purpose, one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Naming a workspace by a digest of its API key.
    Workspace,
    /// Sealing page tokens.
    PageTokens,
    /// Sealing a watch's resume tokens.
    ResumeTokens,
    /// Digests of items: a plain hash of a phone number is guessed in seconds.
    Fingerprints,
    /// Sealing frozen bytes on disk.
    Sealing,
}

impl Purpose {
    /// The label that separates this purpose's key. Never change one: digests on disk depend on it.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Workspace => b"blubash-grpc/1/workspace",
            Self::PageTokens => b"blubash-grpc/1/page-tokens",
            Self::ResumeTokens => b"blubash-grpc/1/resume-tokens",
            Self::Fingerprints => b"blubash-grpc/1/fingerprints",
            Self::Sealing => b"blubash-grpc/1/sealing",
        }
    }
}

impl Secret {
    /// A new secret that no file holds: what it sealed or named is meaningless after a restart.
    pub fn random() -> Self {
        Self::filled(|bytes| *bytes = random_bytes())
    }

    /// Reads the secret from `path`, or makes one there (mode 0600) where nothing is. What exists is
    /// never overwritten.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, SecretFault> {
        file::load_or_create(path.as_ref())
    }

    /// Reads the secret from `path`. `None`: there is no such file.
    pub fn load(path: impl AsRef<Path>) -> Result<Option<Self>, SecretFault> {
        file::load(path.as_ref())
    }

    /// The key for one purpose (HKDF-SHA256).
    #[expect(clippy::expect_used, reason = "HKDF refuses only outputs of more than 8,160 bytes")]
    pub fn derive(&self, purpose: Purpose) -> [u8; SECRET_BYTES] {
        let prk =
            hkdf::Salt::new(hkdf::HKDF_SHA256, b"blubash-grpc/secret/1").extract(self.0.expose_secret());
        let mut key = [0; SECRET_BYTES];
        prk.expand(&[purpose.label()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes can be derived");
        key
    }

    /// The key for one purpose, for digests (HMAC-SHA256).
    pub fn hmac_key(&self, purpose: Purpose) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive(purpose))
    }

    fn filled(fill: impl FnOnce(&mut [u8; SECRET_BYTES])) -> Self {
        Self(Arc::new(SecretBox::init_with_mut(fill)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([masked])")
    }
}

/// Bytes from the operating system's source of chance.
#[expect(clippy::expect_used, reason = "without chance there are no secrets: nothing safe is left to do")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
