//! IngestAudience: a task reads what the caller sends, for as long as anybody reads the answers.

use futures_util::{Stream, stream::unfold};
use tokio::task::JoinSet;
use tonic::{Status, Streaming};

use super::{
    auth::Pass,
    bounds::fitting,
    convert::render,
    head::Head,
    rescue::{StreamFault, receive},
    status::status,
};
use crate::{
    campaigns::audience::{Answer, End, Feeder, Run, broke_off},
    pb,
};

/// Reads the rest of a stream into its ingestion, for as long as its caller may write.
async fn feed(
    mut stream: Streaming<pb::IngestAudienceRequest>,
    pass: Pass,
    head: Head,
    first_items: Vec<pb::AudienceItem>,
    mut feeder: Feeder,
) {
    let mut items = first_items;
    let withdrawn = pass.withdrawn();
    tokio::pin!(withdrawn);
    loop {
        if !items.is_empty() && !feeder.items(head.entries(items)).await {
            return;
        }
        let received = tokio::select! {
            biased;
            error = &mut withdrawn => Err(StreamFault::Invalid(error)),
            received = receive(&mut stream) => received,
        };
        let next = match received {
            Ok(Some(message)) => head.check(message),
            Ok(None) => return feeder.end().await,
            Err(StreamFault::Invalid(error)) => Err(error),
            // Dropping the feeder says so.
            Err(StreamFault::Gone) => return,
        };
        items = match next {
            Ok(items) => items,
            Err(error) => return feeder.fault(error).await,
        };
    }
}

/// The answers of an ingestion, while its stream is read beside it.
pub(super) fn answers(
    stream: Streaming<pb::IngestAudienceRequest>,
    pass: Pass,
    head: Head,
    first_items: Vec<pb::AudienceItem>,
    feeder: Feeder,
    run: Run,
) -> impl Stream<Item = Result<pb::IngestAudienceResponse, Status>> + Send {
    // Reading ends with the answers: the set aborts its task when it is dropped.
    let mut reading = JoinSet::new();
    let first_index = head.options.first_index;
    reading.spawn(feed(stream, pass, head, first_items, feeder));
    // The name first: a caller that let the server choose it can ask for what it missed from here on.
    let begun = pb::IngestAudienceResponse {
        request_id: run.request_id.as_str().to_owned(),
        settled_through: render::count(first_index),
        ..Default::default()
    };
    let state = State {
        run,
        reading,
        begun: Some(begun),
        settled_through: first_index,
        results: Vec::new(),
        is_over: false,
    };
    unfold(state, State::next)
}

struct State {
    run: Run,
    reading: JoinSet<()>,
    begun: Option<pb::IngestAudienceResponse>,
    settled_through: u64,
    /// Results that did not fit into the answer before.
    results: Vec<pb::AudienceItemResult>,
    is_over: bool,
}

impl State {
    async fn next(mut self) -> Option<(Result<pb::IngestAudienceResponse, Status>, Self)> {
        if self.is_over {
            return None;
        }
        if let Some(begun) = self.begun.take() {
            return Some((Ok(begun), self));
        }
        if !self.results.is_empty() {
            return Some((Ok(self.told()), self));
        }
        let answer = match self.run.next().await {
            Some(Answer::Results { results, settled_through }) => {
                self.settled_through = settled_through;
                self.results = results.into_iter().map(render::item_result).collect();
                Ok(self.told())
            }
            Some(Answer::End(ended)) => {
                self.is_over = true;
                ended.map(|End { summary, termination }| pb::IngestAudienceResponse {
                    summary: Some(render::summary(summary)),
                    termination: termination.as_ref().map(render::failure),
                    ..self.answer()
                })
            }
            None => {
                self.is_over = true;
                Err(broke_off())
            }
        };
        if self.is_over {
            self.reading.abort_all();
        }
        Some((answer.map_err(|error| status(&error)), self))
    }

    /// As many of the results as one answer holds.
    fn told(&mut self) -> pb::IngestAudienceResponse {
        let rest = self.results.split_off(fitting(&self.results));
        let results = std::mem::replace(&mut self.results, rest);
        let mut answer = pb::IngestAudienceResponse { results, ..self.answer() };
        if let Some(left_out) = self.results.first() {
            answer.settled_through = left_out.index;
        }
        answer
    }

    fn answer(&self) -> pb::IngestAudienceResponse {
        pb::IngestAudienceResponse {
            request_id: self.run.request_id.as_str().to_owned(),
            settled_through: render::count(self.settled_through),
            ..Default::default()
        }
    }
}
