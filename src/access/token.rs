//! Bearer tokens. The file holds their digests: who reads it cannot call.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};

use crate::secret::random_bytes;

/// A token's SHA-256. Tokens are long and random, so nobody finds one by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token.
    pub fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(bytes)
    }

    /// What [`TokenDigest::to_hex`] wrote, in either case.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// All of it, as 64 hex digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A fresh token: 256 random bits behind a prefix by which scanners for leaked secrets can know it.
pub fn new_token() -> String {
    format!("bbg_{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_token_is_long_visible_and_never_the_same() {
        let (one, other) = (new_token(), new_token());
        assert_eq!(one.len(), 47);
        assert!(one.bytes().all(|byte| byte.is_ascii_graphic()) && one.starts_with("bbg_"));
        assert_ne!(one, other);
    }

    #[test]
    fn a_digest_reads_as_sha256sum_prints_it() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenDigest::of(b"abc").to_hex(), text);
        assert_eq!(TokenDigest::from_hex(&text.to_uppercase()), Some(TokenDigest::of(b"abc")));
        for bad in
            ["", "abc", &text[1..], &format!("{text}0"), &text.replace('b', "g"), &text.replace('b', "+")]
        {
            assert_eq!(TokenDigest::from_hex(bad), None, "{bad}");
        }
    }
}
