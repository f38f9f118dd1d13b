//! Whom a model upstream really messaged, and whether what a caller was told of it is true.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use blubash_grpc::pb::{self, Disposition};

/// Every message that was really made: its id, by whom it is for.
#[derive(Clone, Default)]
pub(crate) struct Truth(Arc<Mutex<Messages>>);

#[derive(Default)]
struct Messages {
    by_person: HashMap<String, Vec<String>>,
    count: usize,
}

impl Truth {
    /// Messages this person, and says by which message.
    pub(crate) fn message(&self, person: &str) -> String {
        let mut messages = self.0.lock().unwrap();
        messages.count += 1;
        let id = format!("message-{}", messages.count);
        messages.by_person.entry(person.to_owned()).or_default().push(id.clone());
        id
    }

    /// The messages to this person.
    pub(crate) fn of(&self, person: &str) -> Vec<String> {
        self.0.lock().unwrap().by_person.get(person).cloned().unwrap_or_default()
    }

    /// How many messages there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().count
    }

    /// Whoever was messaged more than once.
    pub(crate) fn twice(&self) -> Vec<String> {
        let messages = self.0.lock().unwrap();
        let twice = messages.by_person.iter().filter(|(_, ids)| ids.len() > 1);
        twice.map(|(person, ids)| format!("{person} was messaged {} times", ids.len())).collect()
    }

    /// What is untrue in a result about this person. A doubt is never untrue, but it excuses no second message.
    pub(crate) fn untrue(&self, person: &str, result: &pb::AudienceItemResult) -> Option<String> {
        let messages = self.of(person);
        let told = result.disposition();
        let is_true = match told {
            Disposition::Added => {
                messages == [result.added.as_ref().map(|added| added.message_id.clone()).unwrap_or_default()]
            }
            Disposition::Rejected | Disposition::NotAttempted | Disposition::Invalid => messages.is_empty(),
            Disposition::InDoubt | Disposition::Pending => messages.len() <= 1,
            Disposition::Unspecified | Disposition::Valid => false,
        };
        let added = result.added.as_ref().map(|added| &added.message_id);
        (!is_true).then(|| format!("{person} was told {told:?} {added:?}, and was messaged by {messages:?}"))
    }
}
