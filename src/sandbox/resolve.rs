//! Who a message goes to: the page's contact resolution, in its order.

use std::{collections::HashMap, sync::Arc};

/// [page]
pub(super) const WHO_REQUIRED: &str = "Each item must provide contact_id or identifier";
/// [page]
pub(super) const IDENTIFIER_INVALID: &str = "Identifier is invalid";
/// [page]
pub(super) const EMAIL_CONFLICT: &str =
    "Contact found by email already has a different identifier for this campaign channel";
/// [page]
pub(super) const NO_IDENTIFIER: &str =
    "Contact does not have a valid channel identifier for this campaign channel";

/// Fewer digits than this are no number anywhere. A guess.
const FEWEST_DIGITS: usize = 5;

/// How an item names its contact; `contact_id` wins where both are given (a guess).
pub(super) enum Who {
    ContactId(Arc<str>),
    /// Already normalised.
    Identifier(Arc<str>),
}

struct Contact {
    id: Arc<str>,
    identifier: Option<Arc<str>>,
    email: Option<String>,
}

/// The contact that an item leads to.
#[derive(Clone)]
pub(super) struct Recipient {
    pub(super) id: Arc<str>,
    /// `None` for a `contact_id` that the sandbox was never told of.
    pub(super) identifier: Option<Arc<str>>,
}

/// What resolving an item changed, so that an atomic batch can take it back.
pub(super) enum Change {
    None,
    Linked(usize),
    Created,
}

/// The contacts of one workspace.
#[derive(Default)]
pub(super) struct Contacts {
    all: Vec<Contact>,
    by_id: HashMap<Arc<str>, usize>,
    by_identifier: HashMap<Arc<str>, usize>,
    by_email: HashMap<String, usize>,
}

/// Digits only, after stripping what people put between them. Which characters the vendor strips is a guess.
pub(super) fn normalise(identifier: &str) -> Result<Arc<str>, &'static str> {
    let digits: String = identifier.chars().filter(|c| !matches!(c, '+' | ' ' | '-' | '(' | ')')).collect();
    if digits.len() < FEWEST_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(IDENTIFIER_INVALID);
    }
    Ok(digits.into())
}

impl Contacts {
    /// Finds, links or creates the contact. `fresh` makes the id of a new one.
    pub(super) fn resolve(
        &mut self,
        who: &Who,
        email: Option<&str>,
        fresh: impl FnOnce() -> String,
    ) -> Result<(Recipient, Change), &'static str> {
        let identifier = match who {
            Who::ContactId(id) => return self.known(id).map(|recipient| (recipient, Change::None)),
            Who::Identifier(identifier) => identifier,
        };
        if let Some(&at) = self.by_identifier.get(identifier) {
            return Ok((self.recipient(at), Change::None));
        }
        let email = email.map(str::to_lowercase);
        if let Some(&at) = email.as_ref().and_then(|email| self.by_email.get(email)) {
            // An equal identifier would have been found above.
            if self.all[at].identifier.is_some() {
                return Err(EMAIL_CONFLICT);
            }
            self.all[at].identifier = Some(identifier.clone());
            self.by_identifier.insert(identifier.clone(), at);
            return Ok((self.recipient(at), Change::Linked(at)));
        }
        let at = self.insert(&fresh(), Some(identifier), email.as_deref());
        Ok((self.recipient(at), Change::Created))
    }

    /// The page's example sends made-up contact ids, so one that the sandbox does not know counts as an existing contact that can be
    /// reached; nothing is stored for it. A guess: the real API surely refuses it, but in words that the page does not give.
    fn known(&self, id: &Arc<str>) -> Result<Recipient, &'static str> {
        match self.by_id.get(id) {
            None => Ok(Recipient { id: id.clone(), identifier: None }),
            Some(&at) if self.all[at].identifier.is_some() => Ok(self.recipient(at)),
            Some(_) => Err(NO_IDENTIFIER),
        }
    }

    /// Adds a contact, which must have a new id; `email` in lower case.
    pub(super) fn insert(&mut self, id: &str, identifier: Option<&Arc<str>>, email: Option<&str>) -> usize {
        let at = self.all.len();
        let id: Arc<str> = id.into();
        self.by_id.insert(id.clone(), at);
        if let Some(identifier) = identifier {
            self.by_identifier.insert(identifier.clone(), at);
        }
        if let Some(email) = email {
            self.by_email.insert(email.to_owned(), at);
        }
        self.all.push(Contact { id, identifier: identifier.cloned(), email: email.map(str::to_owned) });
        at
    }

    /// Takes changes back; they must be given latest first.
    pub(super) fn undo(&mut self, change: Change) {
        match change {
            Change::None => {}
            Change::Linked(at) => {
                if let Some(identifier) = self.all[at].identifier.take() {
                    self.by_identifier.remove(&identifier);
                }
            }
            Change::Created => {
                if let Some(contact) = self.all.pop() {
                    self.by_id.remove(&contact.id);
                    contact.identifier.map(|identifier| self.by_identifier.remove(&identifier));
                    contact.email.map(|email| self.by_email.remove(&email));
                }
            }
        }
    }

    fn recipient(&self, at: usize) -> Recipient {
        let Contact { id, identifier, .. } = &self.all[at];
        Recipient { id: id.clone(), identifier: identifier.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn by_number(
        contacts: &mut Contacts,
        number: &str,
        email: Option<&str>,
    ) -> Result<(Recipient, Change), &'static str> {
        let fresh = format!("new-{number}");
        contacts.resolve(&Who::Identifier(normalise(number)?), email, || fresh)
    }

    #[test]
    fn an_identifier_is_its_digits() {
        assert_eq!(normalise("+55 (11) 99999-9999").unwrap().as_ref(), "5511999999999");
        for bad in ["", "   ", "1234", "+1-800-FLOWERS", "٥٥١١٩٩٩٩٩", "jane@example.com"] {
            assert_eq!(normalise(bad), Err(IDENTIFIER_INVALID), "{bad}");
        }
    }

    #[test]
    fn the_same_number_finds_the_same_contact_whatever_its_email() {
        let mut contacts = Contacts::default();
        let (first, _) = by_number(&mut contacts, "+55 11 99999", None).unwrap();
        let (again, change) = by_number(&mut contacts, "551199999", Some("jane@example.com")).unwrap();
        assert_eq!(first.id, again.id);
        assert!(matches!(change, Change::None));
    }

    #[test]
    fn an_email_links_once_and_then_refuses_another_number() {
        let mut contacts = Contacts::default();
        contacts.insert("jane", None, Some("jane@example.com"));
        let (linked, change) = by_number(&mut contacts, "551199999", Some("JANE@Example.com")).unwrap();
        assert_eq!(linked.id.as_ref(), "jane");
        assert!(matches!(change, Change::Linked(_)));
        assert_eq!(
            by_number(&mut contacts, "551188888", Some("jane@example.com")).err(),
            Some(EMAIL_CONFLICT)
        );
    }

    #[test]
    fn changes_can_be_taken_back() {
        let mut contacts = Contacts::default();
        contacts.insert("jane", None, Some("jane@example.com"));
        let (_, linked) = by_number(&mut contacts, "551199999", Some("jane@example.com")).unwrap();
        let (_, created) = by_number(&mut contacts, "551188888", Some("joe@example.com")).unwrap();
        contacts.undo(created);
        contacts.undo(linked);
        let (relinked, change) = by_number(&mut contacts, "551188888", Some("jane@example.com")).unwrap();
        assert_eq!(relinked.id.as_ref(), "jane");
        assert!(matches!(change, Change::Linked(_)));
    }

    #[test]
    fn a_contact_id_must_lead_to_a_number_unless_it_is_unknown() {
        let mut contacts = Contacts::default();
        contacts.insert("silent", None, None);
        let silent = contacts.resolve(&Who::ContactId("silent".into()), None, String::new);
        assert_eq!(silent.err(), Some(NO_IDENTIFIER));
        let (unknown, _) =
            contacts.resolve(&Who::ContactId("<CONTACT_ID_1>".into()), None, String::new).unwrap();
        assert_eq!(unknown.id.as_ref(), "<CONTACT_ID_1>");
    }
}
