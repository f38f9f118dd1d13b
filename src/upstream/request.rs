//! Requests, built without I/O: what goes over the wire can be tested by comparing bytes.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, CONTENT_TYPE, HeaderName},
};

use super::{
    batch::{Asked, Batch},
    circuit_breaker::Pass,
    config::Config,
    lane::{Class, Lane},
    patience::Patience,
};
use crate::{
    error::{Error, Reason},
    model::{ApiKey, CampaignId, MessageId, Slice},
};

/// The header with the workspace's key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header that names one write, the same on each attempt.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");

/// One attempt of one operation: what a transport is asked to do.
#[derive(Clone)]
pub struct Call {
    /// What to send. Its URI is absolute.
    pub request: Request<Bytes>,
    /// What it is for.
    pub operation: Operation,
    /// Which attempt this is: 1, 2, 3, ...
    pub attempt: u32,
    /// The most time that this attempt may take.
    pub attempt_timeout: Duration,
    /// What it is to its workspace's other calls.
    pub(super) class: Class,
    /// How long it may wait to be sent; a read ends there.
    pub(super) patience: Patience,
    /// Its workspace's road to the upstream.
    pub(super) lane: Arc<Lane>,
    /// The leave that the first attempt of a batch brings with it.
    pub(super) leave: Brought,
}

/// The leave that an attempt brings with it. A copy has none: further attempts ask for their own.
#[derive(Default)]
pub(super) struct Brought(pub(super) Option<Pass>);

impl Clone for Brought {
    fn clone(&self) -> Self {
        Self(None)
    }
}

/// A request's body holds personal data, and its headers a key: neither is shown.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (attempt {})", self.operation.name(), self.attempt)
    }
}

/// What a call is for, with what its answer must fit.
#[derive(Clone, Debug)]
pub enum Operation {
    /// One message.
    GetMessage,
    /// A part of a campaign's messages.
    ListMessages,
    /// Adding these.
    AddAudience(Arc<[Asked]>),
    /// Cancelling this one.
    CancelMessage(MessageId),
}

impl Operation {
    /// Its name, for spans and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetMessage => "GetMessage",
            Self::ListMessages => "ListMessages",
            Self::AddAudience(_) => "AddAudience",
            Self::CancelMessage(_) => "CancelMessage",
        }
    }

    /// What it usually is to its workspace's other calls.
    pub(super) fn class(&self) -> Class {
        match self {
            Self::GetMessage | Self::ListMessages | Self::CancelMessage(_) => Class::Lookup,
            Self::AddAudience(_) => Class::Bulk,
        }
    }

    /// Its HTTP method, and its path without any id.
    pub(super) fn route(&self) -> (&'static str, &'static str) {
        match self {
            Self::GetMessage => ("GET", "/campaigns/{campaign_id}/messages/{message_id}"),
            Self::ListMessages => ("GET", "/campaigns/{campaign_id}/messages"),
            Self::AddAudience(_) => ("POST", "/campaigns/{campaign_id}/audience"),
            Self::CancelMessage(_) => ("POST", "/campaigns/{campaign_id}/messages/{message_id}/cancel"),
        }
    }

    /// Whether it may change something upstream.
    pub fn is_write(&self) -> bool {
        match self {
            Self::GetMessage | Self::ListMessages => false,
            Self::AddAudience(_) | Self::CancelMessage(_) => true,
        }
    }
}

/// The upstream's routes.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    base: Arc<str>,
}

impl Routes {
    pub(super) fn new(config: &Config) -> Self {
        // `Url` writes an empty path as "/".
        Self { base: config.base_url.as_str().trim_end_matches('/').into() }
    }

    pub(super) fn get_message(
        &self,
        key: &ApiKey,
        campaign: &CampaignId,
        id: &MessageId,
    ) -> Result<Request<Bytes>, Error> {
        let uri = self.path(&[campaign.as_str(), MESSAGES, id.as_str()])?;
        request(Method::GET, uri, key)
    }

    pub(super) fn list_messages(
        &self,
        key: &ApiKey,
        campaign: &CampaignId,
        slice: Slice,
    ) -> Result<Request<Bytes>, Error> {
        let path = self.path(&[campaign.as_str(), MESSAGES])?;
        request(Method::GET, format!("{path}?limit={}&offset={}", slice.limit, slice.offset), key)
    }

    pub(super) fn add_audience(
        &self,
        key: &ApiKey,
        campaign: &CampaignId,
        batch: &Batch,
    ) -> Result<Request<Bytes>, Error> {
        let uri = self.path(&[campaign.as_str(), "audience"])?;
        write(request(Method::POST, uri, key)?, batch.body.clone(), &batch.idempotency_key)
    }

    pub(super) fn cancel_message(
        &self,
        key: &ApiKey,
        campaign: &CampaignId,
        id: &MessageId,
    ) -> Result<Request<Bytes>, Error> {
        let uri = self.path(&[campaign.as_str(), MESSAGES, id.as_str(), "cancel"])?;
        // The page shows no body; an empty object suits servers that insist on JSON where JSON is announced.
        let body = Bytes::from_static(b"{}");
        write(request(Method::POST, uri, key)?, body, &uuid::Uuid::new_v4().to_string())
    }

    fn path(&self, segments: &[&str]) -> Result<String, Error> {
        let mut path = String::with_capacity(self.base.len() + 96);
        path.push_str(&self.base);
        for segment in segments {
            path.push('/');
            push_segment(&mut path, segment)?;
        }
        Ok(path)
    }
}

const MESSAGES: &str = "messages";

/// Appends a text as one path segment: everything but RFC 3986's unreserved characters is percent-encoded,
/// `%` too, so that no parser on the way sees a slash, a query or a step between folders in an id.
fn push_segment(path: &mut String, text: &str) -> Result<(), Error> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    // An id that the upstream itself gave was never checked: dots have no encoding that a URL parser
    // would not undo, and a very long path is no path.
    if matches!(text, "" | "." | "..") || text.len() > 2048 {
        return Err(Error::new(Reason::FieldInvalid, "an id cannot stand in the upstream's path"));
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push('%');
            path.push(char::from(HEX[usize::from(byte >> 4)]));
            path.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Ok(())
}

fn request(method: Method, uri: String, key: &ApiKey) -> Result<Request<Bytes>, Error> {
    let mut key = HeaderValue::from_str(key.expose()).map_err(|_| {
        Error::new(Reason::ApiKeyInvalid, "the API key holds characters that no header can carry")
    })?;
    // Keeps it out of `Debug`, and out of HTTP/2's header compression tables.
    key.set_sensitive(true);
    Request::builder()
        .method(method)
        .uri(uri)
        .header(API_KEY, key)
        .header(ACCEPT, JSON)
        .body(Bytes::new())
        .map_err(|_| Error::new(Reason::Internal, "the request to the upstream could not be built"))
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn write(mut request: Request<Bytes>, body: Bytes, idempotency_key: &str) -> Result<Request<Bytes>, Error> {
    let key = HeaderValue::from_str(idempotency_key)
        .map_err(|_| Error::new(Reason::Internal, "the idempotency key cannot stand in a header"))?;
    request.headers_mut().insert(CONTENT_TYPE, JSON);
    request.headers_mut().insert(IDEMPOTENCY_KEY, key);
    *request.body_mut() = body;
    Ok(request)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
