//! What is left after one attempt: all that may be known of what the upstream did.

use std::{fmt, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{
    HeaderMap, StatusCode,
    header::{DATE, HeaderName, RETRY_AFTER},
};

/// Where another attempt may help and the upstream named no time.
pub(super) const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What one attempt left behind.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// Proven: the upstream never saw the request.
    NotSent {
        /// Where it ended.
        why: Unsent,
    },
    /// The trail ends after a byte may have been written.
    Broken {
        /// How it ended.
        why: Broken,
    },
    /// The upstream, or something in front of it, answered.
    Answered {
        /// The status.
        status: StatusCode,
        /// The headers.
        headers: HeaderMap,
        /// The body, as far as it came.
        body: Body,
    },
}

/// Where a request ended that was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The upstream's name could not be looked up.
    Dns,
    /// No connection, or no TLS session.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// The upstream refused the HTTP/2 stream, or was going away before it came.
    StreamRefused,
    /// The connection closed before the request's first byte.
    Cancelled,
}

impl Unsent {
    /// Its name, for what is measured.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::StreamRefused => "stream_refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a request ended that may have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The attempt's timeout passed.
    Timeout,
    /// The connection was reset or closed, or what came was not HTTP.
    Connection,
}

impl Broken {
    /// Its name, for what is measured.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
        }
    }
}

/// A body, as far as it came.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Complete(Bytes),
    /// It ended before its end.
    Truncated,
    /// It is larger than this client reads.
    OverCap,
}

/// A body holds personal data: only its size is shown.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete(bytes) => write!(f, "Complete({} bytes)", bytes.len()),
            Self::Truncated => f.write_str("Truncated"),
            Self::OverCap => f.write_str("OverCap"),
        }
    }
}

impl Evidence {
    /// An answer that came in full.
    pub fn answered(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::Answered { status, headers: HeaderMap::new(), body: Body::Complete(body.into()) }
    }

    /// The status, where there is one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::NotSent { .. } | Self::Broken { .. } => None,
        }
    }

    /// How long the upstream asks to wait before the next attempt, whatever the status.
    pub(super) fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        match self {
            Self::Answered { headers, .. } => {
                let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
                // Where the upstream says what time it is, its dates are meant by its own clock.
                let date = text(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
                parse_retry_after(text(RETRY_AFTER)?, date.map_or(now, DateTime::from))
            }
            Self::NotSent { .. } | Self::Broken { .. } => None,
        }
    }
}

/// Seconds or an HTTP date. A day is believed at most: a longer one is a mistake, and the sum of an
/// instant and any `u64` of seconds may not exist.
fn parse_retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    const MOST: Duration = Duration::from_secs(24 * 60 * 60);
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a u64 holds still mean "very long".
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let at = DateTime::<Utc>::from(httpdate::parse_http_date(text).ok()?);
        (at - now).to_std().unwrap_or(Duration::ZERO)
    };
    Some(wait.min(MOST))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = "2026-03-11T09:00:00Z".parse().unwrap();
        for (text, seconds) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("Wed, 11 Mar 2026 09:00:05 GMT", Some(5)),
            ("Wed, 11 Mar 2026 08:00:00 GMT", Some(0)),
            // The two forms of old, which a recipient must read, too.
            ("Wednesday, 11-Mar-26 09:00:05 GMT", Some(5)),
            ("Wed Mar 11 09:00:05 2026", Some(5)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_date_is_meant_by_the_clock_of_whoever_wrote_it() {
        let mut evidence = Evidence::answered(StatusCode::SERVICE_UNAVAILABLE, "");
        let Evidence::Answered { headers, .. } = &mut evidence else { unreachable!() };
        headers.insert(RETRY_AFTER, "Wed, 11 Mar 2026 09:00:05 GMT".parse().unwrap());
        headers.insert(DATE, "Wed, 11 Mar 2026 09:00:00 GMT".parse().unwrap());
        let fast = "2026-03-11T09:30:00Z".parse().unwrap();
        assert_eq!(evidence.retry_after(fast), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_body_is_never_shown() {
        let shown = format!("{:?}", Evidence::answered(StatusCode::OK, "jane@example.com"));
        assert!(!shown.contains("jane") && shown.contains("16 bytes"), "{shown}");
    }

    proptest! {
        #[test]
        fn reading_retry_after_never_panics(text in "\\PC{0,40}") {
            parse_retry_after(&text, DateTime::UNIX_EPOCH);
        }
    }
}
