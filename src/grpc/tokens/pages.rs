//! What a page token holds, as bytes.

use crate::campaigns::messages::{ANCHORS, Anchor, Position};

/// The form of these bytes. Those before it began with an offset, and said less.
const FORM: u8 = 2;

/// What an anchor takes: how far back it stood, and its digest.
const ANCHOR: usize = 9;

pub(super) fn encode(position: &Position) -> Vec<u8> {
    let Position { offset, total, restarts, overlap, anchors } = position;
    // 0 is no total; a list of u64::MAX messages does not exist.
    let total = total.map_or(0, |total| total.saturating_add(1));
    let mut plain = vec![FORM, *restarts, *overlap];
    plain.extend(offset.to_be_bytes());
    plain.extend(total.to_be_bytes());
    for anchor in anchors {
        plain.push(anchor.back);
        plain.extend(anchor.digest);
    }
    plain
}

pub(super) fn decode(plain: &[u8]) -> Option<Position> {
    let ([FORM, restarts, overlap], rest) = plain.split_first_chunk()? else { return None };
    let (offset, rest) = rest.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    let (anchors, []) = rest.as_chunks::<ANCHOR>() else { return None };
    if anchors.len() > ANCHORS {
        return None;
    }
    Some(Position {
        offset: u64::from_be_bytes(*offset),
        total: u64::from_be_bytes(*total).checked_sub(1),
        restarts: *restarts,
        overlap: *overlap,
        anchors: anchors.iter().map(|[back, digest @ ..]| Anchor { back: *back, digest: *digest }).collect(),
    })
}
