#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::upstream::{
    evidence::{Broken, Unsent},
    testing::{REFUSED, RESET, answer, batch, message_id, now, with_retry_after},
};

const NOT_SENT: [Unsent; 5] =
    [Unsent::Dns, Unsent::Connect, Unsent::ConnectTimeout, Unsent::StreamRefused, Unsent::Cancelled];
const PAUSED: &str =
    r#"{"message":"Cannot add contacts while the campaign is paused. Resume the campaign first."}"#;
const BAD_NUMBER: &str = r#"{"message":"Identifier is invalid"}"#;

fn judged(evidence: &Evidence, items: usize, batches: Batches) -> Outcome {
    let names: Vec<String> = (0..items).map(|n| format!("c{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    classify(evidence, &batch(&names).asked, batches, now())
}

/// The outcome's row in the table, as one word.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Added(_) => "added",
        Outcome::NotApplied(_) => "not applied",
        Outcome::Refused(_) => "refused",
        Outcome::Split { .. } => "split",
        Outcome::Rejected(_) => "rejected",
        Outcome::InDoubt { by_refusal: true, .. } => "in doubt by refusal",
        Outcome::InDoubt { by_refusal: false, .. } => "in doubt",
    }
}

fn words(evidence: &Evidence) -> [&'static str; 4] {
    [(1, Batches::Unproven), (3, Batches::Unproven), (1, Batches::Atomic), (3, Batches::Atomic)]
        .map(|(items, batches)| word(&judged(evidence, items, batches)))
}

#[test]
fn what_was_never_sent_is_not_applied_and_what_was_cut_is_in_doubt() {
    for why in NOT_SENT {
        assert_eq!(words(&Evidence::NotSent { why }), ["not applied"; 4]);
    }
    for why in [Broken::Timeout, Broken::Connection] {
        assert_eq!(words(&Evidence::Broken { why }), ["in doubt"; 4]);
    }
}

#[test]
fn under_a_proven_key_only_an_added_or_a_refused_item_tells_of_earlier_attempts() {
    for status in (100..=999).filter(|status| !(200..300).contains(status)) {
        let outcome = judged(&answer(status, BAD_NUMBER), 1, Batches::Unproven);
        assert_eq!(outcome.settles_its_key(), [400, 422].contains(&status), "{status}");
    }
    assert!(Outcome::Added(Vec::new()).settles_its_key());
}

#[test]
fn every_status_has_its_row_in_the_table() {
    for status in 100..=999 {
        // One item and several, with batches unproven; then the same with batches declared atomic.
        let expected = match status {
            421 | 425 | 429 => ["not applied"; 4],
            401 | 403 | 404 | 405 | 415 => ["refused"; 4],
            413 | 431 => ["rejected", "split", "rejected", "split"],
            400 | 422 => ["rejected", "in doubt by refusal", "rejected", "split"],
            408 | 409 => ["in doubt"; 4],
            402..=499 => ["in doubt", "in doubt by refusal", "in doubt", "split"],
            _ => ["in doubt"; 4],
        };
        for body in ["", "<html>", r#"{"message":"x"}"#, BAD_NUMBER] {
            assert_eq!(words(&answer(status, body)), expected, "{status} {body}");
        }
        for body in [Body::Truncated, Body::OverCap] {
            let status = StatusCode::from_u16(status).unwrap();
            let evidence = Evidence::Answered { status, headers: HeaderMap::new(), body };
            assert_eq!(words(&evidence), expected, "{evidence:?}");
        }
    }
}

#[test]
fn a_refusal_of_the_campaign_is_a_refusal_of_the_whole_batch() {
    for status in [400, 422] {
        assert_eq!(words(&answer(status, PAUSED)), ["refused"; 4]);
    }
    let Outcome::Refused(error) = judged(&answer(400, PAUSED), 3, Batches::Unproven) else { panic!() };
    assert_eq!((error.reason(), error.applied()), (Reason::CampaignPaused, Applied::No));
    let Outcome::Refused(error) = judged(&answer(404, "<html>"), 3, Batches::Unproven) else { panic!() };
    assert_eq!(error.reason(), Reason::CampaignNotFound);
}

#[test]
fn a_refusal_of_a_batch_of_several_names_its_status_and_reason_as_metadata() {
    let Outcome::InDoubt { error, by_refusal: true } = judged(&answer(400, BAD_NUMBER), 3, Batches::Unproven)
    else {
        panic!()
    };
    assert_eq!((error.reason(), error.applied()), (Reason::OutcomeUnknown, Applied::Maybe));
    let expected = [
        ("upstream_status".into(), "400".to_owned()),
        ("upstream_reason".into(), "IDENTIFIER_INVALID".to_owned()),
    ];
    assert_eq!(error.metadata(), expected);
}

#[test]
fn what_another_attempt_may_cure_says_when() {
    for (evidence, reason, seconds) in [
        (REFUSED, Reason::UpstreamUnavailable, 1),
        (answer(429, ""), Reason::UpstreamRateLimited, 1),
        (with_retry_after(answer(429, ""), "7"), Reason::UpstreamRateLimited, 7),
        (with_retry_after(answer(425, ""), "Wed, 11 Mar 2026 09:00:30 GMT"), Reason::UpstreamUnavailable, 30),
    ] {
        let Outcome::NotApplied(error) = judged(&evidence, 1, Batches::Unproven) else { panic!() };
        assert_eq!((error.reason(), error.applied()), (reason, Applied::No));
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(seconds)));
    }
}

#[test]
fn a_checked_answer_is_added_in_the_items_order() {
    let body = r#"{"items":[{"messageId":"m0","contactId":"c0","scheduled_at":null},{"messageId":"m1"}]}"#;
    for status in [200, 201, 202] {
        let Outcome::Added(items) = judged(&answer(status, body), 2, Batches::Unproven) else { panic!() };
        let ids: Vec<_> = items.iter().map(|i| (i.message_id.as_str(), i.contact_id.as_str())).collect();
        assert_eq!(ids, [("m0", "c0"), ("m1", "")]);
        assert!(items.iter().all(|item| item.schedule.is_none()));
    }
}

#[test]
fn an_hour_that_is_off_is_told_with_what_was_asked_for() {
    let asked = [Asked { contact_id: None, at: Some(("2026-03-11T13:00:00Z".parse().unwrap(), None)) }];
    let body = r#"[{"messageId":"m","scheduled_at":"2026-03-11T09:00:00.000-05:00",
        "scheduled_at_utc":"2026-03-11T14:00:00.000Z","timezone":"America/New_York"}]"#;
    let Outcome::Added(items) = classify(&answer(200, body), &asked, Batches::Unproven, now()) else {
        panic!()
    };
    let schedule = items[0].schedule.clone().unwrap();
    assert_eq!(schedule.expected_time, Some("2026-03-11T13:00:00Z".parse().unwrap()));
}

#[test]
fn a_success_that_cannot_be_trusted_leaves_the_whole_batch_in_doubt() {
    for body in [
        "",
        "ok",
        "{}",
        r#"{"success":true}"#,
        r#"{"items":[]}"#,
        r#"{"items":[{"messageId":"m0"}]}"#,
        r#"{"items":[{"messageId":"m0"},{"messageId":"m1"},{"messageId":"m2"}]}"#,
        r#"{"items":[{"messageId":"m0"},{"messageId":"m0"}]}"#,
        r#"{"items":[{"messageId":"m0"},{"messageId":""}]}"#,
        r#"{"items":[{"messageId":"m0"},{"id":"m1"}]}"#,
        r#"{"items":[{"messageId":"m0"},null]}"#,
        r#"{"items":[{"messageId":"m0"},{"messageId":"m1"}]"#,
    ] {
        assert_eq!(word(&judged(&answer(201, body), 2, Batches::Atomic)), "in doubt", "{body}");
    }
}

#[test]
fn the_contact_of_another_item_means_a_shuffled_answer_and_a_new_one_means_a_merge() {
    let named = |id: &str| Asked { contact_id: Some(id.into()), at: None };
    let by_number = Asked::default();
    for (asked, contacts, expected) in [
        ([named("a"), named("b")], ["a", "b"], "added"),
        ([named("a"), named("b")], ["b", "a"], "in doubt"),
        ([named("a"), named("b")], ["a", "new"], "added"),
        ([named("a"), named("b")], ["b", "new"], "in doubt"),
        ([named("a"), named("b")], ["b", "b"], "in doubt"),
        ([named("a"), named("a")], ["a", "a"], "added"),
        ([named("a"), by_number.clone()], ["a", "a"], "added"),
        ([named("a"), by_number.clone()], ["new", "a"], "in doubt"),
        ([by_number.clone(), by_number.clone()], ["a", "a"], "added"),
        ([named("a"), named("b")], ["", ""], "added"),
    ] {
        let body = format!(
            r#"[{{"messageId":"m0","contactId":"{}"}},{{"messageId":"m1","contactId":"{}"}}]"#,
            contacts[0], contacts[1]
        );
        let outcome = classify(&Evidence::answered(StatusCode::OK, body), &asked, Batches::Unproven, now());
        assert_eq!(word(&outcome), expected, "{asked:?} {contacts:?}");
    }
}

#[test]
fn a_cancellation_is_proven_only_by_its_own_id_and_the_word_cancelled() {
    let id = message_id("m1");
    for (body, proven) in [
        (r#"{"id":"m1","status":"CANCELLED"}"#, true),
        (r#"{"data":{"messageId":"m1","status":"canceled"}}"#, true),
        (r#"{"id":"m2","status":"CANCELLED"}"#, false),
        (r#"{"id":"m1","status":"QUEUED"}"#, false),
        (r#"{"status":"CANCELLED"}"#, false),
        (r#"{"success":true}"#, false),
        ("", false),
        ("<html>", false),
    ] {
        let answered = cancel(&answer(200, body), &id, now()).unwrap();
        assert_eq!(matches!(answered, CancelAnswer::Proven(_)), proven, "{body}");
    }
}

#[test]
fn a_cancellation_that_failed_says_whether_anything_can_have_been_done() {
    let id = message_id("m1");
    for status in (300..=999).map(|status| answer(status, "")).chain([REFUSED, RESET]) {
        let error = cancel(&status, &id, now()).unwrap_err();
        let proven = match &status {
            Evidence::NotSent { .. } => true,
            Evidence::Broken { .. } => false,
            Evidence::Answered { status, .. } => {
                (400..=499).contains(&status.as_u16()) && !matches!(status.as_u16(), 408 | 409)
            }
        };
        assert_eq!(error.applied() == Applied::No, proven, "{status:?}");
        assert_eq!(error.reason() == Reason::OutcomeUnknown, !proven, "{status:?}");
    }
    for (status, body, reason) in [
        (404, "", Reason::MessageNotFound),
        (404, r#"{"message":"Campaign not found"}"#, Reason::CampaignNotFound),
        (401, "", Reason::ApiKeyInvalid),
        (429, "", Reason::UpstreamRateLimited),
        (400, r#"{"message":"Message is SENT"}"#, Reason::UpstreamRejected),
    ] {
        assert_eq!(cancel(&answer(status, body), &id, now()).unwrap_err().reason(), reason, "{status}");
    }
}

#[test]
fn every_failure_of_a_read_has_its_reason_and_changes_nothing() {
    let get = Operation::GetMessage;
    let plan = r#"{"message":"Campaigns feature is not available in your current plan"}"#;
    for (evidence, reason) in [
        (REFUSED, Reason::UpstreamUnavailable),
        (RESET, Reason::UpstreamUnavailable),
        (answer(500, ""), Reason::UpstreamUnavailable),
        (answer(503, ""), Reason::UpstreamUnavailable),
        (answer(408, ""), Reason::UpstreamUnavailable),
        (answer(429, ""), Reason::UpstreamRateLimited),
        (answer(401, ""), Reason::ApiKeyInvalid),
        (answer(403, ""), Reason::WorkspaceForbidden),
        (answer(403, plan), Reason::CampaignsFeatureUnavailable),
        (answer(404, ""), Reason::MessageNotFound),
        (answer(404, r#"{"message":"Campaign not found"}"#), Reason::CampaignNotFound),
        (answer(400, r#"{"message":"?"}"#), Reason::UpstreamRejected),
        (answer(302, ""), Reason::UpstreamResponseInvalid),
        (answer(600, ""), Reason::UpstreamResponseInvalid),
    ] {
        let error = read(&evidence, &get, now()).unwrap_err();
        assert_eq!((error.reason(), error.applied()), (reason, Applied::No), "{evidence:?}");
    }
    let error = read(&answer(404, ""), &Operation::ListMessages, now()).unwrap_err();
    assert_eq!(error.reason(), Reason::CampaignNotFound);
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let bodies = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| Body::Complete(bytes.into())),
        Just(r#"{"items":[{"messageId":"m0"},{"messageId":"m1"}]}"#).prop_map(|t| Body::Complete(t.into())),
        Just(PAUSED).prop_map(|text| Body::Complete(text.into())),
        Just(Body::Truncated),
        Just(Body::OverCap),
    ];
    prop_oneof![
        prop::sample::select(NOT_SENT.as_slice()).prop_map(|why| Evidence::NotSent { why }),
        Just(RESET),
        (100_u16..=999, bodies).prop_map(|(status, body)| {
            let status = StatusCode::from_u16(status).unwrap();
            Evidence::Answered { status, headers: HeaderMap::new(), body }
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_not_proven_is_in_doubt(
        evidence in any_evidence(), items in 1_usize..5, atomic in any::<bool>(),
    ) {
        let batches = if atomic { Batches::Atomic } else { Batches::Unproven };
        let outcome = judged(&evidence, items, batches);
        let status = evidence.status().map(|status| status.as_u16());
        match &outcome {
            // Each other outcome is a claim, and needs its proof.
            Outcome::Added(added) => {
                prop_assert!(matches!(status, Some(200..=299)) && added.len() == items);
            }
            Outcome::NotApplied(error) => {
                let unsent = matches!(evidence, Evidence::NotSent { .. });
                prop_assert!(unsent || matches!(status, Some(421 | 425 | 429)));
                prop_assert!(error.retry_delay().is_some() && error.applied() == Applied::No);
            }
            Outcome::Refused(error) | Outcome::Split { error, .. } | Outcome::Rejected(error) => {
                prop_assert!(matches!(status, Some(400..=499)) && !matches!(status, Some(408 | 409)));
                prop_assert_eq!(error.applied(), Applied::No);
                let split = matches!(outcome, Outcome::Split { .. });
                prop_assert!(!split || items > 1);
                prop_assert!(!matches!(outcome, Outcome::Rejected(_)) || items == 1);
            }
            Outcome::InDoubt { error, by_refusal } => {
                prop_assert_eq!((error.reason(), error.applied()), (Reason::OutcomeUnknown, Applied::Maybe));
                prop_assert!(!by_refusal || (items > 1 && matches!(status, Some(400..=499))));
            }
        }
    }

    #[test]
    fn a_write_is_repeated_only_where_nothing_was_done(evidence in any_evidence(), items in 1_usize..5) {
        let names = ["a", "b", "c", "d"];
        let add = Operation::AddAudience(batch(&names[..items]).asked);
        for operation in [add, Operation::CancelMessage(message_id("m"))] {
            if curable(&operation, &evidence, Batches::Atomic, now()).is_some() {
                let proven = matches!(evidence, Evidence::NotSent { .. });
                let status = evidence.status().map(|status| status.as_u16());
                prop_assert!(proven || matches!(status, Some(421 | 425 | 429)), "{:?}", evidence);
            }
        }
    }
}
