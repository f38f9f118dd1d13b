//! Ids that look like the vendor's (25-character cuids) and are the same on every run with the same seed.

/// A message's and a contact's ids come from the same seed, so they need different streams.
const CONTACTS: u64 = 0x636f_6e74_6163_7473;

pub(super) struct Ids {
    seed: u64,
    messages: u64,
    contacts: u64,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, messages: 0, contacts: 0 }
    }

    pub(super) fn message(&mut self) -> String {
        self.messages += 1;
        cuid(self.seed, self.messages)
    }

    pub(super) fn contact(&mut self) -> String {
        self.contacts += 1;
        cuid(self.seed ^ CONTACTS, self.contacts)
    }

    /// A number in 0..100 that belongs to the message made last.
    pub(super) fn lot(&self) -> u64 {
        mix(self.seed.rotate_left(32) ^ self.messages) % 100
    }
}

/// `c`, 13 characters of chance, 11 of the counter: chance first, so that the order of ids tells nobody the order of creation.
fn cuid(seed: u64, counter: u64) -> String {
    let mut id = String::with_capacity(25);
    id.push('c');
    base36(&mut id, mix(mix(seed) ^ counter), 13);
    base36(&mut id, counter, 11);
    id
}

fn base36(id: &mut String, mut number: u64, width: usize) {
    let mut digits = [b'0'; 13];
    for digit in digits[..width].iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
    }
    id.extend(digits[..width].iter().map(|&digit| char::from(digit)));
}

/// splitmix64's finaliser.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_have_25_characters_and_repeat_with_the_seed() {
        let (mut one, mut same, mut other) = (Ids::new(7), Ids::new(7), Ids::new(8));
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            for id in [one.message(), one.contact()] {
                assert!(
                    id.len() == 25 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                    "{id}"
                );
                assert!(seen.insert(id));
            }
        }
        assert_eq!(same.message(), Ids::new(7).message());
        assert_ne!(same.message(), other.message());
    }
}
