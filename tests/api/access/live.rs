//! Keys and rights that change while calls run.

use blubash_grpc::{
    pb::{self, Disposition, ErrorReason, watch_messages_response::Event},
    sandbox::{self, SEEDED},
};
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncBufReadExt as _, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{Files, Headers, READER, WRITER, add, digest, get, with};
use crate::{
    binary::{Running, run},
    harness::{App, EVERGREEN, dispositions, item, reason, request_id},
};

const ACME: Headers = &[("authorization", WRITER)];

/// A token by which it shows that the server has looked: it is written together with what is to be seen.
const LOOKED: &str = "Bearer bbg_the-server-has-looked-0000000000000000000000";

/// Calls until a look has let this credential in.
async fn until_let_in(app: &App, credential: &str) {
    let headers = [("authorization", credential)];
    while app.client.clone().get_message(with(get(SEEDED, "msg-seeded-sent", 60), &headers)).await.is_err() {}
}

/// Opens an import, and waits until its first item is added.
async fn import(
    app: &App,
    id: &str,
) -> (mpsc::Sender<pb::IngestAudienceRequest>, Streaming<pb::IngestAudienceResponse>) {
    let (send, receive) = mpsc::channel(1);
    let first = pb::IngestAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id(id)),
        items: vec![item("5511900000001")],
    };
    send.send(first).await.unwrap();
    let answers = app.client.clone().ingest_audience(with(ReceiverStream::new(receive), ACME)).await.unwrap();
    let mut answers = answers.into_inner();
    assert_eq!(next_result(&mut answers).await.disposition(), Disposition::Added);
    (send, answers)
}

async fn next_result(answers: &mut Streaming<pb::IngestAudienceResponse>) -> pb::AudienceItemResult {
    loop {
        if let Some(result) = answers.message().await.unwrap().unwrap().results.pop() {
            return result;
        }
    }
}

async fn watch(app: &App, credential: &str) -> Streaming<pb::WatchMessagesResponse> {
    let headers = [("authorization", credential)];
    let request = pb::WatchMessagesRequest { campaign_id: EVERGREEN.into(), ..Default::default() };
    app.client.clone().watch_messages(with(request, &headers)).await.unwrap().into_inner()
}

/// Reads on until a change of this many messages is told.
async fn until_changed(watch: &mut Streaming<pb::WatchMessagesResponse>) -> usize {
    loop {
        if let Some(Event::Changes(told)) = watch.message().await.unwrap().unwrap().event {
            return told.changes.len();
        }
    }
}

async fn end(mut watch: Streaming<pb::WatchMessagesResponse>) -> Status {
    loop {
        match watch.message().await {
            Ok(update) => drop(update.expect("it ends with an error")),
            Err(status) => return status,
        }
    }
}

async fn takes_keys(app: &App, keys: &[&str]) {
    app.rest.control(Method::POST, "keys", json!({"workspace": "acme", "api_keys": keys})).await;
}

#[tokio::test]
async fn calls_that_run_go_on_with_a_renewed_key() {
    let files = Files::new();
    let app = files.serve().await;
    let mut watch = watch(&app, READER).await;
    let (send, mut answers) = import(&app, "long").await;
    assert_eq!(until_changed(&mut watch).await, 1);

    takes_keys(&app, &[sandbox::ACME_API_KEY, "renewed"]).await;
    files.key("acme", "renewed\n");
    files
        .write(&Files::text().replace(&digest(WRITER), &format!("{}', '{}", digest(WRITER), digest(LOOKED))));
    until_let_in(&app, LOOKED).await;
    takes_keys(&app, &["renewed"]).await;

    let more = pb::IngestAudienceRequest { items: vec![item("5511900000002")], ..Default::default() };
    send.send(more).await.unwrap();
    assert_eq!(next_result(&mut answers).await.disposition(), Disposition::Added);
    drop(send);
    while answers.message().await.unwrap().is_some() {}
    while until_changed(&mut watch).await == 0 {}
    let again = add(&app, ACME, EVERGREEN, "long").await.unwrap();
    assert!(again.results[0].replayed, "it is the same workspace: {:?}", dispositions(&again));
}

#[tokio::test]
async fn a_held_key_that_the_upstream_refuses_is_the_operators_matter() {
    let app = Files::new().serve().await;
    let mut client = app.client.clone();
    let watch = watch(&app, READER).await;
    client.get_message(with(get(SEEDED, "msg-seeded-sent", 3_600), ACME)).await.unwrap();
    takes_keys(&app, &["another"]).await;
    let refused = (Code::FailedPrecondition, "UPSTREAM_KEY_REFUSED".to_owned());
    assert_eq!(reason(&end(watch).await), refused);
    assert_eq!(reason(&add(&app, ACME, EVERGREEN, "refused").await.unwrap_err()), refused);
    let kept = client.get_message(with(get(SEEDED, "msg-seeded-sent", 3_600), ACME)).await;
    assert_eq!(reason(&kept.unwrap_err()), refused, "nothing that was kept is served");
    let list = pb::ListMessagesRequest { campaign_id: SEEDED.into(), ..Default::default() };
    assert_eq!(reason(&client.list_messages(with(list, ACME)).await.unwrap_err()), refused);
    let cancel =
        pb::CancelMessageRequest { campaign_id: SEEDED.into(), message_id: "msg-seeded-queued".into() };
    assert_eq!(reason(&client.cancel_message(with(cancel, ACME)).await.unwrap_err()), refused);
    let cancel = pb::CancelMessagesRequest {
        campaign_id: SEEDED.into(),
        message_ids: vec!["msg-seeded-queued".into()],
        ..Default::default()
    };
    let mut cancelled = client.cancel_messages(with(cancel, ACME)).await.unwrap().into_inner();
    assert_eq!(reason(&cancelled.message().await.unwrap_err()), refused);
    takes_keys(&app, &[sandbox::ACME_API_KEY]).await;
    add(&app, ACME, EVERGREEN, "refused").await.unwrap();
}

#[tokio::test]
async fn a_right_that_is_withdrawn_ends_what_runs_on_it_and_nothing_else() {
    for (from, to, code, why) in [
        (
            format!("'{}'", digest(WRITER)),
            format!("'{}'", digest(LOOKED)),
            Code::Unauthenticated,
            ErrorReason::CredentialsInvalid,
        ),
        (
            format!("'{}']\nworkspaces = {{ acme = 'write' }}", digest(WRITER)),
            format!("'{}']\nworkspaces = {{ acme = 'read' }}", digest(WRITER)),
            Code::PermissionDenied,
            ErrorReason::WorkspaceForbidden,
        ),
    ] {
        let files = Files::new();
        let app = files.serve().await;
        let (watched, mut others) = (watch(&app, WRITER).await, watch(&app, READER).await);
        let (send, mut answers) = import(&app, "long").await;
        assert!(Files::text().contains(&from));
        files.write(&Files::text().replace(&from, &to));

        let last = loop {
            let answer = answers.message().await.unwrap().unwrap();
            if answer.summary.is_some() {
                break answer;
            }
        };
        assert_eq!(last.termination.unwrap().reason(), why);
        assert_eq!(last.summary.unwrap().added, 1);
        drop(send);
        let name = why.as_str_name().trim_start_matches("ERROR_REASON_");
        assert_eq!(reason(&add(&app, ACME, EVERGREEN, "x").await.unwrap_err()), (code, name.to_owned()));
        if why == ErrorReason::CredentialsInvalid {
            assert_eq!(reason(&end(watched).await), (code, name.to_owned()));
        }
        until_changed(&mut others).await;
    }
}

#[tokio::test]
async fn a_bad_file_is_told_and_the_last_good_one_goes_on_counting() {
    let files = Files::new();
    let path = files.path();
    let file = format!("--access-file={}", path.display());
    let serve = ["serve", "--sandbox", "--listen=127.0.0.1:0", "--reload-interval=100ms", &file];
    let mut server = Running::start(&serve).await;
    files.write("[workspaces]\n");
    let mut said = String::new();
    while !said.contains("cannot be read anew") {
        said.clear();
        assert!(server.stderr.read_line(&mut said).await.unwrap() > 0, "it ended");
    }
    let mut client = server.client().await;
    client.get_message(with(get(SEEDED, "msg-seeded-sent", 60), ACME)).await.unwrap();
    server.signal();
    assert_eq!(server.end().await.0, Some(0));
    // At a start there is no last good one.
    let (code, _, said) = run(&serve).await;
    assert_eq!(code, 1);
    assert!(said.contains("--access-file") && said.contains("[callers.NAME]"), "{said}");
}

#[tokio::test]
async fn a_new_token_is_printed_alone_with_its_line_for_the_file_beside_it() {
    let (code, token, said) = run(&["access", "new-token"]).await;
    assert_eq!(code, 0);
    let token = token.strip_suffix('\n').unwrap();
    assert!(token.starts_with("bbg_") && token.len() == 47, "{token}");
    assert!(said.contains(&format!("token_sha256 = [\"{}\"]", digest(&format!("Bearer {token}")))), "{said}");
    assert!(!said.contains(token), "{said}");
}
