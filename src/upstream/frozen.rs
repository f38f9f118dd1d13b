//! A batch at rest: the bytes by which exactly it can be sent again, under the same idempotency key, by
//! another process than the one that framed it.

use bytes::Bytes;
use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::batch::{Asked, Batch};

/// In front of the bytes; another version is not read.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Frozen<'a> {
    idempotency_key: &'a str,
    body: &'a [u8],
    asked: Vec<FrozenAsked<'a>>,
}

#[derive(Serialize, Deserialize)]
struct FrozenAsked<'a> {
    contact_id: Option<&'a str>,
    /// Milliseconds since 1970, and the zone's name.
    at: Option<(i64, Option<&'a str>)>,
}

impl Batch {
    /// The batch as bytes, which hold personal data.
    pub fn freeze(&self) -> Vec<u8> {
        let asked = self.asked.iter().map(|asked| FrozenAsked {
            contact_id: asked.contact_id.as_deref(),
            at: asked.at.map(|(at, zone)| (at.timestamp_millis(), zone.map(|zone| zone.name()))),
        });
        let frozen =
            Frozen { idempotency_key: &self.idempotency_key, body: &self.body, asked: asked.collect() };
        let written = postcard::to_extend(&frozen, vec![VERSION]);
        // Writing into memory cannot fail. Bytes that do not thaw would only leave a doubt a doubt.
        debug_assert!(written.is_ok(), "a batch always freezes");
        written.unwrap_or_default()
    }

    /// The batch that was frozen; `None` for what is not one, or of another version.
    pub fn thaw(bytes: &[u8]) -> Option<Self> {
        let (&VERSION, frozen) = bytes.split_first()? else { return None };
        let frozen: Frozen<'_> = postcard::from_bytes(frozen).ok()?;
        let asked = frozen.asked.into_iter().map(|asked| {
            let at = match asked.at {
                None => None,
                Some((at, zone)) => {
                    let zone = zone.map(str::parse).transpose().ok()?;
                    Some((DateTime::from_timestamp_millis(at)?, zone))
                }
            };
            Some(Asked { contact_id: asked.contact_id.map(Into::into), at })
        });
        Some(Self {
            body: Bytes::copy_from_slice(frozen.body),
            idempotency_key: frozen.idempotency_key.into(),
            asked: asked.collect::<Option<_>>()?,
        })
    }

    /// Whether an item of it is to be sent at once: repeated late, it would come at the wrong hour.
    pub fn has_immediate(&self) -> bool {
        self.asked.iter().any(|asked| asked.at.is_none())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_frozen_thaws_to_the_same_bytes_key_and_expectations(
            body: Vec<u8>,
            asked in prop::collection::vec(
                (prop::option::of("\\PC{0,9}"), prop::option::of((0_i64..9_999_999_999_999, any::<bool>()))), 0..9),
        ) {
            let asked = asked.into_iter().map(|(contact, at)| Asked {
                contact_id: contact.map(Into::into),
                at: at.map(|(at, named)| {
                    (DateTime::from_timestamp_millis(at).unwrap(), named.then_some(chrono_tz::Europe::Madrid))
                }),
            });
            let batch = Batch { body: body.into(), idempotency_key: "key".into(), asked: asked.collect() };
            let thawed = Batch::thaw(&batch.freeze()).unwrap();
            prop_assert_eq!((&thawed.body, &thawed.asked), (&batch.body, &batch.asked));
            prop_assert_eq!(&thawed.idempotency_key, &batch.idempotency_key);
        }

        #[test]
        fn thawing_any_bytes_never_panics(bytes: Vec<u8>) {
            Batch::thaw(&bytes);
        }
    }
}
