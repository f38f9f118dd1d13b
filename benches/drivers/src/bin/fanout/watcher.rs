//! One watcher: reads its snapshot, then all it is told, and checks each step.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::sync::Semaphore;
use tonic::{Request, transport::Channel};

use drivers::pb::{
    MessageChange, MessageStatus, WatchMessagesRequest, campaigns_service_client::CampaignsServiceClient,
    watch_messages_response::Event,
};

use crate::{board::Board, state::State, upstream::index};

/// What it knows: a state a message, a byte each.
pub struct Watcher<'a> {
    board: &'a Board,
    states: Vec<State>,
    /// Messages known to be SENT.
    sent: usize,
    following: bool,
}

/// Watches until the stream ends, which it must not: the caller aborts it. `gate` bounds how many read their
/// snapshot at once.
pub async fn watch(
    channel: Channel,
    board: &Board,
    messages: usize,
    heartbeat: Option<Duration>,
    gate: &Semaphore,
) {
    let mut permit = gate.acquire().await.ok();
    let heartbeat = heartbeat.and_then(|interval| prost_types::Duration::try_from(interval).ok());
    let mut request = Request::new(WatchMessagesRequest {
        campaign_id: "camp_1".to_owned(),
        heartbeat_interval: heartbeat,
        ..Default::default()
    });
    request.metadata_mut().insert("x-api-key", tonic::metadata::MetadataValue::from_static("key_bench"));
    let mut stream = match CampaignsServiceClient::new(channel).watch_messages(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            return board.wrong(format!("a watch was refused: {:?}, {}", status.code(), status.message()));
        }
    };
    let mut watcher = Watcher { board, states: vec![State::Unknown; messages], sent: 0, following: false };
    loop {
        match stream.message().await {
            Ok(Some(response)) => watcher.take(response.event),
            Ok(None) => return board.wrong("a watch ended, with OK".to_owned()),
            Err(status) => {
                return board.wrong(format!("a watch ended: {:?}, {}", status.code(), status.message()));
            }
        }
        if watcher.following {
            drop(permit.take());
        }
    }
}

impl Watcher<'_> {
    fn take(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Changes(told)) => told.changes.iter().for_each(|change| self.change(change)),
            Some(Event::SnapshotComplete(complete)) => self.complete(complete.message_count),
            Some(Event::Heartbeat(heartbeat)) => {
                let pace = heartbeat.poll_interval.and_then(|pace| Duration::try_from(pace).ok());
                self.board.poll_interval.store(pace.unwrap_or_default().as_micros() as u64, SeqCst);
                if let Some(failure) = heartbeat.upstream_failure {
                    self.board.wrong(format!("polling fails: {}", failure.message));
                }
            }
            Some(Event::WatchReset(_)) => self.board.wrong("a watch was reset".to_owned()),
            None => self.board.wrong("a response without an event".to_owned()),
        }
    }

    /// A snapshot tells of each message once, as QUEUED. Behind it each step is told once: from the state
    /// that was told before, and never back.
    fn change(&mut self, change: &MessageChange) {
        let Some((index, to)) = change.message.as_ref().and_then(|message| {
            let status = MessageStatus::try_from(message.status).ok()?;
            Some((index(&message.message_id)?, State::told(status)?))
        }) else {
            return self.board.wrong(format!("a change of something else: {change:?}"));
        };
        let previous = MessageStatus::try_from(change.previous_status).ok().and_then(State::told);
        let Some(state) = self.states.get_mut(index) else {
            return self.board.wrong(format!("message {index} was never there"));
        };
        let from = *state;
        let steps =
            if self.following { to > State::Queued && from >= State::Queued } else { to == State::Queued };
        if !steps || to <= from || previous != Some(from) || change.removed {
            let part = if self.following { "behind" } else { "in" };
            let removed = if change.removed { ", removed" } else { "" };
            return self.board.wrong(format!(
                "{part} the snapshot, message {index} was told from {previous:?} to {to:?}{removed}, and was {from:?}"
            ));
        }
        *state = to;
        if self.following {
            self.board.changes.fetch_add(1, SeqCst);
        }
        match to {
            State::Sending => self.board.single[index].told(),
            State::Sent => {
                self.sent += 1;
                if self.sent == self.states.len() {
                    self.board.all.told();
                }
            }
            State::Unknown | State::Queued => {}
        }
    }

    fn complete(&mut self, count: i64) {
        let known = self.states.iter().filter(|state| **state == State::Queued).count();
        if self.following || known != self.states.len() || usize::try_from(count) != Ok(known) {
            self.board.wrong(format!("a snapshot that told of {known} messages ended, and said {count}"));
        }
        self.following = true;
        self.board.snapshots.told();
    }
}
