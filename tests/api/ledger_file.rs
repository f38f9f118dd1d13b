//! The ledger in a file, by the real binary: what outlives a restart, and what is refused at the start.

use std::{fs, path::Path};

use blubash_grpc::{
    pb::{self, Disposition},
    sandbox::{Idempotency, Options},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    binary::{Running, command, mode, refused},
    harness::{EVERGREEN, dispositions, items, keyed, request_id},
    sandbox::Bench,
};

pub(crate) fn place(folder: &Path) -> String {
    format!("--ledger=file:{}", folder.join("ledger.redb").display())
}

/// `serve` with its ledger in this folder, in front of the bench.
pub(crate) async fn serve(rest: &Bench, folder: &Path) -> Running {
    let url = format!("--upstream-url={}", rest.sandbox.campaigns_url());
    Running::start(&["serve", "--listen=127.0.0.1:0", &url, &place(folder)]).await
}

pub(crate) async fn add(server: &Running, id: &str, count: usize) -> pb::AddAudienceResponse {
    let request = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id(id)),
        items: items(count),
    };
    let stream = keyed(tokio_stream::once(request));
    server.client().await.add_audience(stream).await.unwrap().into_inner()
}

async fn adds(rest: &Bench) -> usize {
    rest.log().await.iter().filter(|call| call["operation"] == "add").count()
}

#[tokio::test]
async fn after_a_restart_a_repeat_is_answered_from_the_file_and_sends_nothing() {
    let (rest, folder) = (Bench::default().await, TempDir::new().unwrap());
    let mut server = serve(&rest, folder.path()).await;
    assert!(server.said.contains("ledger.redb, made just now"), "{}", server.said);
    let first = add(&server, "again", 3).await;
    assert_eq!(dispositions(&first), [Disposition::Added; 3]);
    for killed in [false, true, false] {
        if killed {
            // Its socket stays behind, and is in nobody's way.
            server.child.kill().await.unwrap();
        } else {
            server.signal();
            let (code, said) = server.end().await;
            assert_eq!(code, Some(0), "{said}");
            assert!(!folder.path().join("ledger.redb.sock").exists());
        }
        server = serve(&rest, folder.path()).await;
        assert!(!server.said.contains("made just now"), "{}", server.said);
        let again = add(&server, "again", 3).await;
        assert!(again.results.iter().all(|result| result.replayed));
        assert_eq!(again.results[2].added, first.results[2].added);
    }
    assert_eq!((adds(&rest).await, rest.truth().await.len()), (1, 3));
    for file in ["ledger.redb", "secret", "ledger.redb.sock"] {
        assert_eq!(mode(&folder.path().join(file)) & 0o077, 0, "{file}");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_ledger_says_why_it_does_not_start_and_harms_nothing() {
    let (rest, folder) = (Bench::default().await, TempDir::new().unwrap());
    let server = serve(&rest, folder.path()).await;
    let url = format!("--upstream-url={}", rest.sandbox.campaigns_url());
    let (code, said) = refused(&["serve", "--listen=127.0.0.1:0", &url, &place(folder.path())]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("--ledger") && said.contains("another blubash-grpc uses the ledger"), "{said}");
    assert_eq!(dispositions(&add(&server, "on", 1).await), [Disposition::Added]);
    assert!(folder.path().join("ledger.redb.sock").exists());
}

#[tokio::test]
async fn without_its_secret_a_ledger_is_refused_and_no_secret_is_made() {
    let (rest, folder) = (Bench::default().await, TempDir::new().unwrap());
    let server = serve(&rest, folder.path()).await;
    add(&server, "before", 1).await;
    server.signal();
    server.end().await;
    let (secret, kept) = (folder.path().join("secret"), folder.path().join("kept"));
    fs::rename(&secret, &kept).unwrap();
    let arguments = ["serve", "--listen=127.0.0.1:0", &place(folder.path())];
    let (code, said) = refused(&arguments).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("--secret-file") && said.contains("restore it"), "{said}");
    assert!(!secret.exists());

    // Another one is not its own: under it every request_id would look new.
    fs::write(&secret, "ab".repeat(32)).unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (code, said) = refused(&arguments).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("secret"), "{said}");

    fs::rename(&kept, &secret).unwrap();
    let server = serve(&rest, folder.path()).await;
    assert!(add(&server, "before", 1).await.results[0].replayed);
}

#[tokio::test]
async fn what_is_no_ledger_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ledger.redb");
    fs::write(folder.path().join("secret"), "ab".repeat(32)).unwrap();
    fs::set_permissions(folder.path().join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    for content in [&b"name,phone\n"[..], &[0; 8192], b"redb", &[b'x'; 100_000]] {
        fs::write(&file, content).unwrap();
        let (code, said) = refused(&["serve", "--listen=127.0.0.1:0", &place(folder.path())]).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("--ledger") && said.contains("ledger.redb"), "{said}");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
}

#[tokio::test]
async fn the_last_folder_of_the_path_is_made_for_its_user_only_and_more_than_that_is_not() {
    let (rest, folder) = (Bench::default().await, TempDir::new().unwrap());
    let made = folder.path().join("state");
    drop(serve(&rest, &made).await);
    assert_eq!(mode(&made), 0o700);
    let missing = folder.path().join("not/there");
    let (code, said) = refused(&["serve", "--listen=127.0.0.1:0", &place(&missing)]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("mkdir -p"), "{said}");
    assert!(!missing.parent().unwrap().exists());
}

#[tokio::test]
async fn unnamed_it_stands_in_the_users_state_and_in_the_sandbox_in_memory() {
    let home = TempDir::new().unwrap();
    let rest = Bench::new(Options::default()).await;
    let url = format!("--upstream-url={}", rest.sandbox.campaigns_url());
    let mut real = command(&["serve", "--listen=127.0.0.1:0", &url]);
    let server = Running::spawn(real.env("HOME", home.path()).env_remove("XDG_STATE_HOME")).await;
    let path = server.said.split("the ledger is ").nth(1).unwrap().split(", made").next().unwrap();
    let path = Path::new(path);
    assert!(path.starts_with(home.path()) && path.ends_with("blubash-grpc/ledger.redb"), "{}", server.said);
    assert_eq!((mode(path.parent().unwrap()), mode(path) & 0o077), (0o700, 0));

    let home = TempDir::new().unwrap();
    let mut sandbox = command(&["serve", "--sandbox", "--listen=127.0.0.1:0"]);
    let server = Running::spawn(sandbox.env("HOME", home.path()).env_remove("XDG_STATE_HOME")).await;
    add(&server, "sandbox", 1).await;
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn with_proven_keys_what_a_killed_server_had_on_its_way_is_resolved_by_the_repeat() {
    let options = Options { idempotency: Idempotency::Honoured, ..Options::default() };
    let (rest, folder) = (Bench::new(options).await, TempDir::new().unwrap());
    let url = format!("--upstream-url={}", rest.sandbox.campaigns_url());
    let proven = "--upstream-idempotency=proven";
    let start = async || {
        Running::start(&["serve", "--listen=127.0.0.1:0", &url, &place(folder.path()), proven]).await
    };
    // Applied, and no answer before the end of the server.
    rest.fault(json!({"operation": "add", "count": 1, "hang_ms": 60_000, "apply": true})).await;
    let mut server = start().await;
    let cut = tokio::spawn({
        let mut client = server.client().await;
        let request = pb::AddAudienceRequest {
            campaign_id: EVERGREEN.into(),
            options: Some(request_id("cut")),
            items: items(3),
        };
        async move { client.add_audience(keyed(tokio_stream::once(request))).await }
    });
    while rest.truth().await.len() < 3 {
        tokio::task::yield_now().await;
    }
    server.child.kill().await.unwrap();
    cut.await.unwrap().unwrap_err();

    let server = start().await;
    assert!(server.said.contains("in doubt"), "{}", server.said);
    let again = add(&server, "cut", 3).await;
    assert_eq!(dispositions(&again), [Disposition::Added; 3]);
    assert!(again.results.iter().all(|result| result.replayed));
    // The same batch under the same key: the upstream knew it.
    assert_eq!((adds(&rest).await, rest.truth().await.len()), (2, 3));
}
