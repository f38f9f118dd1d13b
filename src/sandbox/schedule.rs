//! When a message is to go: the page's table of datetime forms.

use chrono::{DateTime, Duration, FixedOffset, NaiveDateTime, Offset, SecondsFormat, TimeZone};
use chrono_tz::{OffsetComponents, Tz};
use serde_json::Value;

use super::{
    clock::{Millis, iso},
    options::UtcOffset,
};

/// [page]
pub(super) const ZONE_REQUIRED: &str = "schedule.timezone (IANA) is required when datetime has no UTC offset";
// The page names no text for the refusals below: each is a guess.
const SCHEDULE_REQUIRED: &str = "Each item must provide a schedule";
const TYPE_INVALID: &str = "schedule.type must be one of the following values: immediate, absolute";
const DATETIME_REQUIRED: &str = "schedule.datetime is required when schedule.type is absolute";
const DATETIME_INVALID: &str = "schedule.datetime is invalid";
const ZONE_INVALID: &str = "schedule.timezone is not a valid IANA timezone";

/// A message's schedule, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Immediate,
    /// `zone` is set only where the datetime was a wall-clock time.
    At {
        instant: Millis,
        offset: FixedOffset,
        zone: Option<Tz>,
    },
}

impl Plan {
    /// Reads an item's `schedule`.
    pub(super) fn parse(
        schedule: Option<&Value>,
        default_zone: Option<&str>,
        offsets: UtcOffset,
    ) -> Result<Self, &'static str> {
        let schedule = schedule.and_then(Value::as_object).ok_or(SCHEDULE_REQUIRED)?;
        match schedule.get("type").and_then(Value::as_str) {
            Some("immediate") => Ok(Self::Immediate),
            Some("absolute") => {
                let datetime = match schedule.get("datetime") {
                    None | Some(Value::Null) => return Err(DATETIME_REQUIRED),
                    Some(datetime) => datetime.as_str().ok_or(DATETIME_INVALID)?,
                };
                let zone = match schedule.get("timezone") {
                    None | Some(Value::Null) => None,
                    Some(zone) => Some(zone.as_str().ok_or(ZONE_INVALID)?),
                };
                Self::at(datetime, zone.or(default_zone), offsets)
            }
            _ => Err(TYPE_INVALID),
        }
    }

    fn at(datetime: &str, zone: Option<&str>, offsets: UtcOffset) -> Result<Self, &'static str> {
        let (wall, offset) = read(datetime).ok_or(DATETIME_INVALID)?;
        if let Some(offset) = offset {
            // "Treated as an absolute instant; timezone is ignored" [page]: even one that does not exist.
            let instant =
                (wall - Duration::seconds(offset.local_minus_utc().into())).and_utc().timestamp_millis();
            return Ok(Self::At { instant, offset, zone: None });
        }
        let zone: Tz = zone.ok_or(ZONE_REQUIRED)?.parse().map_err(|_| ZONE_INVALID)?;
        let offset = match offsets {
            UtcOffset::Iana => iana(zone, wall),
            UtcOffset::VendorExample => standard(zone, wall),
        };
        let instant =
            (wall - Duration::seconds(offset.local_minus_utc().into())).and_utc().timestamp_millis();
        Ok(Self::At { instant, offset, zone: Some(zone) })
    }

    /// `scheduled_at`, in the page's two forms: with the offset as it was sent or as the zone gives it. That a numeric offset is
    /// kept, rather than turned into `Z`, is a guess.
    pub(super) fn scheduled_at(&self) -> Option<String> {
        match *self {
            Self::Immediate => None,
            Self::At { instant, offset, zone } => DateTime::from_timestamp_millis(instant)
                .map(|at| at.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Millis, zone.is_none())),
        }
    }

    pub(super) fn scheduled_at_utc(&self) -> Option<String> {
        self.instant().map(iso)
    }

    pub(super) fn zone(&self) -> Option<&'static str> {
        match *self {
            Self::At { zone: Some(zone), .. } => Some(zone.name()),
            _ => None,
        }
    }

    pub(super) fn instant(&self) -> Option<Millis> {
        match *self {
            Self::Immediate => None,
            Self::At { instant, .. } => Some(instant),
        }
    }
}

/// A gap is read with the offset before it, an overlap as its first pass: what common date libraries do, so a guess for the vendor.
fn iana(zone: Tz, wall: NaiveDateTime) -> FixedOffset {
    zone.offset_from_local_datetime(&wall)
        .earliest()
        .unwrap_or_else(|| zone.offset_from_utc_datetime(&(wall - Duration::days(1))))
        .fix()
}

fn standard(zone: Tz, wall: NaiveDateTime) -> FixedOffset {
    let offset = zone.offset_from_utc_datetime(&wall);
    let seconds = offset.base_utc_offset().num_seconds();
    i32::try_from(seconds).ok().and_then(FixedOffset::east_opt).unwrap_or_else(|| offset.fix())
}

/// Splits `YYYY-MM-DDTHH:MM[:SS[.fff]]` from `Z`, `+hh:mm` or `+hhmm`. Anything else is unreadable; that the seconds may be left out
/// is a guess.
fn read(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    let plain = |byte: u8| byte.is_ascii_digit() || b"-+:.TZ".contains(&byte);
    let bytes = text.as_bytes();
    // chrono by itself also reads blanks, five-digit years and years before Christ.
    if bytes.len() < 16
        || !bytes.iter().copied().all(plain)
        || !bytes[..4].iter().all(u8::is_ascii_digit)
        || bytes[10] != b'T'
    {
        return None;
    }
    let (wall, offset) = match text[11..].find(['Z', '+', '-']) {
        None => (text, None),
        Some(at) => {
            let (wall, suffix) = text.split_at(11 + at);
            (wall, Some(numeric_offset(suffix)?))
        }
    };
    let wall = NaiveDateTime::parse_from_str(wall, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(wall, "%Y-%m-%dT%H:%M"))
        .ok()?;
    Some((wall, offset))
}

fn numeric_offset(suffix: &str) -> Option<FixedOffset> {
    if suffix == "Z" {
        return FixedOffset::east_opt(0);
    }
    let (hours, minutes) = match suffix.as_bytes() {
        [_, h1, h2, b':', m1, m2] | [_, h1, h2, m1, m2] => (two(*h1, *h2)?, two(*m1, *m2)?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3600 + minutes * 60;
    FixedOffset::east_opt(if suffix.starts_with('-') { -seconds } else { seconds })
}

fn two(tens: u8, ones: u8) -> Option<i32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn answer(
        datetime: &str,
        zone: Option<&str>,
        offsets: UtcOffset,
    ) -> (String, String, Option<&'static str>) {
        let plan = Plan::at(datetime, zone, offsets).unwrap();
        (plan.scheduled_at().unwrap(), plan.scheduled_at_utc().unwrap(), plan.zone())
    }

    #[test]
    fn an_offset_makes_an_instant_and_the_zone_is_ignored() {
        let (at, utc, zone) = answer("2026-03-10T14:30:00.000Z", Some("No/Such_Zone"), UtcOffset::Iana);
        assert_eq!(
            (at.as_str(), utc.as_str(), zone),
            ("2026-03-10T14:30:00.000Z", "2026-03-10T14:30:00.000Z", None)
        );
        assert_eq!(answer("2026-03-10T14:30:00+03:00", None, UtcOffset::Iana).1, "2026-03-10T11:30:00.000Z");
        assert_eq!(
            answer("2026-03-10T14:30:00-0500", None, UtcOffset::Iana).0,
            "2026-03-10T14:30:00.000-05:00"
        );
    }

    #[test]
    fn a_wall_clock_time_takes_its_zones_offset_of_that_day() {
        let (at, utc, zone) = answer("2026-03-11T09:00:00", Some("America/New_York"), UtcOffset::Iana);
        assert_eq!(
            (at.as_str(), utc.as_str()),
            ("2026-03-11T09:00:00.000-04:00", "2026-03-11T13:00:00.000Z")
        );
        assert_eq!(zone, Some("America/New_York"));
    }

    #[test]
    fn the_vendors_example_comes_out_an_hour_off_as_printed() {
        let (at, utc, _) = answer("2026-03-11T09:00:00", Some("America/New_York"), UtcOffset::VendorExample);
        assert_eq!(
            (at.as_str(), utc.as_str()),
            ("2026-03-11T09:00:00.000-05:00", "2026-03-11T14:00:00.000Z")
        );
    }

    #[test]
    fn a_gap_moves_forward_and_an_overlap_takes_the_first_pass() {
        assert_eq!(
            answer("2026-03-08T02:30:00", Some("America/New_York"), UtcOffset::Iana).1,
            "2026-03-08T07:30:00.000Z"
        );
        assert_eq!(
            answer("2026-11-01T01:30:00", Some("America/New_York"), UtcOffset::Iana).1,
            "2026-11-01T05:30:00.000Z"
        );
        // Samoa left out a whole day.
        assert_eq!(
            answer("2011-12-30T10:00:00", Some("Pacific/Apia"), UtcOffset::Iana).1,
            "2011-12-30T20:00:00.000Z"
        );
    }

    #[test]
    fn a_wall_clock_time_without_a_zone_is_refused_in_the_pages_words() {
        assert_eq!(Plan::at("2026-03-11T09:00:00", None, UtcOffset::Iana), Err(ZONE_REQUIRED));
        assert_eq!(Plan::at("2026-03-11T09:00:00", Some("Mars/Base"), UtcOffset::Iana), Err(ZONE_INVALID));
    }

    #[test]
    fn unreadable_datetimes_are_refused_without_panic() {
        for text in [
            "",
            "T",
            "2026",
            "2026-03-11",
            "2026-13-11T09:00:00Z",
            "2026-03-11T25:00:00Z",
            "2026-03-11 09:00:00Z",
            "+12026-03-11T09:00:00Z",
            "2026-03-11T09:00:00+",
            "2026-03-11T09:00:00+99:99",
            "2026-03-11T09:00:00+3",
            "2026-03-11T09:00:00ZZ",
            "２０２６-03-11T09:00:00Z",
            "2026-03-11T09:00:00é",
            "2026-03-1éT09:00:00Z",
        ] {
            assert_eq!(Plan::at(text, Some("UTC"), UtcOffset::Iana), Err(DATETIME_INVALID), "{text}");
        }
        assert!(Plan::at("9999-12-31T23:59:59.999-23:59", None, UtcOffset::Iana).is_ok());
        assert!(Plan::at("0000-01-01T00:00:00+23:59", None, UtcOffset::Iana).is_ok());
    }
}
