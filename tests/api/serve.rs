//! The binary: start, stop, and what it says when it cannot start.

mod process;
mod refusals;
mod stopping;

use std::os::unix::fs::PermissionsExt as _;

use blubash_grpc::{pb, sandbox};
use tonic::Code;

use crate::harness::{EVERGREEN, item, keyed, reason, request_id};
use process::{Process, folder};

fn first_page(page_token: &str) -> pb::ListMessagesRequest {
    pb::ListMessagesRequest {
        campaign_id: sandbox::SEEDED.into(),
        page_size: 3,
        page_token: page_token.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn with_a_sandbox_inside_it_says_so_and_prints_a_first_call_to_paste() {
    let server = Process::serve(&["--sandbox"]).await;
    let said = server.said();
    assert!(said.contains("SANDBOX") && said.contains("nobody is messaged"), "{said}");
    let line = said.lines().find(|line| line.trim_start().starts_with("grpcurl")).unwrap();
    for part in [
        "-plaintext",
        "'x-api-key: sandbox-key-acme'",
        r#"'{"campaign_id": "camp-seeded"}'"#,
        &format!("{} blubash.campaigns.v1.CampaignsService/ListMessages", server.address),
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    let answer = server.client().await.list_messages(keyed(first_page(""))).await.unwrap();
    assert_eq!(answer.into_inner().messages.len(), 3);
    assert!(!said.contains("the ledger is in memory"), "nothing to lose in a sandbox: {said}");
}

#[tokio::test]
async fn in_front_of_a_sandbox_of_its_own_it_answers_and_warns_of_its_memory() {
    let rest = Process::sandbox().await;
    assert!(rest.said().contains("EMULATOR"), "{}", rest.said());
    let server = Process::serve(&["--upstream-url", &rest.campaigns_url()]).await;
    assert!(server.said().contains("the ledger is in memory: after a restart"), "{}", server.said());
    let answer = server.client().await.list_messages(keyed(first_page(""))).await.unwrap();
    assert_eq!(answer.into_inner().messages.len(), 3);
}

#[tokio::test]
async fn with_a_secret_file_page_tokens_survive_a_restart_and_without_it_they_do_not() {
    let (rest, folder) = (Process::sandbox().await, folder());
    let url = rest.campaigns_url();
    let path = folder.path().join("secret");
    let kept = ["--upstream-url", &url, "--secret-file", path.to_str().unwrap()];

    let server = Process::serve(&kept).await;
    let answer = server.client().await.list_messages(keyed(first_page(""))).await.unwrap();
    let token = answer.into_inner().next_page_token;
    assert_eq!(server.terminate().await, Some(0));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = Process::serve(&kept).await;
    let answer = again.client().await.list_messages(keyed(first_page(&token))).await.unwrap();
    assert_eq!(answer.into_inner().messages.len(), 3);

    let another = Process::serve(&kept[..2]).await;
    let refused = another.client().await.list_messages(keyed(first_page(&token))).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()));
}

#[tokio::test]
async fn whatever_rust_log_says_no_key_and_no_personal_data_reach_the_log() {
    let rest = Process::sandbox_with(&[("RUST_LOG", "trace")]).await;
    let url = rest.campaigns_url();
    let server = Process::serve_with(&["--upstream-url", &url], &[("RUST_LOG", "trace")]).await;
    let mut client = server.client().await;

    let (name, phone, email) = ("Canary Featherstone", "5511977776666", "canary@feathers.example");
    let canary = pb::AudienceItem { name: name.into(), email: email.into(), ..item(phone) };
    let message = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("canary")),
        items: vec![canary],
    };
    let added = client.add_audience(keyed(tokio_stream::iter([message]))).await.unwrap().into_inner();
    let added = added.results[0].added.as_ref().unwrap();
    let (campaign_id, message_id) = (EVERGREEN.to_owned(), added.message_id.clone());
    let get = pb::GetMessageRequest { campaign_id, message_id, max_staleness: None };
    client.get_message(keyed(get.clone())).await.unwrap();
    client.list_messages(keyed(first_page(""))).await.unwrap();
    let cancel = pb::CancelMessageRequest { campaign_id: get.campaign_id, message_id: get.message_id };
    // A message just added is PENDING: refused, which is logged too.
    let _ = client.cancel_message(keyed(cancel)).await;
    drop(client);
    assert_eq!(server.stop_with("TERM").await, Some(0));

    let said = server.said();
    assert!(said.contains("DEBUG"), "the log was open: {said}");
    for secret in [sandbox::ACME_API_KEY, name, "Featherstone", phone, "977776666", email] {
        assert!(!said.contains(secret), "{secret} is in the log");
    }
    // Its own first line shows the key of the sandbox; contacts are nobody's business.
    for secret in [name, phone, email] {
        assert!(!rest.said().contains(secret), "{secret} is in the sandbox's log");
    }
}
