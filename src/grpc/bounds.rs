//! What leaves through the edge is bounded: a client drops an answer whose metadata is over 8 KiB, and
//! then nobody learns why the call failed.

/// The longest message of a status or failure, in bytes. (`grpc-message` is percent-encoded: up to three
/// times as long on the wire.)
pub const MAX_MESSAGE_BYTES: usize = 512;

/// The longest path or text of one field violation, and the longest value of one fact, in bytes.
pub const MAX_PART_BYTES: usize = 256;

/// The most field violations, and the most facts, that one item's failure holds.
pub const MAX_PARTS: usize = 64;

/// The longest `grpc-status-details-bin`, before base64, in bytes.
pub const MAX_DETAILS_BYTES: usize = 4096;

/// The most bytes of results in one answer, unless one alone has more: far below the 4 MiB that clients take.
pub const MAX_RESULTS_BYTES: usize = 1 << 20;

/// As much of the text as `max` bytes hold, cut between characters.
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// The same for a text that is owned, which does not move.
pub fn cut_owned(mut text: String, max: usize) -> String {
    let end = cut(&text, max).len();
    text.truncate(end);
    text
}

/// How many of these messages, from the front, one answer holds; one at least, if there is one.
pub fn fitting<M: prost::Message>(messages: &[M]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&M| {
        bytes += message.encoded_len() + 8;
        bytes <= MAX_RESULTS_BYTES
    };
    messages.iter().take_while(fits).count().max(usize::from(!messages.is_empty()))
}
