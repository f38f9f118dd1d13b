//! What the emulated API answers, before a fault rule gets its hands on it.

use axum::body::Bytes;
use serde::Serialize;

/// A status, a JSON body, and what the request log needs to know.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// How many items the request held, where it could be read.
    pub(super) items: Option<usize>,
    /// How many messages were created or cancelled, also by a request that was refused.
    pub(super) applied: usize,
}

impl Answer {
    pub(super) fn ok(body: &impl Serialize) -> Self {
        // Only maps with odd keys can fail to serialise; there are none here, and an empty body would be noticed.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { status: 200, body: body.into(), items: None, applied: 0 }
    }

    /// The vendor's error body: `{"error":"Forbidden","message":".."}`, as on its older page; the current one shows none.
    pub(super) fn refusal(status: u16, message: &str) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            message: &'a str,
        }
        let error = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            413 => "Payload Too Large",
            422 => "Unprocessable Entity",
            _ => "Error",
        };
        Self { status, ..Self::ok(&Body { error, message }) }
    }
}
