//! Rows at rest: sealed, so that who reads the disk learns no item's or contact's id, and so that a flipped bit or
//! a row in another one's place is found when it is read.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};

use crate::ledger::tables::{Fault, damaged};

/// What sealing adds to a row.
pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

/// Seals and opens rows under one key. A row is bound to its own key in the table.
#[derive(Debug)]
pub(super) struct Seal {
    key: LessSafeKey,
    chance: SystemRandom,
}

impl Seal {
    #[expect(clippy::expect_used, reason = "a key is refused only for its length, which is the type's")]
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key");
        Self { key: LessSafeKey::new(key), chance: SystemRandom::new() }
    }

    /// Nonce, ciphertext, tag. With chance for a nonce, 2^32 rows may be sealed under one key before two are
    /// alike with a chance of 2^-33: at five rows a batch, some hundred thousand million items.
    pub(super) fn seal(&self, row: &[u8], plain: &[u8]) -> Result<Vec<u8>, Fault> {
        let broken = |_| Fault::Broken("a row could not be sealed".into());
        let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
        sealed.resize(NONCE_LEN, 0);
        self.chance.fill(&mut sealed).map_err(broken)?;
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&sealed);
        sealed.extend_from_slice(plain);
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(row),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(broken)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    pub(super) fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut plain = rest.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(row), &mut plain).map_err(|_| damaged())?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_opens_only_whole_in_its_own_place_and_under_its_own_key() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal(b"here", b"a contact's id").unwrap();
        assert_eq!(seal.open(b"here", &sealed).unwrap(), b"a contact's id");
        assert!(!sealed.windows(7).any(|part| part == b"contact"));
        assert!(seal.open(b"there", &sealed).is_err());
        assert!(Seal::new(&[8; 32]).open(b"here", &sealed).is_err());
        for length in 0..sealed.len() {
            assert!(seal.open(b"here", &sealed[..length]).is_err());
        }
        for bit in 0..sealed.len() * 8 {
            let mut other = sealed.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seal.open(b"here", &other).is_err(), "bit {bit}");
        }
    }
}
