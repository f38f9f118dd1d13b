#![allow(clippy::unwrap_used)]

use bytes::Bytes;

use super::*;

fn read(status: u16, body: &str) -> Refusal {
    let body = Body::Complete(Bytes::copy_from_slice(body.as_bytes()));
    refusal(StatusCode::from_u16(status).unwrap(), &body)
}

/// The vendor's error reference, whole.
const REFERENCE: [(u16, &str, Reason, Scope); 11] = [
    (400, "Each item must provide contact_id or identifier", Reason::RecipientRequired, Scope::Item),
    (400, "Identifier is invalid", Reason::IdentifierInvalid, Scope::Item),
    (
        400,
        "schedule.timezone (IANA) is required when datetime has no UTC offset",
        Reason::TimeZoneRequired,
        Scope::Item,
    ),
    (400, "Campaign is not an evergreen campaign", Reason::CampaignNotEvergreen, Scope::Whole),
    (400, "Cannot add contacts to cancelled or failed campaigns", Reason::CampaignTerminated, Scope::Whole),
    (
        400,
        "Cannot add contacts while the campaign is paused. Resume the campaign first.",
        Reason::CampaignPaused,
        Scope::Whole,
    ),
    (
        400,
        "Contact found by email already has a different identifier for this campaign channel",
        Reason::ContactIdentityConflict,
        Scope::Item,
    ),
    (
        400,
        "Contact does not have a valid channel identifier for this campaign channel",
        Reason::ContactChannelIdentifierMissing,
        Scope::Item,
    ),
    (401, "Missing or invalid API key", Reason::ApiKeyInvalid, Scope::Whole),
    (
        403,
        "Campaigns feature is not available in your current plan",
        Reason::CampaignsFeatureUnavailable,
        Scope::Whole,
    ),
    (404, "Campaign not found", Reason::CampaignNotFound, Scope::Whole),
];

#[test]
fn every_row_of_the_vendors_error_reference_has_a_reason_in_our_own_words() {
    for (status, text, reason, scope) in REFERENCE {
        let refusal = read(status, &format!(r#"{{"error":"Bad Request","message":"{text}"}}"#));
        assert_eq!((refusal.error.reason(), refusal.scope), (reason, scope), "{text}");
        assert!(!refusal.error.message().contains(text), "{text}");
    }
}

#[test]
fn a_known_text_is_found_in_every_shape_of_error_body_and_with_a_longer_end() {
    let text = "Campaigns feature is not available in your current plan. Please upgrade to ...";
    for body in [
        format!(r#"{{"error":"Forbidden","message":"{text}"}}"#),
        format!(r#"{{"statusCode":403,"message":["{text}"],"error":"Forbidden"}}"#),
        format!(r#"{{"message":"{text}"}}"#),
        format!(r#"{{"error":{{"code":"X","message":"{text}"}}}}"#),
        format!(r#"{{"error":"{text}"}}"#),
        format!(r#"{{"errors":["{text}"]}}"#),
        format!(r#"{{"errors":[{{"message":"{text}"}}]}}"#),
        format!(r#"{{"type":"about:blank","title":"Forbidden","detail":"{text}","status":403}}"#),
        format!("{text}\n"),
    ] {
        assert_eq!(read(403, &body).error.reason(), Reason::CampaignsFeatureUnavailable, "{body}");
    }
}

#[test]
fn the_status_decides_the_class_before_the_text_does() {
    let paused = r#"{"message":"Cannot add contacts while the campaign is paused"}"#;
    assert_eq!(read(422, paused).error.reason(), Reason::CampaignPaused);
    assert_eq!(read(402, paused).error.reason(), Reason::UpstreamRejected);
    assert_eq!(read(401, paused).error.reason(), Reason::ApiKeyInvalid);
    assert_eq!(read(403, paused).error.reason(), Reason::WorkspaceForbidden);
}

#[test]
fn an_unknown_text_reaches_the_caller_masked_and_bounded_with_the_status_beside_it() {
    let long = "blah ".repeat(200);
    let refusal =
        read(400, &format!(r#"{{"message":"Number +55 11 99999-9999 of jane@example.com: {long}"}}"#));
    let (error, message) = (&refusal.error, refusal.error.message());
    assert_eq!((error.reason(), refusal.scope), (Reason::UpstreamRejected, Scope::Unknown));
    assert_eq!(error.metadata(), [("upstream_status".into(), "400".to_owned())]);
    assert!(message.contains("Number +[number] of [email] blah"), "{message}");
    assert!(message.chars().count() < 360, "{message}");
}

#[test]
fn a_proxys_page_is_shown_to_nobody() {
    for body in ["<html><body>nginx</body></html>", "", "{", "[]", "null", "5", "\u{0}"] {
        let error = read(400, body).error;
        let message = error.message();
        assert_eq!(error.reason(), Reason::UpstreamRejected);
        assert_eq!(message, "the upstream refused the request with status 400", "{body:?}");
    }
    assert_eq!(refusal(StatusCode::BAD_REQUEST, &Body::Truncated).error.reason(), Reason::UpstreamRejected);
}
