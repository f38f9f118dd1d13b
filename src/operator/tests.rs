#![allow(clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Door, DoorFault, OperatorSocket, SocketFault,
    protocol::{Doubts, IngestionName, Request, Shown, Verdict},
};
use crate::{
    clock::Clock,
    ledger::{ClaimedItem, Config, Event, Ledger, Scope},
    model::{AddedItem, CampaignId, MessageId, RequestId, WorkspaceId},
};

fn scope(workspace: u8, campaign: &str, request_id: &str) -> Scope {
    Scope {
        workspace: WorkspaceId([workspace; 16]),
        campaign: CampaignId::parse(campaign).unwrap(),
        request_id: RequestId::parse(request_id).unwrap(),
    }
}

fn name(workspace: u8, campaign: &str, request_id: &str) -> IngestionName {
    IngestionName {
        workspace: WorkspaceId([workspace; 16]).to_hex(),
        campaign: campaign.into(),
        request_id: request_id.into(),
    }
}

/// Claims these items and says of each what became of it; what is not said is in doubt.
async fn send(ledger: &Ledger, scope: Scope, indexes: std::ops::Range<u64>, events: Option<Vec<Event>>) {
    let ingestion = ledger.open(scope, None).await.unwrap();
    let item = |index| ClaimedItem { index, fingerprint: [7; 16], item_id: format!("row-{index}") };
    let claim = Arc::clone(&ingestion).claim(indexes.map(item).collect(), None).await.unwrap();
    match events {
        Some(events) => claim.settle(events).await.unwrap(),
        None => drop(claim),
    }
}

fn added(id: &str) -> Event {
    Event::Added(std::sync::Arc::new(AddedItem {
        message_id: MessageId::parse(id).unwrap(),
        contact_id: String::new(),
        schedule: None,
    }))
}

/// A ledger on virtual time with: three doubts in two campaigns, and two items that were added.
async fn ledger() -> Ledger {
    let ledger =
        Ledger::in_memory(Config::default(), Clock::anchored("2026-03-11T09:00:00Z".parse().unwrap()));
    for (workspace, campaign, request_id) in
        [(9, "camp-a", "oldest"), (1, "camp-b", "middle"), (5, "camp-a", "newest")]
    {
        send(&ledger, scope(workspace, campaign, request_id), 0..2, None).await;
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let events = vec![added("msg-1"), added("msg-2")];
    send(&ledger, scope(9, "camp-a", "oldest"), 2..4, Some(events)).await;
    ledger
}

async fn resolve(door: &mut Door, index: u64, verdict: Verdict, note: &str) -> Result<(), DoorFault> {
    let (of, by, note) = (name(9, "camp-a", "oldest"), "alice".into(), note.into());
    door.ask(Request::Resolve { of, index, verdict, by, note }).await
}

async fn show(door: &mut Door, of: IngestionName) -> Option<Shown> {
    door.ask(Request::Show { of, from: 0, limit: 100 }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn doubts_are_listed_oldest_first_whatever_their_names_and_counted_beyond_the_limit() {
    let mut door = Door::to_ledger(ledger().await);
    let mut list = async |campaign: Option<&str>, limit| {
        let request = Request::Doubts { campaign: campaign.map(str::to_owned), limit };
        let doubts: Doubts = door.ask(request).await.unwrap();
        let names: Vec<_> = doubts.batches.iter().map(|doubt| doubt.of.request_id.clone()).collect();
        (names.join(" "), doubts.items, doubts.in_batches)
    };
    assert_eq!(list(None, 10).await, ("oldest middle newest".to_owned(), 6, 3));
    assert_eq!(list(None, 1).await, ("oldest".to_owned(), 6, 3));
    assert_eq!(list(Some("camp-a"), 10).await, ("oldest newest".to_owned(), 4, 2));
    assert_eq!(list(Some("camp-c"), 10).await, (String::new(), 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_operators_word_settles_an_item_and_is_kept_with_who_said_it_and_how_they_know() {
    let mut door = Door::to_ledger(ledger().await);
    resolve(&mut door, 0, Verdict::Added("msg-3".into()), "seen in the console").await.unwrap();
    resolve(&mut door, 1, Verdict::Rejected, "not there").await.unwrap();
    let shown = show(&mut door, name(9, "camp-a", "oldest")).await.unwrap();
    let told: Vec<_> =
        shown.items.iter().map(|item| (item.disposition.as_str(), item.message_id.as_deref())).collect();
    assert_eq!(
        told,
        [("ADDED", Some("msg-3")), ("REJECTED", None), ("ADDED", Some("msg-1")), ("ADDED", Some("msg-2"))]
    );
    let audit = &shown.items[0].audit[0];
    // Whatever name they give: which user it was is the system's word.
    assert!(audit.by.starts_with("alice (uid "), "{}", audit.by);
    assert_eq!(
        (audit.note.as_str(), &audit.verdict),
        ("seen in the console", &Verdict::Added("msg-3".into()))
    );
    assert!(shown.items[2].audit.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_word_that_cannot_be_true_or_says_nothing_is_refused_and_changes_nothing() {
    let mut door = Door::to_ledger(ledger().await);
    for (index, verdict, note, part) in [
        // Another item's message: the doubt about this one would only be hidden.
        (0, Verdict::Added("msg-1".into()), "note", "another item's"),
        (0, Verdict::Added(String::new()), "note", "message's id"),
        (0, Verdict::Rejected, " ", "the note"),
        (0, Verdict::Rejected, "two\nlines", "the note"),
        (0, Verdict::Rejected, &"n".repeat(1_001), "the note"),
        (2, Verdict::Rejected, "note", "in doubt"),
        (9, Verdict::Rejected, "note", "no such item"),
    ] {
        let fault = resolve(&mut door, index, verdict, note).await.unwrap_err();
        assert!(matches!(&fault, DoorFault::Refused(why) if why.contains(part)), "{fault}");
    }
    let shown = show(&mut door, name(9, "camp-a", "oldest")).await.unwrap();
    assert_eq!((shown.summary.in_doubt, shown.summary.added), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_ingestion_is_found_in_every_workspace_that_has_one_of_its_name() {
    let ledger = ledger().await;
    for workspace in [255, 0, 7] {
        send(&ledger, scope(workspace, "camp-a", "shared"), 0..1, Some(vec![Event::NotApplied])).await;
    }
    let mut door = Door::to_ledger(ledger);
    let mut find = async |campaign: &str, request_id: &str| {
        let request = Request::Find { campaign: campaign.into(), request_id: request_id.into() };
        door.ask::<Vec<IngestionName>>(request).await.unwrap()
    };
    let all = [0, 7, 255].map(|workspace| name(workspace, "camp-a", "shared"));
    assert_eq!(find("camp-a", "shared").await, all);
    assert_eq!(find("camp-a", "oldest").await, [name(9, "camp-a", "oldest")]);
    assert!(find("camp-b", "oldest").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn messages_on_record_are_told_from_those_that_are_not_within_their_campaign_only() {
    let mut door = Door::to_ledger(ledger().await);
    let mut unnamed = async |workspace: u8, campaign: &str| {
        let (workspace, campaign) = (WorkspaceId([workspace; 16]).to_hex(), campaign.to_owned());
        let messages = ["msg-1", "msg-2", "msg-3"].map(str::to_owned).into();
        door.ask::<Vec<String>>(Request::Unnamed { workspace, campaign, messages }).await.unwrap()
    };
    assert_eq!(unnamed(9, "camp-a").await, ["msg-3"]);
    assert_eq!(unnamed(9, "camp-b").await.len(), 3);
    assert_eq!(unnamed(1, "camp-a").await.len(), 3);
}

/// A socket that answers, and the folder that it is in.
async fn serving(ledger: Ledger) -> (TempDir, PathBuf, CancellationToken, JoinHandle<()>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ledger.redb.sock");
    let socket = OperatorSocket::bind(&path).await.unwrap();
    let stopping = CancellationToken::new();
    let serving = tokio::spawn(socket.serve(ledger, stopping.clone()));
    (folder, path, stopping, serving)
}

fn memory() -> Ledger {
    Ledger::in_memory(Config::default(), Clock::System)
}

#[tokio::test]
async fn over_the_socket_the_answers_are_the_same_and_the_user_is_the_systems_word() {
    let ledger = memory();
    send(&ledger, scope(9, "camp-a", "oldest"), 0..2, None).await;
    let (_folder, path, stopping, serving) = serving(ledger.clone()).await;
    let mut over = Door::to_server(&path).await.unwrap().unwrap();
    let mut beside = Door::to_ledger(ledger);
    resolve(&mut over, 1, Verdict::Rejected, "not there").await.unwrap();
    let of = name(9, "camp-a", "oldest");
    let shown = show(&mut over, of.clone()).await.unwrap();
    // How long it is remembered only the server knows.
    assert!(shown.expire_time.is_some());
    assert_eq!(Shown { expire_time: None, ..shown.clone() }, show(&mut beside, of).await.unwrap());
    assert!(shown.items[1].audit[0].by.starts_with("alice (uid "));
    assert_eq!(show(&mut over, name(9, "camp-a", "unknown")).await, None);
    let refused = resolve(&mut over, 1, Verdict::Rejected, "again").await.unwrap_err();
    assert!(matches!(refused, DoorFault::Refused(_)), "{refused}");

    // An operator who stays connected keeps no server from ending.
    stopping.cancel();
    serving.await.unwrap();
    assert!(!path.exists());
    assert!(Door::to_server(&path).await.unwrap().is_none());
}

#[tokio::test]
async fn the_socket_is_closed_to_other_users_and_is_never_taken_from_who_answers_on_it() {
    let (folder, path, ..) = serving(memory()).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(OperatorSocket::bind(&path).await.unwrap_err(), SocketFault::InUse(_)));
    assert!(Door::to_server(&path).await.unwrap().is_some());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left behind");
}

#[tokio::test]
async fn what_a_killed_server_left_is_replaced_and_another_file_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(Door::to_server(&path).await.unwrap().is_none(), "nobody answers on it");
    let socket = OperatorSocket::bind(&path).await.unwrap();
    assert!(Door::to_server(&path).await.unwrap().is_some());
    drop(socket);

    fs::write(&path, "precious").unwrap();
    assert!(matches!(OperatorSocket::bind(&path).await.unwrap_err(), SocketFault::InTheWay(_)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let long = folder.path().join("l".repeat(120));
    let fault = OperatorSocket::bind(&long).await.unwrap_err().to_string();
    assert!(fault.contains("--operator-socket"), "{fault}");
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_with_what_is_wrong() {
    let (_folder, path, ..) = serving(memory()).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut replies = BufReader::new(read).lines();
    for (line, part) in [
        ("hello", "one JSON object"),
        ("{}", "one JSON object"),
        (r#"{"version":2,"request":{"doubts":{"campaign":null,"limit":1}}}"#, "version 1"),
        (r#"{"version":1,"request":{"forget":{}}}"#, "not a request"),
        (r#"{"version":1,"request":{"find":{"campaign":"..","request_id":"x"}}}"#, "campaign"),
    ] {
        write.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let reply = replies.next_line().await.unwrap().unwrap();
        assert!(reply.contains(r#""error""#) && reply.contains(part), "{line}: {reply}");
    }
    // Who never ends a line is cut off, and fills no memory.
    let _ = write.write_all(&vec![b'x'; 2 << 20]).await;
    let reply = replies.next_line().await.unwrap().unwrap();
    assert!(reply.contains("at most"), "{reply}");
    assert_eq!(replies.into_inner().read(&mut [0; 8]).await.unwrap_or(0), 0);
}
