//! What one observation of a message says about it, beside what was known before. Pure.

use crate::model::{JsonObject, Message};

/// What an observation adds to what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was known of it: it is new, or it is back.
    Appeared,
    /// Its state is another one.
    Changed,
    /// Its state is the same, another field is not: nothing to tell, but the latest state is this one.
    Refreshed,
    /// It is the very same.
    Same,
    /// It runs against the life cycle: a page that is older than what was seen already can cause that, so
    /// it is not believed before the message itself was asked for.
    StepBack,
}

/// Judges what was seen beside what is known. `confirmed`: the message itself was asked for.
pub(super) fn judge(known: Option<&Message>, seen: &Message, confirmed: bool) -> Verdict {
    match known {
        None => Verdict::Appeared,
        Some(known) if same_state(known, seen) && known == seen => Verdict::Same,
        Some(known) if same_state(known, seen) => Verdict::Refreshed,
        Some(known) if !confirmed && known.status.is_step_back(seen.status) => Verdict::StepBack,
        Some(_) => Verdict::Changed,
    }
}

/// Whether both are in the same state, which is all that a watch tells of. The upstream's own word counts
/// too: two words that this version does not know are two states.
pub(super) fn same_state(a: &Message, b: &Message) -> bool {
    a.status == b.status && a.upstream_status == b.upstream_status
}

/// About how many bytes a message takes in an answer, rather too many than too few.
pub(super) fn weight(message: &Message) -> u32 {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let schedule = message.schedule.as_ref().map_or(0, |s| s.local_datetime.len() + s.time_zone.len() + 64);
    let bytes = 128
        + message.id.as_str().len()
        + text(&message.contact_id)
        + message.upstream_status.len()
        + schedule
        + text(&message.failure_reason)
        + object_weight(&message.upstream_fields);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Each value and each key of a protobuf Struct comes with a few bytes of tags and lengths.
const JSON_OVERHEAD: usize = 16;

fn object_weight(object: &JsonObject) -> usize {
    object.iter().map(|(key, value)| JSON_OVERHEAD + key.len() + value_weight(value)).sum()
}

fn value_weight(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    JSON_OVERHEAD
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(value_weight).sum(),
            Value::Object(object) => object_weight(object),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, Status};

    fn message(status: Status) -> Message {
        let id = MessageId::from_upstream("m".to_owned());
        Message::bare(id.unwrap_or_else(|| unreachable!()), status)
    }

    #[test]
    fn only_another_state_is_a_change() {
        let queued = message(Status::Queued);
        let mut touched = queued.clone();
        touched.contact_id = Some("c".to_owned());
        assert_eq!(judge(None, &queued, false), Verdict::Appeared);
        assert_eq!(judge(Some(&queued), &queued, false), Verdict::Same);
        assert_eq!(judge(Some(&queued), &touched, false), Verdict::Refreshed);
        assert_eq!(judge(Some(&queued), &message(Status::Sent), false), Verdict::Changed);
    }

    #[test]
    fn two_words_that_nobody_knows_are_two_states() {
        let word = |word: &str| Message { upstream_status: word.to_owned(), ..message(Status::Unknown) };
        assert_eq!(judge(Some(&word("HELD")), &word("PARKED"), false), Verdict::Changed);
    }

    #[test]
    fn a_step_back_is_believed_only_when_confirmed() {
        let (queued, pending) = (message(Status::Queued), message(Status::Pending));
        assert_eq!(judge(Some(&queued), &pending, false), Verdict::StepBack);
        assert_eq!(judge(Some(&queued), &pending, true), Verdict::Changed);
        assert_eq!(judge(Some(&message(Status::Sent)), &queued, false), Verdict::StepBack);
    }

    #[test]
    fn everything_of_variable_length_counts_in_a_messages_weight() {
        let light = message(Status::Sent);
        let mut heavy = light.clone();
        heavy.upstream_fields.insert("k".to_owned(), serde_json::json!([{ "text": "x".repeat(1_000) }, 5]));
        heavy.failure_reason = Some("y".repeat(500));
        assert!(weight(&heavy) > weight(&light) + 1_500);
    }
}
