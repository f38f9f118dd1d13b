#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, time::Duration};

use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::error::{Error, Violation};

const CANARY: &str = "canary-4917012345678";

fn contract() -> Vec<pb::ErrorReason> {
    (1..1000).filter_map(|number| pb::ErrorReason::try_from(number).ok()).collect()
}

#[test]
fn every_reason_of_the_contract_has_one_row_and_every_row_a_reason_of_the_contract() {
    let rows: Vec<_> = Reason::ALL.iter().map(|reason| entry(*reason).proto).collect();
    assert_eq!(rows, contract(), "one row a reason, in the contract's order");
    assert_eq!(Reason::ALL.iter().collect::<HashSet<_>>().len(), Reason::ALL.len());
    for reason in Reason::ALL {
        // The domain's word and the contract's are the same word.
        assert_eq!(entry(reason).name(), reason.name());
        assert_eq!(reason.name().replace('_', ""), format!("{reason:?}").to_uppercase());
    }
}

#[test]
fn every_code_is_the_one_that_the_contracts_comments_state() {
    for reason in Reason::ALL {
        let row = entry(reason);
        let expected = match row.proto as i32 {
            1..20 => Code::InvalidArgument,
            20..40 => Code::FailedPrecondition,
            40 | 41 => Code::Unauthenticated,
            42 | 43 => Code::PermissionDenied,
            60..80 => Code::NotFound,
            83 => Code::Aborted,
            80..100 => Code::ResourceExhausted,
            100 | 101 | 105 | 106 => Code::Unavailable,
            102 => Code::DeadlineExceeded,
            103 | 107 => Code::Internal,
            104 => Code::Unknown,
            number => panic!("{number}: no code is known"),
        };
        assert_eq!(row.code, expected, "{reason:?}");
        assert!(row.means.ends_with('.'), "{reason:?}");
    }
}

#[test]
fn the_same_codes_stand_in_the_contracts_own_text() {
    // Read from the proto itself: a code named in a value's comment, or in its section's heading.
    let proto = include_str!("../../../proto/blubash/campaigns/v1/failure.proto");
    let values = proto.split("enum ErrorReason").nth(1).unwrap();
    // CANCELLED is left out: in the contract it is a status of a campaign or message.
    let names: Vec<_> = (2..17).map(|code| code_name(Code::from(code))).collect();
    let (mut heading, mut comment) = (Vec::new(), Vec::new());
    let mut seen = 0;
    for line in values.lines().map(str::trim) {
        let codes: Vec<_> = names
            .iter()
            .filter(|name| {
                line.split(|c: char| !c.is_ascii_uppercase() && c != '_').any(|word| word == **name)
            })
            .copied()
            .collect();
        if line.starts_with("// ---") {
            (heading, comment) = (codes, Vec::new());
        } else if line.starts_with("//") {
            comment.extend(codes);
        } else if let Some(name) = line.split(" = ").next().filter(|name| name.starts_with("ERROR_REASON_")) {
            let reason = pb::ErrorReason::from_str_name(name).unwrap();
            if reason != pb::ErrorReason::Unspecified {
                let row = entry(*Reason::ALL.iter().find(|r| entry(**r).proto == reason).unwrap());
                // INTERNAL (107) stands under no code: its name is its code.
                let allowed = if comment.is_empty() { &heading } else { &comment };
                let fits = allowed.contains(&code_name(row.code)) || name == "ERROR_REASON_INTERNAL";
                assert!(fits, "{name}: {} is not among {allowed:?}", code_name(row.code));
                seen += 1;
            }
            comment.clear();
        }
    }
    assert_eq!(seen, Reason::ALL.len());
}

#[test]
fn every_status_carries_error_info_and_every_wait_is_told() {
    for reason in Reason::ALL {
        let status = status(&Error::new(reason, "why"));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (entry(reason).name(), DOMAIN));
        assert_eq!(
            details.retry_info().is_some(),
            entry(reason).repeat == Repeat::AfterWaiting,
            "{reason:?}"
        );
        assert_eq!(details.precondition_failure().is_some(), status.code() == Code::FailedPrecondition);
        assert_eq!(details.resource_info().is_some(), status.code() == Code::NotFound);
        assert!(status.metadata().is_empty(), "{reason:?}");
    }
    let told = status(&Error::new(Reason::MessageNotCancellable, "").retry_after(Duration::from_secs(3)));
    assert_eq!(told.get_error_details().retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
}

#[test]
fn an_error_that_may_have_been_applied_stops_automatic_retries_and_is_never_unavailable() {
    for reason in Reason::ALL {
        let error = Error::new(reason, "why").retry_after(Duration::from_secs(1)).maybe_applied();
        let status = status(&error);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1", "{reason:?}");
        assert_ne!(status.code(), Code::Unavailable, "{reason:?}");
        assert!(status.get_error_details().retry_info().is_none(), "{reason:?}");
    }
}

#[test]
fn what_was_not_found_is_named_where_the_error_knows_it() {
    let status = status(&Error::new(Reason::MessageNotFound, "").with("message_id", "m1"));
    let details = status.get_error_details();
    let resource = details.resource_info().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("message", "m1"));
}

#[test]
fn many_and_long_violations_stay_within_bounds_and_the_rest_are_counted() {
    let long = |n: usize| Violation::new("x".repeat(n), Reason::FieldInvalid, "ü".repeat(n));
    for (count, size) in [(1, 10), (3, 100_000), (200, 20), (10_000, 300)] {
        let error = (0..100)
            .fold(Error::invalid(vec![long(size); count]), |error, _| error.with("fact", "v".repeat(size)));
        let status = status(&error);
        assert!(status.details().len() <= 4096, "{} bytes", status.details().len());
        assert!(status.message().len() <= MAX_MESSAGE, "{}", status.message().len());
        let details = status.get_error_details();
        let shown = details.bad_request().unwrap().field_violations.len();
        assert!(shown > 0);
        let note = format!("{} more are not shown", count - shown);
        assert_eq!(status.message().contains(&note), shown < count, "{}", status.message());
    }
}

const MAX_MESSAGE: usize = 512;

#[test]
fn a_violation_keeps_its_path_and_reason() {
    let error = Error::invalid(vec![
        Violation::new("options.default_time_zone", Reason::TimeZoneUnknown, "is not an IANA zone"),
        Violation::new("page_size", Reason::FieldInvalid, "must not be negative"),
    ]);
    let status = status(&error);
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "TIME_ZONE_UNKNOWN");
    let fields = &details.bad_request().unwrap().field_violations;
    let told: Vec<_> = fields.iter().map(|v| (v.field.as_str(), v.reason.as_str())).collect();
    assert_eq!(told, [("options.default_time_zone", "TIME_ZONE_UNKNOWN"), ("page_size", "FIELD_INVALID")]);
}

#[test]
fn a_message_that_quotes_the_upstream_reaches_the_caller_but_no_log() {
    let log = crate::grpc::tests::captured(|| {
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Internal) {
            let told = status(&Error::new(reason, CANARY).with("upstream_status", CANARY));
            assert_eq!(told.message(), CANARY);
        }
    });
    assert!(log.contains("UPSTREAM_REJECTED"), "{log}");
    assert!(!log.contains(CANARY), "{log}");
}

#[test]
fn the_table_prints_one_line_a_reason() {
    let text = markdown();
    assert_eq!(text.lines().count(), Reason::ALL.len() + 2);
    assert!(text.starts_with("| code | reason | what it means | may I repeat? |\n"));
    assert!(text.contains("| `UNAVAILABLE` | `SERVER_DRAINING` |"));
    assert!(text.lines().all(|line| line.matches('|').count() == 5));
}
