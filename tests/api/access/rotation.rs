//! Certificates and held keys that are renewed again and again while many call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use blubash_grpc::{
    pb::campaigns_service_client::CampaignsServiceClient,
    sandbox::{self, SEEDED},
};
use reqwest::Method;
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use super::{Files, READER, get, with};
use crate::tls::{self, Authority};

/// How often both are renewed; ROTATIONS=200 for more.
fn rotations() -> usize {
    std::env::var("ROTATIONS").map_or(5, |text| text.parse().expect("ROTATIONS is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_keys_and_certificates_are_renewed() {
    let (files, authority) = (Files::new(), Arc::new(Authority::new()));
    let flags = [authority.flags(true), vec![files.flag()]].concat();
    let app = Arc::new(tls::app(&flags).await);
    let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (app, authority, over, made) =
            (Arc::clone(&app), Arc::clone(&authority), Arc::clone(&over), Arc::clone(&made));
        callers.spawn(async move {
            while !over.load(Relaxed) {
                // Connected anew now and then, so that each certificate meets callers who come and who are there.
                let channel = authority.connect(&app, None).await.unwrap();
                let mut client = CampaignsServiceClient::new(channel);
                for _ in 0..50 {
                    let asked = with(get(SEEDED, "msg-seeded-sent", 0), &[("authorization", READER)]);
                    client.get_message(asked).await.unwrap();
                    made.fetch_add(1, Relaxed);
                }
            }
        });
    }
    let mut old = sandbox::ACME_API_KEY.to_owned();
    for n in 0..rotations() {
        let new = format!("renewed-{n}");
        let takes = |keys: Vec<String>| {
            app.rest.control(Method::POST, "keys", json!({"workspace": "acme", "api_keys": keys}))
        };
        takes(vec![old.clone(), new.clone()]).await;
        let before = tls::presented(&app).await;
        files.key("acme", &new);
        authority.renew();
        // As an operator waits for "read anew" in the log, and then some, for the calls that have the old key.
        let renewed = async {
            while tls::presented(&app).await == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), renewed).await.expect("a new certificate is presented");
        tokio::time::sleep(Duration::from_millis(300)).await;
        takes(vec![new.clone()]).await;
        old = new;
    }
    over.store(true, Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    println!("{} rotations, {} calls, none failed", rotations(), made.load(Relaxed));
}
