//! Ids: opaque, never parsed, and safe to stand in a path as one segment.

use std::{fmt, sync::Arc};

/// The longest id that the contract allows, in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// Why a text cannot be an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdFault {
    /// It is empty.
    Empty,
    /// It has more than [`MAX_ID_BYTES`].
    TooLong,
    /// It holds a control character.
    ControlCharacter,
    /// It is `.` or `..`, which a URL reads as a step between folders.
    DotSegment,
    /// It holds a character outside `[A-Za-z0-9._:-]`, or has more than 128 (a request id's rule).
    Alphabet,
}

impl IdFault {
    /// What is wrong, for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::Empty => "must not be empty",
            Self::TooLong => "must have at most 256 bytes",
            Self::ControlCharacter => "must not hold control characters",
            Self::DotSegment => "must not be \".\" or \"..\"",
            Self::Alphabet => "must be 1 to 128 of [A-Za-z0-9._:-]",
        }
    }
}

/// The rule for every id: what cannot be one path segment is refused, the rest is the upstream's to judge
/// (ids of several formats are known, none is documented).
fn check(text: &str) -> Result<(), IdFault> {
    if text.is_empty() {
        Err(IdFault::Empty)
    } else if text.len() > MAX_ID_BYTES {
        Err(IdFault::TooLong)
    } else if text == "." || text == ".." {
        Err(IdFault::DotSegment)
    } else if text.chars().any(char::is_control) {
        Err(IdFault::ControlCharacter)
    } else {
        Ok(())
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text by the rule for all ids.
            pub fn parse(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, IdFault> {
                check(text.as_ref())?;
                Ok(Self(text.into()))
            }

            /// The id as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A campaign's id.
    CampaignId
}
id! {
    /// A message's id.
    MessageId
}

impl MessageId {
    /// An id that the upstream itself gave: any text but the empty one is believed.
    pub fn from_upstream(text: String) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }
}

/// The caller's name for one ingestion: what makes a repeat safe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// 1 to 128 of `[A-Za-z0-9._:-]`.
    pub fn parse(text: &str) -> Result<Self, IdFault> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        match text.len() {
            0 => Err(IdFault::Empty),
            1..=128 if text.bytes().all(allowed) => Ok(Self(text.into())),
            _ => Err(IdFault::Alphabet),
        }
    }

    /// A new one that no caller has.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// The id as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_cannot_be_one_path_segment_is_refused() {
        for (text, fault) in [
            ("", IdFault::Empty),
            (".", IdFault::DotSegment),
            ("..", IdFault::DotSegment),
            ("a\nb", IdFault::ControlCharacter),
            ("a\u{7f}", IdFault::ControlCharacter),
            ("a\u{85}", IdFault::ControlCharacter),
        ] {
            assert_eq!(CampaignId::parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(MessageId::parse("x".repeat(257)), Err(IdFault::TooLong));
    }

    #[test]
    fn an_odd_id_that_encodes_to_one_segment_is_the_upstreams_to_judge() {
        for text in ["../x", "a/b", "%2e%2e", "a?b#c", "...", "ünï", " ", &"x".repeat(256)] {
            assert_eq!(CampaignId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_request_id_keeps_to_its_alphabet_and_length() {
        assert!(RequestId::parse("Import-2026:03.11_a").is_ok());
        assert!(RequestId::parse(&"x".repeat(128)).is_ok());
        for text in ["a b", "ü", "a/b", &"x".repeat(129)] {
            assert_eq!(RequestId::parse(text), Err(IdFault::Alphabet), "{text:?}");
        }
        assert!(RequestId::parse(RequestId::random().as_str()).is_ok());
    }
}
