//! The same request_id again: what was settled comes back, and nobody is messaged twice.

use std::time::Duration;

use blubash_grpc::{
    pb::{self, Disposition, ErrorReason},
    sandbox,
};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{App, EVERGREEN, dispositions, item, items, keyed, reason, request_id, with_key};

fn message_ids(answer: &pb::AddAudienceResponse) -> Vec<String> {
    answer.results.iter().map(|result| result.added.clone().unwrap_or_default().message_id).collect()
}

fn replayed(answer: &pb::AddAudienceResponse) -> Vec<bool> {
    answer.results.iter().map(|result| result.replayed).collect()
}

async fn counts(app: &App) -> (usize, usize) {
    (app.upstream_calls("add").await.len(), app.rest.truth().await.len())
}

#[tokio::test]
async fn a_repeat_returns_the_same_messages_and_sends_nothing() {
    let app = App::start().await;
    let first = app.add(request_id("again"), items(250)).await.unwrap();
    let before = counts(&app).await;
    let again = app.add(request_id("again"), items(250)).await.unwrap();
    assert_eq!(message_ids(&again), message_ids(&first));
    assert_eq!(replayed(&again), [true; 250]);
    let summary = again.summary.unwrap();
    assert_eq!((summary.received, summary.added, summary.replayed), (250, 250, 250));
    assert_eq!(again.termination, None);
    assert_eq!((before, counts(&app).await), ((3, 250), (3, 250)));
}

#[tokio::test]
async fn without_a_request_id_a_repeat_is_new_and_the_made_up_one_repeats() {
    let app = App::start().await;
    let first = app.add(Default::default(), items(1)).await.unwrap();
    let second = app.add(Default::default(), items(1)).await.unwrap();
    assert_ne!(first.request_id, second.request_id);
    let again = app.add(request_id(&first.request_id), items(1)).await.unwrap();
    assert_eq!((message_ids(&again), replayed(&again)), (message_ids(&first), vec![true]));
    assert_eq!(counts(&app).await, (2, 2));
}

#[tokio::test]
async fn another_item_in_a_settled_place_is_a_reused_request_id_and_nothing_is_sent() {
    let app = App::start().await;
    app.add(request_id("reused"), items(2)).await.unwrap();
    // Not one item of it is the same: a bare status tells the whole truth.
    let status = app.add(request_id("reused"), vec![item("5511955555555"); 3]).await.unwrap_err();
    assert_eq!(reason(&status), (Code::InvalidArgument, "REQUEST_ID_REUSED".into()));
    assert_eq!(status.get_details_error_info().unwrap().metadata["index"], "0");

    // The first one is: it was messaged, and the answer has to say so.
    let changed = vec![items(2).remove(0), item("5511955555555"), item("5511966666666")];
    let answer = app.add(request_id("reused"), changed).await.unwrap();
    let termination = answer.termination.clone().unwrap();
    assert_eq!(termination.reason(), ErrorReason::RequestIdReused);
    assert_eq!(termination.metadata["index"], "1");
    let expected = [Disposition::Added, Disposition::NotAttempted, Disposition::NotAttempted];
    assert_eq!(dispositions(&answer), expected);
    assert_eq!(replayed(&answer), [true, false, false]);

    // A settled item that comes back invalid is another item, too.
    let status = app.add(request_id("reused"), vec![item("")]).await.unwrap_err();
    assert_eq!(reason(&status).1, "REQUEST_ID_REUSED");
    assert_eq!(counts(&app).await, (1, 2));
}

#[tokio::test]
async fn the_callers_own_item_id_may_differ() {
    let app = App::start().await;
    let named = |id: &str| vec![pb::AudienceItem { item_id: id.into(), ..items(1).remove(0) }];
    app.add(request_id("named"), named("one")).await.unwrap();
    let again = app.add(request_id("named"), named("two")).await.unwrap();
    assert_eq!((again.results[0].item_id.as_str(), again.results[0].replayed), ("two", true));
    assert_eq!(counts(&app).await, (1, 1));
}

#[tokio::test]
async fn an_item_that_was_invalid_may_come_back_mended() {
    let app = App::start().await;
    let mut list = items(3);
    let good = std::mem::replace(&mut list[1], item(""));
    let first = app.add(request_id("mended"), list.clone()).await.unwrap();
    assert_eq!(dispositions(&first), [Disposition::Added, Disposition::Invalid, Disposition::Added]);
    list[1] = good;
    let again = app.add(request_id("mended"), list).await.unwrap();
    assert_eq!(dispositions(&again), [Disposition::Added; 3]);
    assert_eq!(replayed(&again), [true, false, true]);
    assert_eq!(counts(&app).await, (2, 3));
}

#[tokio::test]
async fn an_item_that_was_not_attempted_may_come_back_changed() {
    let app = App::start().await;
    let body = json!({"statusCode": 401, "message": "Missing or invalid API key"});
    app.rest.fault(json!({"operation": "add", "after": 1, "count": 1, "status": 401, "body": body})).await;
    let single = pb::AudienceOptions { max_batch_size: 1, ..request_id("changed") };
    let first = app.add(single.clone(), items(3)).await.unwrap();
    assert_eq!(dispositions(&first)[0], Disposition::Added);
    assert_eq!(first.termination.clone().unwrap().reason(), ErrorReason::ApiKeyInvalid);
    let list = vec![items(1).remove(0), item("5511977777777"), item("5511988888888")];
    let attempted: Vec<bool> = dispositions(&first).iter().map(|d| *d != Disposition::NotAttempted).collect();
    if attempted == [true, false, false] {
        let again = app.add(single, list).await.unwrap();
        assert_eq!(dispositions(&again), [Disposition::Added; 3]);
        assert_eq!(replayed(&again), [true, false, false]);
    } else {
        // Two were under way at once, and the third met no fault.
        assert_eq!(attempted, [true, false, true]);
    }
    assert_eq!(app.rest.truth().await.len(), if attempted[2] { 2 } else { 3 });
}

#[tokio::test]
async fn a_prefix_replays_and_a_longer_list_adds_only_its_new_end() {
    let app = App::start().await;
    app.add(request_id("grows"), items(4)).await.unwrap();
    let prefix = app.add(request_id("grows"), items(2)).await.unwrap();
    assert_eq!(replayed(&prefix), [true; 2]);
    let longer = app.add(request_id("grows"), items(6)).await.unwrap();
    assert_eq!(replayed(&longer), [true, true, true, true, false, false]);
    assert_eq!(counts(&app).await, (2, 6));
}

#[tokio::test]
async fn a_request_id_means_nothing_in_another_workspace_or_campaign() {
    let app = App::start().await;
    app.add(request_id("mine"), items(1)).await.unwrap();
    let elsewhere = app.add_to(sandbox::EMPTY, request_id("mine"), items(1)).await.unwrap();
    assert_eq!(replayed(&elsewhere), [false]);
    let call = pb::AddAudienceRequest {
        campaign_id: sandbox::GLOBEX.into(),
        options: Some(request_id("mine")),
        items: vec![item("5511999999999")],
    };
    let request = with_key(tokio_stream::iter([call]), sandbox::GLOBEX_API_KEY);
    let theirs = app.client.clone().add_audience(request).await.unwrap().into_inner();
    assert_eq!((dispositions(&theirs), replayed(&theirs)), (vec![Disposition::Added], vec![false]));
    assert_eq!(app.upstream_calls("add").await.len(), 3);
}

#[tokio::test]
async fn of_two_calls_at_once_one_sends_and_the_other_replays() {
    let app = App::start().await;
    app.rest.fault(json!({"operation": "add", "latency_ms": 300})).await;
    let call = || app.add(request_id("race"), items(120));
    let (one, other) = tokio::join!(call(), call());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(message_ids(&one), message_ids(&other));
    let mut who = [one.summary.unwrap().replayed, other.summary.unwrap().replayed];
    who.sort_unstable();
    assert_eq!(who, [0, 120]);
    assert_eq!(counts(&app).await, (2, 120));
}

#[tokio::test]
async fn one_that_cannot_wait_for_the_other_is_told_that_the_request_id_is_in_use() {
    let app = App::start().await;
    app.rest.fault(json!({"operation": "add", "latency_ms": 1500})).await;
    let slow = app.add(request_id("busy"), items(1));
    let quick = async {
        while app.upstream_calls("add").await.is_empty() {}
        let call = pb::AddAudienceRequest {
            campaign_id: EVERGREEN.into(),
            options: Some(request_id("busy")),
            items: items(1),
        };
        let mut request = keyed(tokio_stream::iter([call]));
        request.set_timeout(Duration::from_millis(400));
        app.client.clone().add_audience(request).await.unwrap_err()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(reason(&quick), (Code::Aborted, "REQUEST_ID_IN_USE".into()));
    assert!(quick.get_details_retry_info().is_some());
    assert_eq!(dispositions(&slow.unwrap()), [Disposition::Added]);
    assert_eq!(counts(&app).await, (1, 1));
}

#[tokio::test]
async fn a_renewed_key_that_is_named_as_the_same_workspaces_repeats_what_the_old_one_began() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::TempDir::new().unwrap();
    let keys = folder.path().join("keys");
    // To the sandbox the second is another workspace's: were anything sent under it, it would be refused.
    std::fs::write(&keys, format!("# renewed\n{} {}\n", sandbox::ACME_API_KEY, sandbox::GLOBEX_API_KEY))
        .unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = format!("--workspace-keys-file={}", keys.display());
    let app = App::with(Default::default(), &[&file]).await;
    let first = app.add(request_id("renewed"), items(2)).await.unwrap();
    let repeat = |key: &'static str, id: &str| {
        let options = Some(request_id(id));
        let request = pb::AddAudienceRequest { campaign_id: EVERGREEN.into(), options, items: items(2) };
        let mut client = app.client.clone();
        async move { client.add_audience(with_key(tokio_stream::once(request), key)).await }
    };
    let again = repeat(sandbox::GLOBEX_API_KEY, "renewed").await.unwrap().into_inner();
    assert_eq!((message_ids(&again), replayed(&again)), (message_ids(&first), vec![true; 2]));
    // What goes upstream is the key that came.
    let refused = repeat(sandbox::GLOBEX_API_KEY, "new").await.unwrap_err();
    assert_eq!(reason(&refused).1, "CAMPAIGN_NOT_FOUND");
    assert_eq!(counts(&app).await.1, 2);
}
