//! `blubash-grpc ledger`, by the real binary: what an operator sees of doubt, and decides.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use blubash_grpc::{
    pb::{self, Disposition},
    sandbox::{self, Options},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    binary::{Running, run},
    harness::{EVERGREEN, dispositions, items, request_id, with_key},
    ledger_file::{add, place, serve},
    sandbox::Bench,
};

/// A server with its ledger in a file, and an ingestion `doubt` of two items, both really messaged and in doubt.
struct Office {
    rest: Bench,
    folder: TempDir,
    server: Option<Running>,
}

impl Office {
    async fn open() -> Self {
        // The sandbox's clock is the ledger's, so that claims and messages are of one time.
        let start = chrono::Utc::now();
        let rest = Bench::new(Options { start: Some(start), ..Options::default() }).await;
        let folder = TempDir::new().unwrap();
        let server = serve(&rest, folder.path()).await;
        add(&server, "clean", 2).await;
        rest.fault(json!({"operation": "add", "count": 1, "reset_after": true})).await;
        let answer = add(&server, "doubt", 2).await;
        assert_eq!(dispositions(&answer), [Disposition::InDoubt; 2]);
        Self { rest, folder, server: Some(server) }
    }

    fn server(&self) -> &Running {
        self.server.as_ref().unwrap()
    }

    async fn close(&mut self) {
        let server = self.server.take().unwrap();
        server.signal();
        assert_eq!(server.end().await.0, Some(0));
    }

    /// `blubash-grpc ledger` with these arguments: exit code, stdout, stderr.
    async fn ledger(&self, arguments: &[&str]) -> (i32, String, String) {
        let place = place(self.folder.path());
        run(&[&["ledger"], arguments, &[&place]].concat()).await
    }

    /// The same, which must succeed, read as JSON.
    async fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, said) = self.ledger(&[arguments, &["--output=json"]].concat()).await;
        assert_eq!(code, 0, "{said}");
        serde_json::from_str(&out).unwrap()
    }

    fn key_file(&self, key: &str, mode: u32) -> String {
        let path = self.folder.path().join("key");
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("{key}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

const DOUBT: [&str; 4] = ["--campaign", EVERGREEN, "--request-id", "doubt"];

#[tokio::test]
async fn what_is_in_doubt_is_listed_by_the_running_server_and_from_its_file_alike() {
    let mut office = Office::open().await;
    let mut listed = Vec::new();
    for _ in 0..2 {
        let (code, table, said) = office.ledger(&["list"]).await;
        assert_eq!(code, 0, "{said}");
        for part in ["REQUEST_ID", EVERGREEN, "doubt", "0-1", "OUTCOME_UNKNOWN"] {
            assert!(table.contains(part), "{part}: {table}");
        }
        let doubts = office.json(&["list", "--campaign", EVERGREEN]).await;
        assert_eq!(doubts.as_array().unwrap().len(), 1);
        assert_eq!((&doubts[0]["request_id"], &doubts[0]["indexes"]), (&json!("doubt"), &json!([0, 1])));
        assert_eq!(doubts[0]["workspace"].as_str().unwrap().len(), 32);
        listed.push(doubts);
        if office.server.is_some() {
            office.close().await;
        }
    }
    assert_eq!(listed[0], listed[1]);
    let (code, out, _) = office.ledger(&["list", "--campaign=camp-other", "--output=jsonl"]).await;
    assert_eq!((code, out.as_str()), (0, ""));

    // Whoever starts the server again is told, with the command to paste.
    let server = serve(&office.rest, office.folder.path()).await;
    assert!(
        server.said.contains("2 items are in doubt: blubash-grpc ledger list --ledger file:"),
        "{}",
        server.said
    );
}

#[tokio::test]
async fn a_decision_is_kept_with_its_reason_and_answers_the_repeat_without_sending() {
    for running in [true, false] {
        let mut office = Office::open().await;
        let truth = office.rest.truth().await;
        let message = truth.last().unwrap()["messageId"].as_str().unwrap().to_owned();
        if !running {
            office.close().await;
        }
        let resolve = |index: &'static str, verdict: Vec<String>| {
            let mut words =
                vec!["resolve".to_owned(), format!("--index={index}"), "--note=seen in the console".into()];
            words.extend(DOUBT.map(str::to_owned));
            words.extend(verdict);
            words
        };
        let (added, rejected) =
            (resolve("1", vec!["--added".into(), message.clone()]), resolve("0", vec!["--rejected".into()]));
        for words in [&added, &rejected] {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            // Nobody is there to be asked: nothing happens.
            let (code, _, said) = office.ledger(&words).await;
            assert_eq!(code, 1, "{said}");
            assert!(said.contains("--yes") && said.contains("final"), "{said}");
            let (code, _, said) = office.ledger(&[&words[..], &["--yes", "--by=alice"]].concat()).await;
            assert_eq!(code, 0, "{said}");
        }
        let shown = office.json(&[&["show"], &DOUBT[..]].concat()).await;
        let told = |index: usize| shown["items"][index]["disposition"].as_str().unwrap();
        assert_eq!((told(0), told(1)), ("REJECTED", "ADDED"));
        assert_eq!(shown["items"][1]["message_id"], json!(message));
        let audit = &shown["items"][1]["audit"][0];
        assert_eq!(
            (&audit["note"], &audit["verdict"]["added"]),
            (&json!("seen in the console"), &json!(message))
        );
        assert!(audit["by"].as_str().unwrap().starts_with("alice (uid "), "{audit}");
        let (_, table, _) = office.ledger(&[&["show"], &DOUBT[..]].concat()).await;
        assert!(table.contains("by alice (uid ") && table.contains("seen in the console"), "{table}");

        if !running {
            office.server = Some(serve(&office.rest, office.folder.path()).await);
        }
        let again = add(office.server(), "doubt", 2).await;
        assert_eq!(dispositions(&again), [Disposition::Rejected, Disposition::Added]);
        assert!(again.results.iter().all(|result| result.replayed));
        assert_eq!(again.results[1].added.as_ref().unwrap().message_id, message);
        assert_eq!(office.rest.truth().await.len(), 4, "nothing was sent");
        let (_, _, said) = office.ledger(&["list"]).await;
        assert!(said.contains("nothing is in doubt"), "{said}");
    }
}

#[tokio::test]
async fn candidates_are_the_campaigns_messages_that_no_record_names() {
    let mut office = Office::open().await;
    let key = office.key_file(sandbox::ACME_API_KEY, 0o600);
    let url = office.rest.sandbox.campaigns_url();
    let look = ["--candidates", "--api-key-file", &key, "--upstream-url", &url];
    let truth = office.rest.truth().await;
    let mut really: Vec<&str> = truth[2..].iter().map(|made| made["messageId"].as_str().unwrap()).collect();
    really.sort_unstable();
    for running in [true, false] {
        if !running {
            office.close().await;
        }
        let shown = office.json(&[&["show"], &DOUBT[..], &look[..]].concat()).await;
        let candidates = shown["candidates"].as_array().unwrap();
        let mut found: Vec<&str> =
            candidates.iter().map(|candidate| candidate["message_id"].as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, really);
        assert_eq!(candidates[0]["near"], json!([0, 1]));
    }
    let (_, table, said) = office.ledger(&[&["show"], &DOUBT[..], &look[..]].concat()).await;
    assert!(really.iter().all(|id| table.contains(id)), "{table}");
    for canary in [sandbox::ACME_API_KEY, "5511900000000"] {
        assert!(!table.contains(canary) && !said.contains(canary), "{canary} was shown");
    }
    let writes = office.rest.log().await.iter().filter(|call| call["method"] != "GET").count();
    assert_eq!(writes, 2, "looking sends nothing");
}

#[tokio::test]
async fn items_are_shown_in_pages_one_by_one_or_only_those_in_doubt() {
    let office = Office::open().await;
    let show = |words: &[&'static str]| [&["show", "--output=jsonl"], words].concat();
    let clean = ["--campaign", EVERGREEN, "--request-id", "clean"];
    let (_, out, said) = office.ledger(&[&show(&clean)[..], &["--limit=1"]].concat()).await;
    assert_eq!(out.lines().count(), 1);
    assert!(said.contains("--from 1"), "{said}");
    let (_, out, said) = office.ledger(&[&show(&clean)[..], &["--from=1"]].concat()).await;
    assert!(out.contains(r#""index":1"#) && !said.contains("--from"), "{out}{said}");
    let (_, out, _) = office.ledger(&[&show(&clean)[..], &["--in-doubt"]].concat()).await;
    assert_eq!(out, "");
    let (_, out, _) = office.ledger(&[&show(&DOUBT)[..], &["--index=1"]].concat()).await;
    assert!(out.lines().count() == 1 && out.contains("IN_DOUBT"), "{out}");
}

#[tokio::test]
async fn two_workspaces_ingestions_of_one_name_are_told_apart() {
    let office = Office::open().await;
    // Another workspace, to which this campaign is unknown: on record all the same.
    let request = pb::AddAudienceRequest {
        campaign_id: EVERGREEN.into(),
        options: Some(request_id("doubt")),
        items: items(1),
    };
    let stream = with_key(tokio_stream::once(request), sandbox::GLOBEX_API_KEY);
    office.server().client().await.add_audience(stream).await.unwrap_err();
    let (code, _, said) = office.ledger(&[&["show"], &DOUBT[..]].concat()).await;
    assert_eq!(code, 1);
    assert_eq!(said.matches("--workspace ").count(), 2, "{said}");
    let listed = office.json(&["list"]).await;
    let workspace = &listed[0]["workspace"].as_str().unwrap()[..12];
    let (code, table, said) =
        office.ledger(&[&["show"], &DOUBT[..], &["--workspace", workspace]].concat()).await;
    assert_eq!(code, 0, "{said}");
    assert!(table.contains("IN_DOUBT"), "{table}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_what_to_do() {
    let office = Office::open().await;
    let open_key = office.key_file(sandbox::ACME_API_KEY, 0o644);
    let resolve = ["resolve", "--note=n", "--yes"];
    let rows: Vec<(Vec<&str>, i32, &[&str])> = vec![
        (
            vec!["show", "--campaign=camp-evergreen", "--request-id=never"],
            1,
            &["holds no ingestion", "ledger list"],
        ),
        (vec!["show", "--campaign=camp-evergreen", "--request-id=doubt", "--index=7"], 1, &["no item 7"]),
        (vec!["show", "--campaign=camp-evergreen", "--request-id=not an id"], 1, &["request_id"]),
        ([&resolve[..], &DOUBT[..], &["--index=0"]].concat(), 2, &["--added", "--rejected"]),
        (
            [&resolve[..], &DOUBT[..], &["--index=0", "--rejected", "--added=m"]].concat(),
            2,
            &["cannot be used with"],
        ),
        ([&resolve[..], &DOUBT[..], &["--index=7", "--rejected"]].concat(), 1, &["no item 7"]),
        (
            vec![
                "resolve",
                "--note=n",
                "--yes",
                "--campaign=camp-evergreen",
                "--request-id=clean",
                "--index=0",
                "--rejected",
            ],
            1,
            &["ADDED, not in doubt"],
        ),
        ([&["show"], &DOUBT[..], &["--candidates"]].concat(), 2, &["--api-key-file"]),
        ([&["show"], &DOUBT[..], &["--candidates", "--api-key-file", &open_key]].concat(), 1, &["chmod 600"]),
        (vec!["list", "--limit=0"], 2, &["--limit"]),
    ];
    for (arguments, code, parts) in rows {
        let (ended, out, said) = office.ledger(&arguments).await;
        assert_eq!(ended, code, "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
        assert_eq!(out, "", "{arguments:?}");
    }
    // A message that another item became is not this one's.
    let taken = office.rest.truth().await[0]["messageId"].as_str().unwrap().to_owned();
    let words = [&resolve[..], &DOUBT[..], &["--index=0", "--added", &taken]].concat();
    let (code, _, said) = office.ledger(&words).await;
    assert!(code == 1 && said.contains("another item's"), "{said}");
}

#[tokio::test]
async fn where_no_ledger_can_be_reached_the_command_says_which_it_looked_for() {
    let folder = TempDir::new().unwrap();
    let (code, _, said) = run(&["ledger", "list", &place(folder.path())]).await;
    assert!(code == 1 && said.contains("there is no ledger"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
    let (code, _, said) = run(&["ledger", "list", "--ledger=memory:"]).await;
    assert!(code == 1 && said.contains("--operator-socket"), "{said}");
}

#[tokio::test]
async fn a_ledger_in_memory_is_reached_over_a_socket_that_is_named() {
    let folder = TempDir::new().unwrap();
    let socket = format!("--operator-socket={}", folder.path().join("s").display());
    let server = Running::start(&["serve", "--sandbox", "--listen=127.0.0.1:0", &socket]).await;
    add(&server, "here", 1).await;
    let show = ["ledger", "show", "--campaign", EVERGREEN, "--request-id=here", "--ledger=memory:", &socket];
    let (code, table, said) = run(&show).await;
    assert_eq!(code, 0, "{said}");
    assert!(table.contains("ADDED"), "{table}");
    server.signal();
    assert_eq!(server.end().await.0, Some(0));
    assert!(!Path::new(&folder.path().join("s")).exists());
}
