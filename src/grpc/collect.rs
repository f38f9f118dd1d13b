//! Reads a whole AddAudience stream. Nothing is sent upstream before its end: a stream that breaks off has
//! messaged nobody.

use prost::Message as _;
use tonic::Streaming;

use super::{
    head::Head,
    rescue::{StreamFault, receive},
};
use crate::{
    campaigns::audience::Entry,
    error::{Error, Reason},
    pb,
};

/// The most items that one AddAudience answers for.
pub const MAX_ITEMS: usize = 5_000;

/// The most bytes of items in one AddAudience.
pub const MAX_BYTES: usize = 16 << 20;

/// Reads to the caller's half-close and checks all of it.
pub(super) async fn collect(
    mut stream: Streaming<pb::AddAudienceRequest>,
) -> Result<(Head, Vec<Entry>), StreamFault> {
    let first = receive(&mut stream).await?;
    let first = first.ok_or_else(|| StreamFault::Invalid(Head::missing()))?;
    let (head, mut items) = Head::read(first).map_err(StreamFault::Invalid)?;
    let mut collected = Collected::default();
    loop {
        collected.take(&head, items).map_err(StreamFault::Invalid)?;
        let Some(message) = receive(&mut stream).await? else { return Ok((head, collected.entries)) };
        items = head.check(message).map_err(StreamFault::Invalid)?;
    }
}

#[derive(Default)]
struct Collected {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Collected {
    fn take(&mut self, head: &Head, items: Vec<pb::AudienceItem>) -> Result<(), Error> {
        self.bytes += items.iter().map(pb::AudienceItem::encoded_len).sum::<usize>();
        if self.entries.len() + items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            return Err(Error::new(
                Reason::TooManyItems,
                "one AddAudience takes at most 5,000 items and 16 MiB; nothing was sent: use IngestAudience",
            )
            .with("max_items", MAX_ITEMS.to_string()));
        }
        self.entries.extend(head.entries(items));
        Ok(())
    }
}
