//! Where an ingestion's items come from: all at once, or as a stream brings them.

use tokio::sync::mpsc;

use super::Entry;
use crate::error::Error;

/// What came next.
#[derive(Debug)]
pub(super) enum Feed {
    /// More items.
    Items(Vec<Entry>),
    /// What came is not part of an ingestion: it ends here.
    Fault(Error),
    /// The caller has sent its last item.
    End,
    /// The stream broke off: nobody knows what else would have come.
    Gone,
}

#[derive(Debug)]
pub(super) struct Source {
    road: Road,
    is_done: bool,
    is_whole: bool,
}

#[derive(Debug)]
enum Road {
    Whole(Vec<Entry>),
    Stream(mpsc::Receiver<Feed>),
}

impl Source {
    pub(super) fn whole(entries: Vec<Entry>) -> Self {
        Self { road: Road::Whole(entries), is_done: false, is_whole: false }
    }

    /// A source, and what fills it. It holds one feed at most: a caller that sends faster than its items
    /// can go up is not read.
    pub(super) fn stream() -> (Feeder, Self) {
        let (feeder, feeds) = mpsc::channel(1);
        (Feeder(feeder), Self { road: Road::Stream(feeds), is_done: false, is_whole: false })
    }

    /// What came at once and was not taken yet.
    pub(super) fn take_whole(&mut self) -> Option<Vec<Entry>> {
        let Road::Whole(entries) = &mut self.road else { return None };
        (self.is_done, self.is_whole) = (true, true);
        Some(std::mem::take(entries)).filter(|entries| !entries.is_empty())
    }

    /// Whether nothing more will come.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether all that the caller had to send was read.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// What comes next. Nothing is lost where the wait is given up.
    pub(super) async fn next(&mut self) -> Feed {
        let feed = match &mut self.road {
            Road::Whole(entries) if entries.is_empty() => Feed::End,
            Road::Whole(entries) => Feed::Items(std::mem::take(entries)),
            Road::Stream(feeds) => feeds.recv().await.unwrap_or(Feed::Gone),
        };
        // What came at once is known to have no sequel: its last batch need not wait for one.
        self.is_done = !matches!((&feed, &self.road), (Feed::Items(_), Road::Stream(_)));
        self.is_whole = self.is_done && !matches!(feed, Feed::Fault(_) | Feed::Gone);
        feed
    }
}

/// Brings a stream's items to its ingestion. Dropped before [`Feeder::end`], it says that the stream
/// broke off.
#[derive(Debug)]
pub struct Feeder(mpsc::Sender<Feed>);

impl Feeder {
    /// Brings items, once there is room for them. `false`: the ingestion has ended and takes no more.
    pub async fn items(&mut self, entries: Vec<Entry>) -> bool {
        self.0.send(Feed::Items(entries)).await.is_ok()
    }

    /// The caller has sent its last item.
    pub async fn end(self) {
        // Where nobody takes it, the ingestion has ended already.
        let _ = self.0.send(Feed::End).await;
    }

    /// What came is not part of an ingestion: it ends for this cause.
    pub async fn fault(self, error: Error) {
        let _ = self.0.send(Feed::Fault(error)).await;
    }
}
