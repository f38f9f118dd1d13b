use std::time::Duration;

use super::*;
use crate::{
    error::Error,
    grpc::convert::parse,
    model::{IngestionOptions, LocalTimePolicy, ResultView, Status, StatusSet},
};

fn proto_duration(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

fn fields_of(error: &Error) -> Vec<&str> {
    error.violations().iter().map(|violation| violation.field.as_str()).collect()
}

#[test]
fn options_that_are_left_out_are_the_defaults() {
    assert_eq!(parse::options(None), Ok(IngestionOptions::default()));
    assert_eq!(parse::options(Some(pb::AudienceOptions::default())), Ok(IngestionOptions::default()));
}

#[test]
fn options_are_read_as_the_contract_says() {
    let options = parse::options(Some(pb::AudienceOptions {
        request_id: "import-1".into(),
        default_time_zone: "Europe/Madrid".into(),
        local_time_policy: pb::LocalTimePolicy::Later.into(),
        result_view: pb::ResultView::Failures.into(),
        max_batch_size: 1,
        validate_only: true,
        first_index: 1 << 53,
        reject_duplicate_recipients: true,
    }))
    .unwrap();
    assert_eq!(options.request_id.unwrap().as_str(), "import-1");
    assert_eq!(options.default_zone.unwrap().name(), "Europe/Madrid");
    assert_eq!(options.local_time_policy, LocalTimePolicy::Later);
    assert_eq!(options.result_view, ResultView::Failures);
    assert_eq!((options.max_batch_size, options.first_index), (Some(1), 1 << 53));
    assert!(options.validate_only && options.reject_duplicate_recipients);
}

#[test]
fn every_bad_option_is_named_at_once_and_none_is_quoted() {
    let wrong = parse::options(Some(pb::AudienceOptions {
        request_id: format!("{CANARY} "),
        default_time_zone: CANARY.into(),
        local_time_policy: 99,
        result_view: -1,
        max_batch_size: -1,
        first_index: i64::MIN,
        ..Default::default()
    }))
    .unwrap_err();
    assert_eq!(
        told(&wrong),
        [
            ("options.request_id", Reason::FieldInvalid),
            ("options.default_time_zone", Reason::TimeZoneUnknown),
            ("options.local_time_policy", Reason::FieldInvalid),
            ("options.result_view", Reason::FieldInvalid),
            ("options.max_batch_size", Reason::FieldInvalid),
            ("options.first_index", Reason::FieldInvalid),
        ]
    );
    assert!(!format!("{wrong:?}").contains(CANARY));
}

#[test]
fn ids_are_required_wherever_they_stand() {
    let error = parse::get_message(pb::GetMessageRequest {
        campaign_id: String::new(),
        message_id: "..".into(),
        max_staleness: proto_duration(-1, 0),
    });
    assert_eq!(fields_of(&error.unwrap_err()), ["max_staleness", "campaign_id", "message_id"]);
    let request = pb::CancelMessageRequest { campaign_id: "c".into(), message_id: "m\n".into() };
    assert_eq!(fields_of(&parse::cancel_message(request).unwrap_err()), ["message_id"]);

    let request = pb::CancelMessageRequest { campaign_id: "c".into(), message_id: "m".into() };
    let (campaign, message) = parse::cancel_message(request).unwrap();
    assert_eq!((campaign.as_str(), message.as_str()), ("c", "m"));
}

#[test]
fn a_duration_is_protobufs_and_not_negative() {
    let read = |max_staleness| {
        parse::get_message(pb::GetMessageRequest {
            campaign_id: "c".into(),
            message_id: "m".into(),
            max_staleness,
        })
    };
    for (seconds, nanos) in [(0, 0), (1, 999_999_999), (315_576_000_000, 0)] {
        assert!(read(proto_duration(seconds, nanos)).is_ok());
    }
    for (seconds, nanos) in
        [(-1, 0), (0, -1), (1, -1), (0, 1_000_000_000), (315_576_000_001, 0), (i64::MIN, i32::MIN)]
    {
        assert_eq!(fields_of(&read(proto_duration(seconds, nanos)).unwrap_err()), ["max_staleness"]);
    }
}

#[test]
fn a_page_size_is_held_within_the_servers() {
    let read = |page_size| {
        parse::list_messages(pb::ListMessagesRequest {
            campaign_id: "c".into(),
            page_size,
            ..Default::default()
        })
        .map(|request| request.page_size)
    };
    for (given, taken) in [(0, 50), (1, 1), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
        assert_eq!(read(given), Ok(taken));
    }
    assert_eq!(fields_of(&read(-1).unwrap_err()), ["page_size"]);
}

#[test]
fn statuses_make_a_filter_and_unknown_numbers_are_named() {
    let read = |statuses| {
        parse::list_messages(pb::ListMessagesRequest {
            campaign_id: "c".into(),
            page_token: "t".into(),
            statuses,
            ..Default::default()
        })
    };
    let request = read(vec![2, 0, 2]).unwrap();
    assert_eq!(request.statuses, StatusSet::from_iter([Status::Queued, Status::Unknown]));
    assert_eq!(request.page_token, "t");
    assert_eq!(read(vec![]).unwrap().statuses, StatusSet::default());
    assert_eq!(fields_of(&read(vec![1, 7, 2, -1]).unwrap_err()), ["statuses[1]", "statuses[3]"]);
    assert_eq!(read(vec![99; 1_000_000]).unwrap_err().violations().len(), 10);
}

#[test]
fn a_watch_is_read_with_its_defaults_and_bounds() {
    let request = || pb::WatchMessagesRequest { campaign_id: "c".into(), ..Default::default() };
    let (campaign, options, token) = parse::watch(request()).unwrap();
    assert_eq!((campaign.as_str(), token.as_str()), ("c", ""));
    assert!(options.snapshot && !options.complete_when_terminal && options.message_ids.is_empty());
    assert_eq!(options.heartbeat_interval, Duration::from_secs(15));
    for (given, held) in [((0, 0), 1_000), ((0, 1), 1_000), ((2, 500_000_000), 2_500), ((3_600, 0), 300_000)]
    {
        let heartbeat_interval = proto_duration(given.0, given.1);
        let (_, options, _) =
            parse::watch(pb::WatchMessagesRequest { heartbeat_interval, ..request() }).unwrap();
        assert_eq!(options.heartbeat_interval, Duration::from_millis(held));
    }
    let skip = pb::WatchMessagesRequest {
        initial_state: pb::InitialState::Skip.into(),
        message_ids: vec!["m".into(); 1_000],
        ..request()
    };
    let (_, options, _) = parse::watch(skip).unwrap();
    assert!(!options.snapshot);
    assert_eq!(options.message_ids.len(), 1, "a message named twice is one message");
}

#[test]
fn everything_that_is_wrong_with_a_watch_is_said_at_once() {
    let mut message_ids = vec!["m".to_owned(); 1_001];
    message_ids[3] = format!("{CANARY}\n");
    let error = parse::watch(pb::WatchMessagesRequest {
        campaign_id: "x".repeat(257),
        message_ids,
        statuses: vec![-5],
        initial_state: 9,
        heartbeat_interval: proto_duration(0, -1),
        ..Default::default()
    })
    .unwrap_err();
    assert_eq!(
        fields_of(&error),
        [
            "campaign_id",
            "message_ids",
            "message_ids[3]",
            "statuses[0]",
            "initial_state",
            "heartbeat_interval"
        ]
    );
    assert!(!format!("{error:?} {:?}", error.violations()).contains(CANARY));
}
