//! One contact and the moment at which to message it: the body of the upstream's `items`.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{MessageId, Personal, ResolvedSchedule, Schedule};

/// A JSON object.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

/// One contact and the moment at which to message it. Having one means that it passed every check that
/// can be made without asking the upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Whom to message.
    pub recipient: Recipient,
    /// The contact's name.
    pub name: Option<Personal<String>>,
    /// The contact's email address.
    pub email: Option<Personal<String>>,
    /// Custom fields of the contact.
    pub custom_fields: Option<Personal<JsonObject>>,
    /// Tags of the contact.
    pub tags: Vec<Personal<String>>,
    /// When to send.
    pub schedule: Schedule,
}

/// Whom to message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Recipient {
    /// A contact that exists.
    ContactId(String),
    /// An address on the campaign's channel.
    Identifier(Personal<String>),
}

/// In the words of the vendor's page (`contact_id`, `custom_fields`, ...); what is absent is left out.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.recipient {
            Recipient::ContactId(id) => map.serialize_entry("contact_id", id)?,
            Recipient::Identifier(identifier) => map.serialize_entry("identifier", identifier)?,
        }
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        if let Some(email) = &self.email {
            map.serialize_entry("email", email)?;
        }
        if let Some(fields) = &self.custom_fields {
            map.serialize_entry("custom_fields", fields)?;
        }
        if !self.tags.is_empty() {
            map.serialize_entry("tags", &self.tags)?;
        }
        map.serialize_entry("schedule", &self.schedule)?;
        map.end()
    }
}

/// What the upstream made of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedItem {
    /// The new message.
    pub message_id: MessageId,
    /// Its contact; empty where not reported.
    pub contact_id: String,
    /// When it is to be sent, as the upstream reported it; `None` for an immediate message.
    pub schedule: Option<ResolvedSchedule>,
}
