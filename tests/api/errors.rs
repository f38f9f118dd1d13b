//! The error table: every row of the vendor's reference and every reason, with its details.

use blubash_grpc::{pb, sandbox};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, item, items, reason, request_id, with_key};

const VENDOR: &str = include_str!("../fixtures/errors.json");
const DOMAIN: &str = "campaigns.blubash.io";

fn contact(id: &str) -> pb::AudienceItem {
    pb::AudienceItem { recipient: Some(pb::audience_item::Recipient::ContactId(id.into())), ..item("") }
}

/// Adds one item and returns what is said of it, or of the call.
async fn add_one(
    app: &App,
    key: &str,
    campaign: &str,
    item: pb::AudienceItem,
) -> Result<pb::Failure, Status> {
    let request = pb::AddAudienceRequest {
        campaign_id: campaign.into(),
        options: Some(request_id("")),
        items: vec![item],
    };
    let request = with_key(tokio_stream::once(request), key);
    let answer = app.client.clone().add_audience(request).await?.into_inner();
    Ok(answer.results[0].failure.clone().unwrap())
}

/// How a row of the vendor's table is met: by which key, campaign and item, or by an upstream that is told
/// to answer with it, for what this service does not let through.
enum Meet {
    Really(&'static str, &'static str, Box<pb::AudienceItem>),
    Told,
}

#[tokio::test]
async fn every_row_of_the_vendors_reference_has_its_reason_and_code() {
    const ACME: &str = sandbox::ACME_API_KEY;
    let conflict = pb::AudienceItem { email: "maria@example.com".into(), ..item("5511900000000") };
    let rows = [
        ("Each item", Meet::Told, Code::InvalidArgument, "RECIPIENT_REQUIRED"),
        (
            "Identifier is",
            Meet::Really(ACME, EVERGREEN, Box::new(item("abc"))),
            Code::InvalidArgument,
            "IDENTIFIER_INVALID",
        ),
        ("schedule.timezone", Meet::Told, Code::InvalidArgument, "TIME_ZONE_REQUIRED"),
        (
            "Campaign is not",
            Meet::Really(ACME, sandbox::NOT_EVERGREEN, Box::new(item("5511900000001"))),
            Code::FailedPrecondition,
            "CAMPAIGN_NOT_EVERGREEN",
        ),
        (
            "Cannot add contacts to",
            Meet::Really(ACME, sandbox::CANCELLED, Box::new(item("5511900000001"))),
            Code::FailedPrecondition,
            "CAMPAIGN_TERMINATED",
        ),
        (
            "Cannot add contacts while",
            Meet::Really(ACME, sandbox::PAUSED, Box::new(item("5511900000001"))),
            Code::FailedPrecondition,
            "CAMPAIGN_PAUSED",
        ),
        (
            "Contact found",
            Meet::Really(ACME, EVERGREEN, Box::new(conflict)),
            Code::FailedPrecondition,
            "CONTACT_IDENTITY_CONFLICT",
        ),
        (
            "Contact does not",
            Meet::Really(ACME, EVERGREEN, Box::new(contact(sandbox::UNREACHABLE_CONTACT_ID))),
            Code::FailedPrecondition,
            "CONTACT_CHANNEL_IDENTIFIER_MISSING",
        ),
        (
            "",
            Meet::Really("no-such-key", EVERGREEN, Box::new(item("5511900000001"))),
            Code::Unauthenticated,
            "API_KEY_INVALID",
        ),
        (
            "Campaigns feature",
            Meet::Really(sandbox::FREE_PLAN_API_KEY, sandbox::FREE_PLAN, Box::new(item("5511900000001"))),
            Code::PermissionDenied,
            "CAMPAIGNS_FEATURE_UNAVAILABLE",
        ),
        (
            "Campaign not found",
            Meet::Really(ACME, "camp-nowhere", Box::new(item("5511900000001"))),
            Code::NotFound,
            "CAMPAIGN_NOT_FOUND",
        ),
    ];
    let app = App::start().await;
    let vendor: Vec<Value> = serde_json::from_str(VENDOR).unwrap();
    assert_eq!(vendor.len(), rows.len(), "a row for each of the vendor's");
    for ((begins, meet, code, name), row) in rows.into_iter().zip(vendor) {
        let text = row["message"].as_str().unwrap_or_default();
        assert!(text.starts_with(begins), "{text}");
        let met = match meet {
            Meet::Really(key, campaign, item) => add_one(&app, key, campaign, *item).await,
            Meet::Told => {
                let body = json!({"error": "Bad Request", "message": text}).to_string();
                let rule = json!({"operation": "add", "count": 1, "status": row["status"], "body": body});
                app.rest.fault(rule).await;
                add_one(&app, ACME, EVERGREEN, item("5511900000001")).await
            }
        };
        let found = match &met {
            Ok(failure) => {
                let reason = failure.reason().as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
                (Code::from(failure.code), reason)
            }
            Err(status) => reason(status),
        };
        assert_eq!(found, (code, name.to_owned()), "{text}: {met:?}");
        if let Err(status) = met {
            assert_eq!(status.get_details_error_info().unwrap().domain, DOMAIN);
        }
    }
    assert!(app.rest.truth().await.is_empty(), "nobody was messaged");
}

#[tokio::test]
async fn an_unknown_text_of_the_upstream_is_bounded_and_masked() {
    let app = App::start().await;
    let secrets = ["5511987654321", "jane@example.com", "sk_live_4242424242424242abcdef"];
    let text = format!("Boom {} {} {} {}", secrets[0], secrets[1], secrets[2], "x".repeat(2_000));
    let body = json!({"error": "Bad Request", "message": text}).to_string();
    app.rest.fault(json!({"operation": "add", "count": 1, "status": 422, "body": body})).await;
    let failure = add_one(&app, sandbox::ACME_API_KEY, EVERGREEN, item("5511900000001")).await.unwrap();
    assert_eq!(failure.reason(), pb::ErrorReason::UpstreamRejected);
    assert_eq!(failure.metadata["upstream_status"], "422");
    assert!(failure.message.contains("Boom"), "{}", failure.message);
    assert!(failure.message.chars().count() < 500, "{}", failure.message);
    for secret in secrets {
        assert!(!format!("{failure:?}").contains(secret), "{failure:?}");
    }
}

#[tokio::test]
async fn a_proxys_html_page_is_an_unavailable_upstream_and_says_when_to_try_again() {
    let app = App::start().await;
    let html = "<html><h1>502 Bad Gateway</h1></html>";
    app.rest.fault(json!({"operation": "get", "status": 502, "body": html})).await;
    let status = app.get(EVERGREEN, "any").await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "UPSTREAM_UNAVAILABLE".into()));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!(!status.message().contains("<html>"), "{status:?}");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_request_is_said_at_once_with_its_paths() {
    let app = App::start().await;
    let options = pb::AudienceOptions {
        request_id: "not allowed".into(),
        default_time_zone: "Mars/Olympus".into(),
        max_batch_size: -1,
        ..Default::default()
    };
    let status = app.add_to("..", options, items(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let bad = status.get_details_bad_request().unwrap();
    let mut fields: Vec<_> = bad.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["campaign_id", "options.default_time_zone", "options.max_batch_size", "options.request_id"]
    );
}
