//! Bodies in and answers out, broken ones included: what a fault rule does to the bytes.

use std::{collections::BTreeMap, io};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::answer::Answer;

/// A body is read to its end even when it is too long, so that the client gets to read the answer; beyond this
/// (and `max_body`) it is not.
const DRAINED: usize = 16 * 1024 * 1024;

/// In a response's extensions: close the connection instead of sending it.
#[derive(Clone)]
pub(super) struct HangUp;

/// The body; `Some(None)` if it is too long, `None` if it never came to its end.
pub(super) async fn read(body: Body, longest: usize) -> Option<Option<Bytes>> {
    let mut chunks = body.into_data_stream();
    let (mut kept, mut length) = (Vec::new(), 0_usize);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok()?;
        length += chunk.len();
        if length > longest.max(DRAINED) {
            break;
        }
        if length <= longest {
            kept.extend_from_slice(&chunk);
        }
    }
    Some((length <= longest).then(|| kept.into()))
}

pub(super) fn hang_up() -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(HangUp);
    response
}

pub(super) fn respond(status: u16, headers: &HeaderMap, body: Body) -> Response {
    let mut response = (
        StatusCode::from_u16(status).unwrap_or_default(),
        [(header::CONTENT_TYPE, "application/json; charset=utf-8")],
        body,
    )
        .into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

pub(super) fn fabricated(status: u16, body: Option<Value>, headers: BTreeMap<String, String>) -> Response {
    let body = match body {
        None => Answer::refusal(status, "Fault injected by the sandbox").body,
        Some(Value::String(text)) => text.into(),
        Some(json) => json.to_string().into(),
    };
    // All of them parse: a rule with another was refused.
    let headers = headers.into_iter().filter_map(|(name, value)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    });
    respond(status, &headers.collect(), body.into())
}

/// Announces the whole body, sends half and breaks off.
pub(super) fn truncated(answer: &Answer) -> Response {
    let half = answer.body.slice(..answer.body.len() / 2);
    let end = async {
        // hyper sends what it has only when the body makes it wait.
        tokio::task::yield_now().await;
        Err(io::Error::other("broken off by a fault rule"))
    };
    let body = stream::iter([Ok(half)]).chain(stream::once(end));
    let length = HeaderMap::from_iter([(header::CONTENT_LENGTH, answer.body.len().into())]);
    respond(answer.status, &length, Body::from_stream(body))
}
