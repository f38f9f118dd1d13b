//! CancelMessages: results as they come, no answer larger than a client takes.

use futures_util::{
    Stream, StreamExt as _,
    stream::{iter, once},
};
use tonic::Status;

use super::{bounds::fitting, convert::render, status::status};
use crate::{campaigns::cancel::Answer, error::Error, pb};

/// The answers of a call that cancels many.
pub(super) fn answers(
    told: impl Stream<Item = Result<Answer, Error>> + Send + 'static,
) -> impl Stream<Item = Result<pb::CancelMessagesResponse, Status>> + Send {
    told.flat_map(|told| match told {
        Ok(Answer::Results(results)) => {
            let results = results.into_iter().map(render::cancel_result).collect();
            iter(in_parts(results)).left_stream()
        }
        Ok(Answer::Summary(summary)) => {
            let summary = Some(render::cancel_summary(summary));
            let last = pb::CancelMessagesResponse { summary, ..Default::default() };
            once(std::future::ready(Ok(last))).right_stream()
        }
        Err(error) => once(std::future::ready(Err(status(&error)))).right_stream(),
    })
}

/// The results in as many answers as they need.
fn in_parts(mut results: Vec<pb::CancelResult>) -> Vec<Result<pb::CancelMessagesResponse, Status>> {
    let mut answers = Vec::new();
    while !results.is_empty() {
        let rest = results.split_off(fitting(&results));
        answers.push(Ok(pb::CancelMessagesResponse { results, summary: None }));
        results = rest;
    }
    answers
}
