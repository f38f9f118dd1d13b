//! When to send, and whether the upstream understood it.

use chrono::{
    DateTime, Duration, FixedOffset, LocalResult, NaiveDate, NaiveDateTime, Offset as _, SubsecRound as _,
    TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::ResolvedSchedule;

/// When to send one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// As soon as the campaign's own rules allow.
    Immediate,
    /// At a moment.
    At(Moment),
}

/// A moment as it goes upstream, with the instant that it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `datetime`, as the caller wrote it, or with the offset that a policy chose.
    pub text: String,
    /// `timezone`, where the item itself named one and `text` has no offset.
    pub time_zone: Option<String>,
    /// The instant that it means, to the millisecond.
    pub instant: DateTime<Utc>,
    /// The zone in which `text` was read; `None` where it is an instant by itself.
    pub zone: Option<Tz>,
}

/// What a wall-clock time means that clocks skip or show twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalTimePolicy {
    /// Nothing: it is refused.
    #[default]
    Reject,
    /// The earlier of the two instants.
    Earlier,
    /// The later of the two instants.
    Later,
}

/// Why a date and time cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleFault {
    /// It is not an ISO 8601 date and time of the form that the contract allows.
    Datetime,
    /// A wall-clock time without any zone.
    ZoneRequired,
    /// No such zone in the IANA database.
    ZoneUnknown,
    /// Clocks skip it.
    Nonexistent {
        /// As [`LocalTimePolicy::Earlier`] would read it.
        earlier: DateTime<FixedOffset>,
        /// As [`LocalTimePolicy::Later`] would read it.
        later: DateTime<FixedOffset>,
    },
    /// Clocks show it twice.
    Ambiguous {
        /// The first time.
        earlier: DateTime<FixedOffset>,
        /// The second time.
        later: DateTime<FixedOffset>,
    },
}

impl Moment {
    /// An exact instant, cut to the millisecond.
    pub fn at(instant: DateTime<Utc>) -> Self {
        let instant = instant.trunc_subsecs(3);
        Self {
            text: instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            time_zone: None,
            instant,
            zone: None,
        }
    }

    /// A date and time as people write it: `value` with an offset is an instant; without one it is read
    /// in the item's `time_zone`, else in `default_zone`.
    pub fn parse(
        value: String,
        time_zone: &str,
        default_zone: Option<Tz>,
        policy: LocalTimePolicy,
    ) -> Result<Self, ScheduleFault> {
        let (local, offset) = parse_offset_datetime(&value).ok_or(ScheduleFault::Datetime)?;
        if let Some(offset) = offset {
            let instant = local.checked_sub_offset(offset).ok_or(ScheduleFault::Datetime)?;
            let instant = instant.and_utc().trunc_subsecs(3);
            return Ok(Self { text: value, time_zone: None, instant, zone: None });
        }
        let zone = match time_zone {
            "" => default_zone.ok_or(ScheduleFault::ZoneRequired)?,
            name => zone(name).ok_or(ScheduleFault::ZoneUnknown)?,
        };
        let instants = instants(local, zone);
        let chosen = match (&instants, policy) {
            // Unambiguous: it goes up as written, for the upstream's own zone data to resolve.
            (Instants::One(instant), _) => {
                let time_zone = (!time_zone.is_empty()).then(|| time_zone.to_owned());
                let instant = instant.to_utc().trunc_subsecs(3);
                return Ok(Self { text: value, time_zone, instant, zone: Some(zone) });
            }
            (Instants::Skipped { earlier, later }, LocalTimePolicy::Reject) => {
                return Err(ScheduleFault::Nonexistent { earlier: *earlier, later: *later });
            }
            (Instants::Twice { earlier, later }, LocalTimePolicy::Reject) => {
                return Err(ScheduleFault::Ambiguous { earlier: *earlier, later: *later });
            }
            (
                Instants::Skipped { earlier, .. } | Instants::Twice { earlier, .. },
                LocalTimePolicy::Earlier,
            ) => earlier,
            (Instants::Skipped { later, .. } | Instants::Twice { later, .. }, LocalTimePolicy::Later) => {
                later
            }
        };
        // What the upstream makes of a gap or an overlap is unknown, so the offset says it outright.
        Ok(Self {
            text: chosen.format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
            time_zone: None,
            instant: chosen.to_utc().trunc_subsecs(3),
            zone: None,
        })
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Immediate => map.serialize_entry("type", "immediate")?,
            Self::At(moment) => {
                map.serialize_entry("type", "absolute")?;
                map.serialize_entry("datetime", &moment.text)?;
                if let Some(zone) = &moment.time_zone {
                    map.serialize_entry("timezone", zone)?;
                }
            }
        }
        map.end()
    }
}

impl ResolvedSchedule {
    /// Reads what the upstream reported (`scheduled_at`, `scheduled_at_utc`, `timezone`) and compares it
    /// with the IANA database, and with what was asked for where that is known. `None`: it reported no
    /// time at all.
    pub fn read(
        local_datetime: Option<String>,
        utc: Option<&str>,
        time_zone: Option<String>,
        asked: Option<(DateTime<Utc>, Option<Tz>)>,
    ) -> Option<Self> {
        let local = local_datetime.as_deref().and_then(parse_offset_datetime);
        let instant_of = |(local, offset): (NaiveDateTime, Option<FixedOffset>)| {
            local.checked_sub_offset(offset?).map(|t| t.and_utc())
        };
        let time =
            utc.and_then(parse_offset_datetime).and_then(instant_of).or_else(|| local.and_then(instant_of));
        if time.is_none() && local_datetime.is_none() {
            return None;
        }
        let asked_zone = asked.and_then(|(_, zone)| zone);
        let reported_zone = time_zone.as_deref().and_then(zone);
        let time_zone =
            time_zone.or_else(|| asked_zone.map(|zone| zone.name().to_owned())).unwrap_or_default();
        let expected = match (asked, local, reported_zone) {
            (Some((instant, _)), _, _) => Some(instant),
            (None, Some((local, _)), Some(zone)) => match instants(local, zone) {
                Instants::One(instant) => Some(instant.to_utc()),
                // Either reading of a time shown twice is right; of a skipped one nobody can say.
                Instants::Twice { earlier, later } => {
                    let fits = |t: &&DateTime<FixedOffset>| time == Some(t.to_utc());
                    Some([&earlier, &later].into_iter().find(fits).unwrap_or(&earlier).to_utc())
                }
                Instants::Skipped { .. } => None,
            },
            (None, _, _) => None,
        };
        let differs = |expected: &DateTime<Utc>| {
            time.is_some_and(|time| time.trunc_subsecs(3) != expected.trunc_subsecs(3))
        };
        Some(Self {
            time,
            local_datetime: local_datetime.unwrap_or_default(),
            time_zone,
            expected_time: expected.filter(differs),
        })
    }
}

/// Looks up an IANA zone by its exact name.
pub fn zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

enum Instants {
    One(DateTime<FixedOffset>),
    Skipped { earlier: DateTime<FixedOffset>, later: DateTime<FixedOffset> },
    Twice { earlier: DateTime<FixedOffset>, later: DateTime<FixedOffset> },
}

/// The instants that a wall-clock time can mean in a zone.
fn instants(local: NaiveDateTime, zone: Tz) -> Instants {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) => Instants::One(instant.fixed_offset()),
        LocalResult::Ambiguous(a, b) => {
            let (a, b) = (a.fixed_offset(), b.fixed_offset());
            Instants::Twice { earlier: a.min(b), later: a.max(b) }
        }
        LocalResult::None => {
            // Read with the offset from after the change it lies before it, and the other way round.
            // A day on either side of the change is clear of it, also where a whole day was skipped.
            let read = |by: NaiveDateTime| {
                let offset = zone.offset_from_utc_datetime(&by).fix();
                zone.from_utc_datetime(&(local - offset)).fixed_offset()
            };
            let (a, b) = (read(local - Duration::days(1)), read(local + Duration::days(1)));
            Instants::Skipped { earlier: a.min(b), later: a.max(b) }
        }
    }
}

/// Reads `YYYY-MM-DDTHH:MM[:SS[.f...]]` with `Z`, `+hh:mm`, `+hhmm` or nothing behind it. A fraction may have
/// 1 to 9 digits. `None`: it is not of that form, or names no date or time that exists.
pub fn parse_offset_datetime(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    let b = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u32> {
        b.get(from..to)?.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + u32::from(d - b'0')))
    };
    let is = |at: usize, byte: u8| b.get(at) == Some(&byte);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':')) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(number(0, 4)?.cast_signed(), number(5, 7)?, number(8, 10)?)?;
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    let (mut second, mut nanos, mut at) = (0, 0, 16);
    if is(at, b':') {
        second = number(17, 19)?;
        at = 19;
        if is(at, b'.') {
            let digits = b[20..].iter().take_while(|d| d.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            nanos = number(20, 20 + digits)? * 10_u32.pow(9 - digits as u32);
            at = 20 + digits;
        }
    }
    let local = date.and_hms_nano_opt(hour, minute, second, nanos)?;
    let offset = match &b[at..] {
        [] => None,
        [b'Z'] => FixedOffset::east_opt(0),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, minutes) = match rest.len() {
                4 => (number(at + 1, at + 3)?, number(at + 3, at + 5)?),
                5 if rest[2] == b':' => (number(at + 1, at + 3)?, number(at + 4, at + 6)?),
                _ => return None,
            };
            let seconds = (minutes < 60).then_some((hours * 3600 + minutes * 60).cast_signed())?;
            Some(FixedOffset::east_opt(if *sign == b'-' { -seconds } else { seconds })?)
        }
        _ => return None,
    };
    Some((local, offset))
}

#[cfg(test)]
mod tests;
