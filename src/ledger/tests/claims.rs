//! Claims, what becomes of them, and who may make them.

use super::*;

#[tokio::test]
async fn a_settled_item_is_remembered_and_cannot_be_claimed_again() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        let first = claim(&ingestion, &[0, 3]).await.unwrap();
        assert!(settled(&ingestion, 0).await.is_none(), "in flight is not settled");
        first.settle(vec![added("m0"), Event::Rejected(rejection())]).await.unwrap();
        drop(ingestion);

        let again = open(&ledger, "r").await;
        assert_eq!(settled(&again, 0).await, Some(State::Added(std::sync::Arc::new(added_item("m0")))));
        assert_eq!(settled(&again, 3).await, Some(State::Rejected(rejection())));
        assert_eq!(again.known(0..9).await.unwrap()[0].fingerprint, Some(F));
        assert_eq!(claim(&again, &[1, 3]).await.unwrap_err().reason(), Reason::Internal);
        assert!(claim(&again, &[1]).await.is_ok(), "a refused claim claims nothing");
        assert!(claim(&again, &[7, 7]).await.is_err(), "one item cannot be sent twice in one batch");
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_is_dropped_leaves_its_items_in_doubt() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        drop(claim(&ingestion, &[0]).await.unwrap());
        let Some(State::InDoubt(error)) = settled(&ingestion, 0).await else { panic!("not in doubt") };
        assert_eq!(error.reason(), Reason::OutcomeUnknown);
        assert!(claim(&ingestion, &[0]).await.is_err());
        assert_eq!(ledger.doubts(scope("r").workspace, &scope("r").campaign).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_released_item_may_be_claimed_again_with_other_content() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        claim(&ingestion, &[0]).await.unwrap().release().await.unwrap();
        let other = ClaimedItem { fingerprint: [8; 16], ..item(0) };
        let again = ingestion.claim(vec![other], None).await.unwrap();
        again.settle(vec![added("m")]).await.unwrap();
        assert_eq!(ingestion.known(0..1).await.unwrap()[0].fingerprint, Some([8; 16]));
    })
    .await;
}

#[tokio::test]
async fn items_released_out_of_a_batch_may_be_claimed_while_the_others_stand() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        let batch = claim(&ingestion, &[2, 0, 1, 9]).await.unwrap();
        batch
            .settle(vec![added("m2"), Event::NotApplied, Event::Doubt(doubt()), Event::NotApplied])
            .await
            .unwrap();
        assert!(claim(&ingestion, &[1]).await.is_err() && claim(&ingestion, &[2]).await.is_err());
        let again = claim(&ingestion, &[0, 9]).await.unwrap();
        again.settle(vec![added("m0"), added("m9")]).await.unwrap();
        drop(ingestion);
        assert_eq!(
            told(&page(&ledger, "r").await.results),
            "0 added, 1 in doubt, 2 added, 3 not attempted, 4 not attempted, 5 not attempted, \
             6 not attempted, 7 not attempted, 8 not attempted, 9 added"
        );
    })
    .await;
}

#[tokio::test]
async fn items_far_apart_are_found_however_the_batches_lie() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        let far = claim(&ingestion, &[5, 4_100, 4_102, 1_000_000]).await.unwrap();
        let within = claim(&ingestion, &[6, 4_101]).await.unwrap();
        far.settle(vec![added("a"), added("b"), added("c"), added("d")]).await.unwrap();
        within.settle(vec![added("e"), Event::NotApplied]).await.unwrap();
        for index in [5, 6, 4_100, 4_102, 1_000_000] {
            assert!(matches!(settled(&ingestion, index).await, Some(State::Added(_))), "{index}");
            assert!(claim(&ingestion, &[index]).await.is_err(), "{index}");
        }
        assert_eq!(ingestion.known(0..2_000_000).await.unwrap().len(), 5);
        assert!(claim(&ingestion, &[4_101, 7]).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_is_not_allowed_is_refused_loudly_and_changes_nothing() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        let batch = claim(&ingestion, &[0, 1]).await.unwrap();
        let refused = batch.settle(vec![added("m"), Event::Claim]).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Internal);
        // Neither outcome counts; nobody else can tell what became of the items.
        for index in [0, 1] {
            assert!(matches!(settled(&ingestion, index).await, Some(State::InDoubt(_))));
        }
    })
    .await;
}

#[tokio::test]
async fn an_item_that_was_refused_here_may_come_back_mended_and_only_then_counts_as_sent() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        ingestion.refuse((0..5).map(refused).collect()).await.unwrap();
        assert!(ingestion.known(0..9).await.unwrap().iter().all(|k| k.state == KnownState::Invalid));
        claim(&ingestion, &[0, 2]).await.unwrap().settle(vec![added("a"), added("b")]).await.unwrap();
        ingestion.refuse(vec![refused(3)]).await.unwrap();
        assert_eq!(
            ingestion.refuse(vec![refused(1), refused(2)]).await.unwrap_err().reason(),
            Reason::Internal,
            "what was sent cannot be said to be invalid"
        );
        drop(ingestion);
        let page = page(&ledger, "r").await;
        assert_eq!(told(&page.results), "0 added, 1 invalid, 2 added, 3 invalid, 4 invalid");
        assert_eq!((page.summary.invalid, page.summary.added, page.summary.received), (3, 2, 5));
        let Disposition::Invalid(error) = &page.results[1].disposition else { panic!() };
        assert_eq!((error, page.results[1].item_id.as_str()), (&refused(1).error, "item-1"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_call_waits_for_the_first_and_for_its_batches_and_is_then_turned_away() {
    over_both(Config::default(), async |ledger| {
        let first = open(&ledger, "r").await;
        let batch = claim(&first, &[0]).await.unwrap();
        drop(first);

        let began = Instant::now();
        let turned_away = ledger.open(scope("r"), None).await.unwrap_err();
        assert_eq!(turned_away.reason(), Reason::RequestIdInUse);
        assert_eq!(turned_away.retry_delay(), Some(Duration::from_secs(1)));
        assert_eq!(began.elapsed(), uses::PATIENCE);

        let deadline = Instant::now() + Duration::from_millis(200);
        assert!(ledger.open(scope("r"), Some(deadline)).await.is_err());
        assert!(Instant::now() <= deadline + Duration::from_millis(1), "waits past the deadline");

        let (second, ()) = tokio::join!(ledger.open(scope("r"), None), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            batch.settle(vec![added("m")]).await.unwrap();
        });
        assert!(matches!(settled(&second.unwrap(), 0).await, Some(State::Added(_))));
    })
    .await;
}

#[tokio::test]
async fn neither_workspaces_nor_campaigns_share_a_request_id() {
    over_both(Config::default(), async |ledger| {
        let first = open(&ledger, "r").await;
        claim(&first, &[0]).await.unwrap().settle(vec![added("m")]).await.unwrap();
        let elsewhere = Scope { workspace: WorkspaceId([2; 16]), ..scope("r") };
        let other = Scope { campaign: CampaignId::parse("other").unwrap(), ..scope("r") };
        for scope in [elsewhere, other] {
            assert!(ledger.read(&scope, 0, 9, ResultView::All).await.unwrap().is_none());
            let ingestion = ledger.open(scope, None).await.unwrap();
            assert!(settled(&ingestion, 0).await.is_none());
            assert!(claim(&ingestion, &[0]).await.is_ok());
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_ledger_refuses_to_claim_and_still_takes_what_became_of_claims() {
    let config = Config { max_bytes: 12_000, ..Config::default() };
    over_both(config, async |ledger| {
        let ingestion = open(&ledger, "r").await;
        let mut claims = Vec::new();
        let full = loop {
            let first = claims.len() as u64 * 10;
            match claim(&ingestion, &(first..first + 10).collect::<Vec<_>>()).await {
                Ok(claim) => claims.push(claim),
                Err(error) => break error,
            }
        };
        assert_eq!(full.reason(), Reason::LedgerUnavailable);
        assert!(full.message().contains("--ledger-max-bytes") && full.retry_delay().is_some());
        assert!(claims.len() > 1, "it took {} batches", claims.len());
        for claim in claims.drain(1..) {
            claim.settle((0..10).map(|n| added(&format!("m{n}"))).collect()).await.unwrap();
        }
        let first = claims.remove(0);
        first.release().await.unwrap();
        drop(ingestion);
        assert!(page(&ledger, "r").await.summary.added > 0);
    })
    .await;
}
