//! The binary: start, stop, and what it says when it cannot start.

use blubash_grpc::{
    pb::{self, watch_messages_response::Event},
    sandbox,
};
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt as _;
use tonic::Code;

use crate::{
    binary::{Running, command, mode, refused},
    harness::{item, keyed, reason, request_id},
};

fn list(page_token: &str) -> pb::ListMessagesRequest {
    pb::ListMessagesRequest {
        campaign_id: sandbox::SEEDED.into(),
        page_size: 3,
        page_token: page_token.into(),
        ..Default::default()
    }
}

fn add(id: &str) -> pb::AddAudienceRequest {
    pb::AddAudienceRequest {
        campaign_id: sandbox::EVERGREEN.into(),
        options: Some(request_id(id)),
        items: vec![pb::AudienceItem {
            name: "Canary Name".into(),
            email: "canary@example.com".into(),
            ..item("5511900000042")
        }],
    }
}

const SANDBOX: [&str; 4] = ["serve", "--sandbox", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn serve_sandbox_says_what_it_is_and_prints_a_first_call_with_its_address() {
    let server = Running::start(&SANDBOX).await;
    assert!(server.said.contains("SANDBOX"), "{}", server.said);
    let call = server.said.lines().find(|line| line.contains("grpcurl")).unwrap();
    for part in [server.address.as_str(), sandbox::ACME_API_KEY, "CampaignsService/ListMessages"] {
        assert!(call.contains(part), "{call}");
    }
    let page = server.client().await.list_messages(keyed(list(""))).await.unwrap().into_inner();
    assert_eq!(page.messages.len(), 3);
    server.signal();
    let (code, said) = server.end().await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn serve_in_front_of_a_sandbox_of_its_own_process_warns_that_its_memory_is_short() {
    let emulator = Running::start(&["sandbox", "--listen", "127.0.0.1:0"]).await;
    assert!(emulator.said.contains("EMULATOR"), "{}", emulator.said);
    let url = format!("http://{}/api/v1/campaigns", emulator.address);
    let files = TempDir::new().unwrap();
    let port_file = files.path().join("port");
    let server = Running::spawn(
        command(&[
            "serve",
            "--listen=127.0.0.1:0",
            "--ledger=memory:",
            "--upstream-url",
            &url,
            "--port-file",
            port_file.to_str().unwrap(),
        ])
        // As a chart sets it: a variable that says no is no conflict.
        .env("BLUBASH_SANDBOX", "false"),
    )
    .await;
    assert!(server.said.contains("ledger is in memory"), "{}", server.said);
    let page = server.client().await.list_messages(keyed(list(""))).await.unwrap().into_inner();
    assert_eq!(page.messages.len(), 3);
    assert_eq!(std::fs::read_to_string(port_file).unwrap(), server.address);
}

#[tokio::test]
async fn the_first_watch_of_a_campaign_is_told_at_once_and_not_at_the_second_poll() {
    // In the process as it is, whose threads really run beside one another; several, since it is a matter of luck.
    for _ in 0..6 {
        let server = Running::start(&[&SANDBOX[..], &["--poll-interval=10m"]].concat()).await;
        let mut client = server.client().await;
        for campaign in [sandbox::SEEDED, sandbox::EVERGREEN, sandbox::PAUSED, sandbox::CANCELLED] {
            let request = pb::WatchMessagesRequest { campaign_id: campaign.into(), ..Default::default() };
            let mut watch = client.watch_messages(keyed(request)).await.unwrap().into_inner();
            let first = watch.message().await.unwrap().unwrap().event.unwrap();
            assert!(!matches!(first, Event::Heartbeat(_)), "it waits for the next poll");
        }
    }
}

#[tokio::test]
async fn sigterm_ends_a_watch_with_server_draining_and_the_process_with_0() {
    let server = Running::start(&SANDBOX).await;
    let request = pb::WatchMessagesRequest { campaign_id: sandbox::SEEDED.into(), ..Default::default() };
    let mut watch = server.client().await.watch_messages(keyed(request)).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    server.signal();
    let status = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the watch ended as if it were complete"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), (Code::Unavailable, "SERVER_DRAINING".into()));
    let (code, said) = server.end().await;
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn sigterm_lets_an_add_in_flight_finish_and_a_second_signal_does_not_wait() {
    for second in [false, true] {
        let server = Running::start(&SANDBOX).await;
        let url = server.said.lines().find_map(|line| line.strip_prefix("The emulated REST API: ")).unwrap();
        let control = url.replace("/api/v1/campaigns", "/_sandbox");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let rule = if second {
            r#"{"operation":"add","latency_ms":60000}"#
        } else {
            r#"{"operation":"add","latency_ms":700}"#
        };
        http.post(format!("{control}/faults")).body(rule).send().await.unwrap().error_for_status().unwrap();
        let mut client = server.client().await;
        let adding =
            tokio::spawn(async move { client.add_audience(keyed(tokio_stream::once(add("drain")))).await });
        // The request log shows it as soon as it is on its way.
        loop {
            let log = http.get(format!("{control}/requests")).send().await.unwrap().text().await.unwrap();
            if log.contains(r#""operation":"add""#) {
                break;
            }
            tokio::task::yield_now().await;
        }
        server.signal();
        if second {
            let mut server = server;
            while !server.said.contains("second signal ends at once") {
                server.stderr.read_line(&mut server.said).await.unwrap();
            }
            server.signal();
            assert_eq!(server.end().await.0, Some(130));
            assert!(adding.await.unwrap().is_err());
        } else {
            let answer = adding.await.unwrap().unwrap().into_inner();
            assert_eq!(answer.summary.unwrap().added, 1);
            assert_eq!(server.end().await.0, Some(0));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_at_the_start_with_what_to_do() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let secret = TempDir::new().unwrap();
    let open = secret.path().join("open");
    std::fs::write(&open, "00".repeat(32)).unwrap();
    let listen = "--listen=127.0.0.1:0";
    let rows: [(&[&str], i32, &[&str]); 9] = [
        (&["serve", "--sandbox", "--listen", &taken], 1, &["taken", "--listen"]),
        (
            &["serve", listen, "--ledger=memory:", "--upstream-url", "http://example.com"],
            1,
            &["--upstream-url", "https"],
        ),
        (
            &[
                "serve",
                listen,
                "--ledger=memory:",
                "--upstream-url=ftp://x",
                "--poll-interval=1ms",
                "--batch-max-bytes=1",
            ],
            1,
            &["--upstream-url", "--poll-interval", "--batch-max-bytes"],
        ),
        (&["serve", listen, "--ledger=redis://x"], 2, &["--ledger", "file:PATH", "memory:"]),
        (&["serve", listen, "--ledger=file:"], 2, &["--ledger", "file:/var/lib/blubash-grpc/ledger.redb"]),
        (
            &["serve", listen, "--ledger=memory:", "--batch-max-age=11s", "--upstream-concurrency=8"],
            1,
            &["--batch-max-age", "0s and 10s", "--upstream-bulk-concurrency"],
        ),
        (&["serve", "--sandbox", "--upstream-url=https://example.com"], 1, &["cannot be used with"]),
        (&["serve", "--sandbox", listen, "--secret-file", open.to_str().unwrap()], 1, &["--secret-file"]),
        (&["serve", "--batch-max-items=0"], 2, &["--batch-max-items"]),
    ];
    for (arguments, code, parts) in rows {
        let (ended, said) = refused(arguments).await;
        assert_eq!(ended, code, "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn page_tokens_outlive_a_restart_where_the_secret_has_a_file() {
    let files = TempDir::new().unwrap();
    let secret = files.path().join("secret");
    let arguments = [&SANDBOX[..], &["--secret-file", secret.to_str().unwrap()]].concat();
    let server = Running::start(&arguments).await;
    let first = server.client().await.list_messages(keyed(list(""))).await.unwrap().into_inner();
    server.signal();
    server.end().await;
    assert_eq!(mode(&secret), 0o600);

    let server = Running::start(&arguments).await;
    let next = list(&first.next_page_token);
    assert!(server.client().await.list_messages(keyed(next.clone())).await.is_ok());
    let stranger = Running::start(&SANDBOX).await;
    let refused = stranger.client().await.list_messages(keyed(next)).await.unwrap_err();
    assert_eq!(reason(&refused).1, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn neither_keys_nor_personal_data_reach_the_log_at_any_level() {
    let server = Running::spawn(command(&SANDBOX).env("RUST_LOG", "trace")).await;
    let mut client = server.client().await;
    let answer = client.add_audience(keyed(tokio_stream::once(add("canary")))).await.unwrap().into_inner();
    let message_id = answer.results[0].added.as_ref().unwrap().message_id.clone();
    let campaign_id = sandbox::EVERGREEN.to_owned();
    let get = pb::GetMessageRequest {
        campaign_id: campaign_id.clone(),
        message_id: message_id.clone(),
        max_staleness: None,
    };
    client.get_message(keyed(get)).await.unwrap();
    client.list_messages(keyed(list(""))).await.unwrap();
    let _ = client.cancel_message(keyed(pb::CancelMessageRequest { campaign_id, message_id })).await;
    server.signal();
    let (_, said) = server.end().await;
    let logged: String = said.lines().filter(|line| !line.contains("grpcurl")).collect();
    assert!(logged.contains("TRACE") || logged.contains("DEBUG"), "the log is open to its lowest level");
    for canary in [sandbox::ACME_API_KEY, "5511900000042", "Canary Name", "canary@example.com"] {
        assert!(!logged.contains(canary), "{canary} was logged");
    }
}

#[tokio::test]
async fn version_names_the_time_zone_release_on_which_hours_depend() {
    let output = command(&["--version"]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(env!("CARGO_PKG_VERSION")) && text.contains(chrono_tz::IANA_TZDB_VERSION),
        "{text}"
    );
}
