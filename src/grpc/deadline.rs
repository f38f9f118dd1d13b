//! Until when a call matters. The deadline is owned here: tonic's own timeout drops the handler, which
//! could cut a write in half, and answers CANCELLED.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Extensions, metadata::MetadataMap};

use crate::error::{Error, Reason};

/// The metadata key of gRPC's own deadline.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The share of the timeout that is kept for the answer's road back, and its bounds.
const ROAD_BACK_SHARE: u32 = 10;
const ROAD_BACK_MIN: Duration = Duration::from_millis(5);
const ROAD_BACK_MAX: Duration = Duration::from_millis(250);

/// When a request's headers came in: an extension that the outermost layer sets. A request that is large,
/// or that waited, is already some way into its timeout when a handler first sees it.
#[derive(Clone, Copy, Debug)]
pub struct Received(pub Instant);

/// The instant by which the answer must have left: the caller's deadline less the road back.
/// `None`: the caller set none, or one that no clock will reach.
pub fn deadline(metadata: &MetadataMap, extensions: &Extensions) -> Result<Option<Instant>, Error> {
    let mut values = metadata.get_all(GRPC_TIMEOUT).iter();
    let timeout = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => parse(value.as_bytes()),
        (Some(_), Some(_)) => None,
    };
    let timeout = timeout.ok_or_else(|| {
        Error::invalid_field(
            GRPC_TIMEOUT,
            "must be one value of 1 to 8 digits and a unit: H, M, S, m, u or n",
        )
    })?;
    let received = extensions.get::<Received>().map_or_else(Instant::now, |received| received.0);
    Ok(received.checked_add(less_road_back(timeout)))
}

/// What the future brings, unless the deadline comes first.
///
/// # Errors
/// `DeadlineExceeded`.
pub async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Result<T, Error> {
    match deadline {
        None => Ok(future.await),
        Some(at) => tokio::time::timeout_at(at, future).await.map_err(|_| {
            Error::new(Reason::DeadlineExceeded, "the deadline passed; nothing was sent upstream")
        }),
    }
}

fn less_road_back(timeout: Duration) -> Duration {
    timeout.saturating_sub((timeout / ROAD_BACK_SHARE).clamp(ROAD_BACK_MIN, ROAD_BACK_MAX))
}

/// Reads 1 to 8 digits and a unit.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(values: &[&str], received: Option<Instant>) -> Result<Option<Instant>, Error> {
        let mut headers = http::HeaderMap::new();
        for value in values {
            headers.append(GRPC_TIMEOUT, value.parse().unwrap());
        }
        let mut extensions = Extensions::new();
        if let Some(received) = received {
            extensions.insert(Received(received));
        }
        deadline(&MetadataMap::from_headers(headers), &extensions)
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_receipt_and_leaves_time_for_the_road_back() {
        let received = Instant::now();
        tokio::time::advance(Duration::from_millis(40)).await;
        for (text, milliseconds) in [
            ("100m", 90),
            ("1S", 900),
            ("10S", 9_750),
            ("1M", 59_750),
            ("2H", 7_199_750),
            ("20m", 15),
            ("20000u", 15),
            ("20000000n", 15),
            ("5m", 0),
            ("0n", 0),
        ] {
            let deadline = read(&[text], Some(received)).unwrap().unwrap();
            assert_eq!(deadline - received, Duration::from_millis(milliseconds), "{text}");
        }
        let unstamped = read(&["100m"], None).unwrap().unwrap();
        assert_eq!(unstamped - received, Duration::from_millis(130));
    }

    #[tokio::test]
    async fn no_timeout_is_no_deadline_and_a_far_one_is_no_fault() {
        assert_eq!(read(&[], None), Ok(None));
        assert!(read(&["99999999H"], None).is_ok());
    }

    #[tokio::test]
    async fn a_malformed_timeout_is_refused_by_name() {
        for values in [
            &[""][..],
            &["S"],
            &["1"],
            &["1s"],
            &["-1S"],
            &["+1S"],
            &["1.5S"],
            &[" 1S"],
            &["1 S"],
            &["123456789S"],
            &["1S", "1S"],
        ] {
            let error = read(values, None).unwrap_err();
            assert_eq!(error.violations()[0].field, GRPC_TIMEOUT, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_timeout_never_panics(value in prop::collection::vec(any::<u8>(), 0..16)) {
            if let Some(timeout) = parse(&value) {
                prop_assert!(less_road_back(timeout) <= timeout);
            }
        }
    }
}
