//! Reads, one promise at a time.

use futures_util::future::join_all;
use tokio::time::advance;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_moving_message_serves_for_a_moment_and_a_terminal_one_for_long() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    for _ in 0..3 {
        assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Queued);
    }
    assert_eq!(upstream.calls(), 1);
    upstream.set(Status::Sent);
    advance(Duration::from_secs(3)).await;
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Sent);
    advance(Duration::from_secs(3_500)).await;
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Sent);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_allows_counts_and_nothing_older_is_served() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let (_, first) = observe(&cache, &upstream, None).await.unwrap();
    advance(Duration::from_secs(30)).await;
    upstream.set(Status::Sending);
    let (status, observed) = observe(&cache, &upstream, seconds(60)).await.unwrap();
    assert_eq!((status, observed), (Status::Queued, first), "it says how old it is");
    let (status, observed) = observe(&cache, &upstream, seconds(29)).await.unwrap();
    assert_eq!(status, Status::Sending);
    assert!(observed - first >= chrono::TimeDelta::seconds(30));
    upstream.set(Status::Sent);
    assert_eq!(read(&cache, &upstream, seconds(0)).await.unwrap(), Status::Sent, "0 s asks the upstream");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_equal_reads_are_one_call_and_those_of_another_workspace_another() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let reads = (0..200).map(|_| read(&cache, &upstream, None));
    assert!(join_all(reads).await.into_iter().all(|status| status == Ok(Status::Queued)));
    assert_eq!(upstream.calls(), 1);
    let (campaign, m) = (campaign(), id("m"));
    cache.message(&context(2), &campaign, &m, None, || upstream.get()).await.unwrap();
    assert_eq!(upstream.calls(), 2, "another workspace's answer is not this one's");
    let other = CampaignId::parse("other").unwrap();
    cache.message(&context(1), &other, &m, None, || upstream.get()).await.unwrap();
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_does_not_restart_the_read_of_the_others() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let first = tokio::time::timeout(Duration::from_millis(2), read(&cache, &upstream, None));
    let (left, stayed) = tokio::join!(first, read(&cache, &upstream, None));
    assert!(left.is_err());
    assert_eq!(stayed.unwrap(), Status::Queued);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_not_the_read() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let hurried = Context { deadline: Some(Instant::now() + Duration::from_millis(5)), ..context(1) };
    let (campaign, m) = (campaign(), id("m"));
    let late = cache.message(&hurried, &campaign, &m, None, || upstream.get()).await.unwrap_err();
    assert_eq!(late.reason(), Reason::DeadlineExceeded);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Queued);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_who_wants_the_present_asks_for_it_and_what_comes_serves_the_others() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let early = read(&cache, &upstream, None);
    let late = async {
        sleep(Duration::from_millis(6)).await;
        // The first read has looked by now.
        upstream.set(Status::Sent);
        join_all((0..5).map(|_| read(&cache, &upstream, seconds(0)))).await
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!(early.unwrap(), Status::Queued);
    assert!(late.into_iter().all(|status| status == Ok(Status::Sent)));
    assert_eq!(upstream.calls(), 6);
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Sent);
    assert_eq!(upstream.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_after_a_cancellation_shares_the_read_that_follows_it() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let early = read(&cache, &upstream, None);
    let late = async {
        sleep(Duration::from_millis(6)).await;
        upstream.set(Status::Cancelled);
        cache.cancelled(context(1).workspace.id, &campaign(), &id("m"));
        join_all((0..50).map(|_| read(&cache, &upstream, None))).await
    };
    let (_, late) = tokio::join!(early, late);
    assert!(late.into_iter().all(|status| status == Ok(Status::Cancelled)));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn errors_are_not_kept_and_a_404_for_a_moment_at_most() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    upstream.fail(Reason::UpstreamUnavailable);
    assert!(read(&cache, &upstream, None).await.is_err());
    upstream.fail(Reason::MessageNotFound);
    for _ in 0..2 {
        let error = read(&cache, &upstream, seconds(3_600)).await.unwrap_err();
        assert_eq!(error.reason(), Reason::MessageNotFound);
    }
    assert_eq!(upstream.calls(), 2, "the failure was not kept, the 404 was");
    upstream.set(Status::Queued);
    advance(Duration::from_millis(1_100)).await;
    assert_eq!(read(&cache, &upstream, seconds(3_600)).await.unwrap(), Status::Queued);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_served_while_the_upstream_is_down() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    read(&cache, &upstream, None).await.unwrap();
    upstream.fail(Reason::UpstreamUnavailable);
    advance(Duration::from_secs(50)).await;
    assert_eq!(read(&cache, &upstream, seconds(60)).await.unwrap(), Status::Queued);
    assert!(read(&cache, &upstream, seconds(40)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_purges_its_workspace_and_no_other_whoever_holds_it() {
    for reason in [Reason::ApiKeyInvalid, Reason::UpstreamKeyRefused] {
        let (cache, upstream) = (cache(), Upstream::new(Status::Sent));
        let (campaign, m, other) = (campaign(), id("m"), id("other"));
        for workspace in [1, 2] {
            cache.message(&context(workspace), &campaign, &m, None, || upstream.get()).await.unwrap();
        }
        upstream.fail(reason);
        assert!(cache.message(&context(1), &campaign, &other, None, || upstream.get()).await.is_err());
        assert_eq!(read(&cache, &upstream, seconds(3_600)).await.unwrap_err().reason(), reason);
        assert!(cache.message(&context(2), &campaign, &m, None, || upstream.get()).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_a_cancellation_overtook_is_neither_kept_nor_joined() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let slow = read(&cache, &upstream, None);
    let cancel_then_read = async {
        sleep(Duration::from_millis(6)).await;
        upstream.set(Status::Cancelled);
        cache.cancelled(context(1).workspace.id, &campaign(), &id("M"));
        read(&cache, &upstream, None).await
    };
    let (before, after) = tokio::join!(slow, cancel_then_read);
    assert_eq!((before.unwrap(), after.unwrap()), (Status::Queued, Status::Cancelled));
    assert_eq!(read(&cache, &upstream, seconds(60)).await.unwrap(), Status::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_newer_observation_replaces_at_once_and_an_older_one_never() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let (workspace, campaign) = (context(1).workspace.id, campaign());
    let saw = |start, status| {
        let message = Arc::new(Message::bare(id("m"), status));
        cache.saw(workspace, &campaign, start, DateTime::UNIX_EPOCH, [message]);
    };
    let (old, new) = (cache.start(), cache.start());
    saw(new, Status::Sending);
    saw(old, Status::Queued);
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Sending);
    saw(cache.start(), Status::Sent);
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Sent);
    assert_eq!(upstream.calls(), 0, "what a poll saw is served");
}

#[tokio::test(start_paused = true)]
async fn an_add_outdates_pages_counts_and_404s_and_no_message() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let (ctx, campaign, slice) = (context(1), campaign(), Slice { offset: 0, limit: 10 });
    let day = seconds(86_400);
    let page = || cache.page(&ctx, &campaign, slice, day, || upstream.page());
    let counts = || cache.counts(&ctx, &campaign, day, || upstream.counts());
    for _ in 0..3 {
        // The first is handed out as it was read, the others are read again.
        let entries = page().await.unwrap().value.entries;
        assert_eq!(entries, [Some(Message::bare(id("m"), Status::Queued))]);
        assert_eq!(counts().await.unwrap().value.total(), 1);
        read(&cache, &upstream, day).await.unwrap();
    }
    assert_eq!(upstream.calls(), 3);
    cache.added(ctx.workspace.id, &campaign);
    page().await.unwrap();
    counts().await.unwrap();
    read(&cache, &upstream, day).await.unwrap();
    assert_eq!(upstream.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_404_from_before_an_add_is_told_to_nobody_who_came_after_it() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    upstream.fail(Reason::MessageNotFound);
    let before = read(&cache, &upstream, None);
    let add_then_read = async {
        sleep(Duration::from_millis(6)).await;
        upstream.set(Status::Pending);
        cache.added(context(1).workspace.id, &campaign());
        read(&cache, &upstream, None).await
    };
    let (_, after) = tokio::join!(before, add_then_read);
    assert_eq!(after.unwrap(), Status::Pending);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_there_is_room_for() {
    let limits = Limits { max_bytes: 100_000, ..Limits::default() };
    let cache = Cache::new(limits);
    let (workspace, campaign) = (context(1).workspace.id, campaign());
    for n in 0..5_000 {
        let message = Arc::new(Message::bare(id(&format!("m{n}")), Status::Sent));
        cache.saw(workspace, &campaign, cache.start(), DateTime::UNIX_EPOCH, [message]);
    }
    cache.0.store.run_pending_tasks();
    assert!(cache.0.store.weighted_size() <= 100_000, "{}", cache.0.store.weighted_size());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_ends_by_a_fault_of_ours_is_told_to_who_waits_and_leaves_room_for_the_next() {
    let (cache, upstream) = (cache(), Upstream::new(Status::Queued));
    let broken = tokio::spawn({
        let cache = cache.clone();
        async move {
            let (ctx, campaign, m) = (context(1), campaign(), id("m"));
            let fetch = || async {
                sleep(Duration::from_millis(1)).await;
                panic!("a bug")
            };
            cache.message(&ctx, &campaign, &m, None, fetch).await
        }
    });
    tokio::task::yield_now().await;
    let waited = read(&cache, &upstream, None).await;
    assert!(broken.await.unwrap_err().is_panic());
    assert_eq!(waited.unwrap_err().reason(), Reason::Internal);
    upstream.latency(Duration::from_millis(2));
    assert_eq!(read(&cache, &upstream, None).await.unwrap(), Status::Queued);
}
