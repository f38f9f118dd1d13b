//! Times as the upstream may write them.

use chrono::{DateTime, Utc};
use serde_json::{Number, Value};

use super::field::Field;
use crate::model::parse_offset_datetime;

/// The instant: ISO 8601 with an offset, or epoch seconds or milliseconds.
pub(super) fn instant(field: &Field<'_>) -> Option<DateTime<Utc>> {
    match field {
        Field::Text(text) => {
            let (local, offset) = parse_offset_datetime(text)?;
            local.checked_sub_offset(offset?).map(|time| time.and_utc())
        }
        Field::Other(Value::Number(number)) => epoch(number),
        Field::Other(_) => None,
    }
}

/// Whether it is an instant, or at least a wall-clock time.
pub(super) fn is_readable(field: &Field<'_>) -> bool {
    match field {
        Field::Text(text) => parse_offset_datetime(text).is_some(),
        Field::Other(_) => instant(field).is_some(),
    }
}

/// The instant as text, to the nanosecond where it has them.
pub(super) fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Seconds until the year 5138, milliseconds from March 1973 on: no message lies where both could be meant.
fn epoch(number: &Number) -> Option<DateTime<Utc>> {
    const FIRST_MILLIS: f64 = 1e11;
    let value = number.as_f64()?;
    if !value.is_finite() || value < 0.0 {
        return None;
    }
    let millis = if value < FIRST_MILLIS { value * 1e3 } else { value };
    // A float beyond i64 saturates, and is then no date that chrono knows.
    DateTime::from_timestamp_millis(millis.round() as i64).filter(|time| is_four_digit_year(*time))
}

fn is_four_digit_year(time: DateTime<Utc>) -> bool {
    use chrono::Datelike as _;
    (0..=9999).contains(&time.year())
}
