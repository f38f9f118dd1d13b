#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const NEW_YORK: &str = "America/New_York";

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn wall(text: &str, policy: LocalTimePolicy) -> Result<Moment, ScheduleFault> {
    Moment::parse(text.to_owned(), NEW_YORK, None, policy)
}

#[test]
fn a_datetime_with_an_offset_is_an_instant_and_its_zone_is_ignored() {
    for (text, instant) in [
        ("2026-03-10T14:30:00.000Z", "2026-03-10T14:30:00Z"),
        ("2026-03-10T14:30Z", "2026-03-10T14:30:00Z"),
        ("2026-03-10T14:30:00+03:00", "2026-03-10T11:30:00Z"),
        ("2026-03-10T14:30:00.5-0500", "2026-03-10T19:30:00.5Z"),
        ("2026-03-10T14:30:00.123999999Z", "2026-03-10T14:30:00.123Z"),
    ] {
        let moment = Moment::parse(text.into(), "No/Such", None, LocalTimePolicy::Reject).unwrap();
        assert_eq!(moment.instant, utc(instant), "{text}");
        assert_eq!((moment.text.as_str(), moment.time_zone), (text, None));
    }
}

#[test]
fn what_is_not_an_iso_8601_date_and_time_is_refused() {
    for text in [
        "",
        "now",
        "2026-03-10",
        "2026-03-10 14:30",
        "2026-3-10T14:30",
        "2026-02-30T09:00",
        "2026-03-10T24:00",
        "2026-03-10T14:60",
        "2026-03-10T14:30:60",
        "2026-03-10T14:30:00.",
        "2026-03-10T14:30:00.1234567890",
        "2026-03-10T14:30+3",
        "2026-03-10T14:30+03:60",
        "2026-03-10T14:30:00z",
        "2026-03-10T14:30+25:00",
        "2026-03-10T14:30ü",
        "+2026-03-10T14:30",
        "2026-03-10T14:30+03:0\u{661}",
    ] {
        assert_eq!(parse_offset_datetime(text), None, "{text:?}");
    }
}

#[test]
fn an_unambiguous_wall_clock_time_goes_up_as_it_was_written() {
    let moment = wall("2026-03-11T09:00:00", LocalTimePolicy::Reject).unwrap();
    assert_eq!(moment.text, "2026-03-11T09:00:00");
    assert_eq!(moment.time_zone.as_deref(), Some(NEW_YORK));
    assert_eq!(moment.instant, utc("2026-03-11T13:00:00Z"));
}

#[test]
fn the_default_zone_serves_where_the_item_names_none_and_stays_in_its_own_field() {
    let default = zone("Europe/Madrid");
    let moment = Moment::parse("2026-07-01T09:00".into(), "", default, LocalTimePolicy::Reject).unwrap();
    assert_eq!((moment.instant, moment.time_zone), (utc("2026-07-01T07:00:00Z"), None));
    let fault = |name| Moment::parse("2026-07-01T09:00".into(), name, None, LocalTimePolicy::Reject);
    assert_eq!(fault(""), Err(ScheduleFault::ZoneRequired));
    assert_eq!(fault("Mars/Olympus"), Err(ScheduleFault::ZoneUnknown));
}

#[test]
fn a_skipped_time_is_refused_or_read_as_the_policy_says() {
    let text = "2026-03-08T02:30:00";
    let Err(ScheduleFault::Nonexistent { earlier, later }) = wall(text, LocalTimePolicy::Reject) else {
        panic!("a skipped time must be refused");
    };
    assert_eq!(earlier.to_rfc3339(), "2026-03-08T01:30:00-05:00");
    assert_eq!(later.to_rfc3339(), "2026-03-08T03:30:00-04:00");
    assert_eq!(wall(text, LocalTimePolicy::Earlier).unwrap().text, "2026-03-08T01:30:00.000-05:00");
    assert_eq!(wall(text, LocalTimePolicy::Later).unwrap().text, "2026-03-08T03:30:00.000-04:00");
}

#[test]
fn a_time_shown_twice_is_refused_or_read_as_the_policy_says() {
    let text = "2026-11-01T01:30:00";
    let Err(ScheduleFault::Ambiguous { earlier, later }) = wall(text, LocalTimePolicy::Reject) else {
        panic!("a time shown twice must be refused");
    };
    assert_eq!(earlier.to_rfc3339(), "2026-11-01T01:30:00-04:00");
    assert_eq!(later.to_rfc3339(), "2026-11-01T01:30:00-05:00");
    assert_eq!(wall(text, LocalTimePolicy::Later).unwrap().instant, utc("2026-11-01T06:30:00Z"));
}

#[test]
fn a_whole_skipped_day_has_its_two_readings_a_day_apart() {
    let fault = Moment::parse("2011-12-30T12:00".into(), "Pacific/Apia", None, LocalTimePolicy::Reject);
    let Err(ScheduleFault::Nonexistent { earlier, later }) = fault else { panic!("{fault:?}") };
    assert_eq!(later - earlier, Duration::hours(24));
}

#[test]
fn the_vendor_pages_own_example_is_an_hour_off_and_is_told() {
    let read = |asked| {
        ResolvedSchedule::read(
            Some("2026-03-11T09:00:00.000-05:00".into()),
            Some("2026-03-11T14:00:00.000Z"),
            Some(NEW_YORK.into()),
            asked,
        )
        .unwrap()
    };
    for asked in [None, Some((utc("2026-03-11T13:00:00Z"), zone(NEW_YORK)))] {
        let schedule = read(asked);
        assert_eq!(schedule.time, Some(utc("2026-03-11T14:00:00Z")));
        assert_eq!(schedule.expected_time, Some(utc("2026-03-11T13:00:00Z")));
    }
}

#[test]
fn an_upstream_that_agrees_with_the_iana_database_is_not_flagged() {
    let schedule = ResolvedSchedule::read(
        Some("2026-03-11T09:00:00.000-04:00".into()),
        Some("2026-03-11T13:00:00.000Z"),
        Some(NEW_YORK.into()),
        None,
    );
    assert_eq!(schedule.unwrap().expected_time, None);
    assert_eq!(ResolvedSchedule::read(None, None, None, None), None);
}

proptest! {
    #[test]
    fn any_wall_clock_time_in_any_zone_resolves_to_instants_that_show_it_or_to_a_fault(
        seconds in 0_i64..4_102_444_800, index in 0..chrono_tz::TZ_VARIANTS.len(),
    ) {
        let zone = chrono_tz::TZ_VARIANTS[index];
        let local = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
        let text = local.format("%Y-%m-%dT%H:%M:%S").to_string();
        match Moment::parse(text.clone(), zone.name(), None, LocalTimePolicy::Reject) {
            Ok(moment) => prop_assert_eq!(moment.instant.with_timezone(&zone).naive_local(), local),
            Err(ScheduleFault::Ambiguous { earlier, later }) => {
                prop_assert!(earlier < later);
                for instant in [earlier, later] {
                    prop_assert_eq!(instant.with_timezone(&zone).naive_local(), local);
                }
            }
            Err(ScheduleFault::Nonexistent { earlier, later }) => {
                prop_assert!(earlier < later);
                prop_assert!(earlier.with_timezone(&zone).naive_local() < local);
                prop_assert!(later.with_timezone(&zone).naive_local() > local);
            }
            Err(fault) => prop_assert!(false, "{fault:?}"),
        }
    }

    #[test]
    fn the_policies_text_means_the_policies_instant(
        minutes in 0_i64..1_577_880, policy in prop_oneof![Just(LocalTimePolicy::Earlier), Just(LocalTimePolicy::Later)],
    ) {
        let local = utc("2024-01-01T00:00:00Z").naive_utc() + Duration::minutes(minutes);
        let moment = wall(&local.format("%Y-%m-%dT%H:%M").to_string(), policy).unwrap();
        if let (local, Some(offset)) = parse_offset_datetime(&moment.text).unwrap() {
            prop_assert_eq!(local - offset, moment.instant.naive_utc());
        }
    }

    #[test]
    fn reading_a_datetime_never_panics(text in "\\PC{0,40}") {
        let _ = parse_offset_datetime(&text);
    }
}
