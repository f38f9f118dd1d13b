//! What one workspace was given opens nothing in another.

use blubash_grpc::{
    pb::{self, Disposition},
    sandbox::{GLOBEX, SEEDED},
};
use tonic::{Code, Response, Status};

use super::{Files, Headers, STRANGER, WRITER, add, get, with};
use crate::harness::{App, EVERGREEN, dispositions, reason};

const ACME: Headers = &[("authorization", WRITER)];
const OTHER: Headers = &[("authorization", STRANGER), ("x-workspace", "globex")];

async fn list(app: &App, headers: Headers<'_>, campaign: &str, token: &str) -> Result<String, Status> {
    let request = pb::ListMessagesRequest {
        campaign_id: campaign.into(),
        page_size: 1,
        page_token: token.into(),
        ..Default::default()
    };
    let page = app.client.clone().list_messages(with(request, headers)).await?.into_inner();
    Ok(page.next_page_token)
}

async fn ingestion(
    app: &App,
    headers: Headers<'_>,
    campaign: &str,
    id: &str,
    token: &str,
) -> Result<pb::GetIngestionResponse, Status> {
    let request = pb::GetIngestionRequest {
        campaign_id: campaign.into(),
        request_id: id.into(),
        page_size: 1,
        page_token: token.into(),
        ..Default::default()
    };
    app.client.clone().get_ingestion(with(request, headers)).await.map(Response::into_inner)
}

async fn watch(app: &App, headers: Headers<'_>, campaign: &str, token: &str) -> Result<String, Status> {
    let request = pb::WatchMessagesRequest {
        campaign_id: campaign.into(),
        resume_token: token.into(),
        ..Default::default()
    };
    let mut updates = app.client.clone().watch_messages(with(request, headers)).await?.into_inner();
    Ok(updates.message().await?.unwrap().resume_token)
}

fn told<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    reason(&answer.unwrap_err())
}

#[tokio::test]
async fn another_workspaces_campaigns_and_messages_are_not_there() {
    let app = Files::new().serve().await;
    let mut client = app.client.clone();
    let no_campaign = (Code::NotFound, "CAMPAIGN_NOT_FOUND".to_owned());
    let no_message = (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned());
    // Kept for acme, and served to nobody else.
    client.get_message(with(get(SEEDED, "msg-seeded-sent", 60), ACME)).await.unwrap();
    list(&app, ACME, SEEDED, "").await.unwrap();
    let other = client.get_message(with(get(SEEDED, "msg-seeded-sent", 60), OTHER)).await;
    assert!([&no_campaign, &no_message].contains(&&told(other)));
    let moved = client.get_message(with(get(GLOBEX, "msg-seeded-sent", 60), OTHER)).await;
    assert_eq!(told(moved), no_message);
    assert_eq!(told(list(&app, OTHER, SEEDED, "").await), no_campaign);
    let counts = pb::CountMessagesRequest { campaign_id: SEEDED.into(), ..Default::default() };
    assert_eq!(told(client.count_messages(with(counts, OTHER)).await), no_campaign);
    assert_eq!(told(add(&app, OTHER, EVERGREEN, "one").await), no_campaign);
    assert_eq!(told(watch(&app, OTHER, SEEDED, "").await), no_campaign);
    for campaign in [SEEDED, GLOBEX] {
        let id = "msg-seeded-queued".to_owned();
        let cancel = pb::CancelMessageRequest { campaign_id: campaign.into(), message_id: id.clone() };
        let told = told(client.cancel_message(with(cancel, OTHER)).await);
        assert!([&no_campaign, &no_message].contains(&&told), "{told:?}");
        let cancel = pb::CancelMessagesRequest {
            campaign_id: campaign.into(),
            message_ids: vec![id],
            ..Default::default()
        };
        let mut answers = client.cancel_messages(with(cancel, OTHER)).await.unwrap().into_inner();
        match answers.message().await {
            Ok(answer) => assert!(answer.unwrap().results[0].failure.is_some()),
            Err(status) => assert_eq!(reason(&status), no_campaign),
        }
    }
    let queued =
        client.get_message(with(get(SEEDED, "msg-seeded-queued", 0), ACME)).await.unwrap().into_inner();
    assert_eq!(queued.message.unwrap().status(), pb::MessageStatus::Queued);
}

#[tokio::test]
async fn another_workspaces_tokens_are_none() {
    let app = Files::new().serve().await;
    let token = list(&app, ACME, SEEDED, "").await.unwrap();
    assert!(list(&app, ACME, SEEDED, &token).await.is_ok());
    let resume = watch(&app, ACME, SEEDED, "").await.unwrap();
    assert!(watch(&app, ACME, SEEDED, &resume).await.is_ok());
    for campaign in [SEEDED, GLOBEX] {
        let refused = (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned());
        assert_eq!(told(list(&app, OTHER, campaign, &token).await), refused);
        let refused = (Code::InvalidArgument, "RESUME_TOKEN_INVALID".to_owned());
        assert_eq!(told(watch(&app, OTHER, campaign, &resume).await), refused);
    }
}

#[tokio::test]
async fn a_request_id_is_each_workspaces_own() {
    let app = Files::new().serve().await;
    let unknown = (Code::NotFound, "INGESTION_NOT_FOUND".to_owned());
    let first = add(&app, ACME, EVERGREEN, "same").await.unwrap();
    assert_eq!(dispositions(&first), [Disposition::Added]);
    for campaign in [EVERGREEN, GLOBEX] {
        assert_eq!(told(ingestion(&app, OTHER, campaign, "same", "").await), unknown);
    }
    let second = add(&app, OTHER, GLOBEX, "same").await.unwrap();
    assert!(!second.results[0].replayed);
    let again = add(&app, ACME, EVERGREEN, "same").await.unwrap();
    assert!(again.results[0].replayed);
    assert_eq!(told(ingestion(&app, ACME, GLOBEX, "same", "").await), unknown);
    // A page token of acme's results, in globex' ingestion of the same name.
    let items = (0..3).map(|n| crate::harness::item(format!("551190000010{n}"))).collect();
    let message = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(crate::harness::request_id("pages")),
        items,
    };
    app.client.clone().add_audience(with(tokio_stream::iter([message]), ACME)).await.unwrap();
    add(&app, OTHER, GLOBEX, "pages").await.unwrap();
    let token = ingestion(&app, ACME, EVERGREEN, "pages", "").await.unwrap().next_page_token;
    assert!(ingestion(&app, ACME, EVERGREEN, "pages", &token).await.is_ok());
    let refused = (Code::InvalidArgument, "PAGE_TOKEN_INVALID".to_owned());
    for campaign in [EVERGREEN, GLOBEX] {
        assert_eq!(told(ingestion(&app, OTHER, campaign, "pages", &token).await), refused);
    }
}
