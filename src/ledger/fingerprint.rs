//! A keyed digest by which an item is known again without being remembered. A plain hash of a phone
//! number is guessed in seconds, so the key matters.

use ring::hmac;

use crate::model::{Item, Recipient, Schedule};

/// The first 16 bytes of an HMAC-SHA256 over what makes two items the same.
pub type Fingerprint = [u8; 16];

/// Makes fingerprints under one key.
#[derive(Clone, Debug)]
pub struct Fingerprinter(hmac::Key);

impl Fingerprinter {
    /// `key`: 32 secret bytes that serve nothing else.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The digest of recipient, name, email, custom fields, tags and moment: two items are the same if all
    /// of these are, however their moment was written.
    pub fn of(&self, item: &Item) -> Fingerprint {
        let mut digest = Digest(hmac::Context::with_key(&self.0));
        digest.recipient(&item.recipient);
        digest.optional(item.name.as_ref().map(|name| name.as_bytes()));
        digest.optional(item.email.as_ref().map(|email| email.as_bytes()));
        // A JSON object keeps its keys sorted, so equal fields are equal bytes.
        let fields =
            item.custom_fields.as_ref().map(|fields| serde_json::to_vec(&**fields).unwrap_or_default());
        digest.optional(fields.as_deref());
        digest.field(b'n', &(item.tags.len() as u64).to_be_bytes());
        for tag in &item.tags {
            digest.field(b't', tag.as_bytes());
        }
        match &item.schedule {
            Schedule::Immediate => digest.field(b'0', b""),
            Schedule::At(moment) => digest.field(b'@', &moment.instant.timestamp_millis().to_be_bytes()),
        }
        digest.finish()
    }

    /// The digest of a recipient alone: whom an item is for, whatever else it says.
    pub fn of_recipient(&self, recipient: &Recipient) -> Fingerprint {
        let mut digest = Digest(hmac::Context::with_key(&self.0));
        // No item's digest begins so.
        digest.field(b'r', b"");
        digest.recipient(recipient);
        digest.finish()
    }
}

struct Digest(hmac::Context);

impl Digest {
    /// Kind and length before the bytes: no two different items run together to the same input.
    fn field(&mut self, kind: u8, bytes: &[u8]) {
        let mut head = [kind; 9];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.update(&head);
        self.0.update(bytes);
    }

    fn recipient(&mut self, recipient: &Recipient) {
        match recipient {
            Recipient::ContactId(id) => self.field(b'c', id.as_bytes()),
            Recipient::Identifier(identifier) => self.field(b'i', identifier.as_bytes()),
        }
    }

    fn finish(self) -> Fingerprint {
        let tag = self.0.sign();
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(&tag.as_ref()[..16]);
        fingerprint
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.field(if bytes.is_some() { b'+' } else { b'-' }, bytes.unwrap_or_default());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::{LocalTimePolicy, Moment, Personal};

    fn at(text: &str, zone: &str) -> Schedule {
        Schedule::At(Moment::parse(text.into(), zone, None, LocalTimePolicy::Reject).unwrap())
    }

    fn item() -> Item {
        Item {
            recipient: Recipient::Identifier(Personal("5511999999999".into())),
            name: Some(Personal("Jane".into())),
            email: None,
            custom_fields: None,
            tags: vec![Personal("a".into()), Personal("b".into())],
            schedule: at("2026-07-01T09:00", "Europe/Madrid"),
        }
    }

    #[test]
    fn equal_items_have_equal_fingerprints_however_their_moment_is_written() {
        let maker = Fingerprinter::new(&[1; 32]);
        let other = Item { schedule: at("2026-07-01T07:00:00.000Z", ""), ..item() };
        assert_eq!(maker.of(&item()), maker.of(&other));
    }

    #[test]
    fn an_item_that_differs_in_anything_has_another_fingerprint() {
        let maker = Fingerprinter::new(&[1; 32]);
        let tags = |tags: &[&str]| tags.iter().map(|t| Personal((*t).to_owned())).collect::<Vec<_>>();
        let fields: serde_json::Value = serde_json::json!({"plan": "pro"});
        let others = [
            Item { recipient: Recipient::ContactId("5511999999999".into()), ..item() },
            Item { recipient: Recipient::Identifier(Personal("5511999999998".into())), ..item() },
            Item { name: None, ..item() },
            Item { name: None, email: Some(Personal("Jane".into())), ..item() },
            Item { custom_fields: Some(Personal(fields.as_object().unwrap().clone())), ..item() },
            Item { tags: tags(&["ab"]), ..item() },
            Item { tags: tags(&["b", "a"]), ..item() },
            Item { schedule: Schedule::Immediate, ..item() },
            Item { schedule: at("2026-07-01T09:00:00.001", "Europe/Madrid"), ..item() },
        ];
        for other in others {
            assert_ne!(maker.of(&item()), maker.of(&other), "{other:?}");
        }
    }

    #[test]
    fn another_key_makes_another_fingerprint() {
        assert_ne!(Fingerprinter::new(&[1; 32]).of(&item()), Fingerprinter::new(&[2; 32]).of(&item()));
    }
}
