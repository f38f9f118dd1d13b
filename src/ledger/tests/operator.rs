//! The operator's part.

use super::*;

#[tokio::test]
async fn an_operators_word_settles_doubt_once_and_is_kept_with_the_item() {
    over_both(Config::default(), async |ledger| {
        let (workspace, campaign) = (scope("r").workspace, scope("r").campaign);
        let ingestion = open(&ledger, "r").await;
        let batch = claim(&ingestion, &[0, 1, 2]).await.unwrap();
        batch
            .settle(vec![Event::Doubt(doubt()), Event::Doubt(doubt()), Event::Rejected(rejection())])
            .await
            .unwrap();
        drop(ingestion);
        let id = MessageId::parse("m0").unwrap();
        ledger.resolve(&scope("r"), 0, Verdict::Added(id), "ann", "seen in the console").await.unwrap();
        ledger.resolve(&scope("r"), 1, Verdict::Rejected, "bob", "").await.unwrap();
        assert_eq!(ledger.doubts(workspace, &campaign).await.unwrap(), 0);
        assert_eq!(told(&page(&ledger, "r").await.results), "0 added, 1 rejected, 2 rejected");

        for (index, reason) in
            [(0, Reason::FieldInvalid), (2, Reason::FieldInvalid), (3, Reason::IngestionNotFound)]
        {
            let again = ledger.resolve(&scope("r"), index, Verdict::Rejected, "eve", "").await;
            assert_eq!(again.unwrap_err().reason(), reason, "{index}");
        }
        let unknown = ledger.resolve(&scope("x"), 0, Verdict::Rejected, "eve", "").await;
        assert_eq!(unknown.unwrap_err().reason(), Reason::IngestionNotFound);

        let shown = ledger.show(&scope("r"), 0, 2).await.unwrap().unwrap();
        assert_eq!((shown.items.len(), shown.next), (2, Some(2)));
        let Audit { by, note, verdict, .. } = &shown.items[0].audit[0];
        assert_eq!((by.as_str(), note.as_str()), ("ann", "seen in the console"));
        assert_eq!(*verdict, Verdict::Added(MessageId::parse("m0").unwrap()));
        assert_eq!(shown.items[1].audit[0].by, "bob");
        assert_eq!((shown.items[0].attempts, shown.items[0].item_id.as_str()), (1, "item-0"));
        assert!(shown.items[0].claimed_at.is_some());
        let rest = ledger.show(&scope("r"), 2, 9).await.unwrap().unwrap();
        assert_eq!((rest.items.len(), rest.next, rest.items[0].audit.len()), (1, None, 0));
        assert!(ledger.show(&scope("x"), 0, 9).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn every_doubt_is_listed_once_over_all_workspaces() {
    over_both(Config::default(), async |ledger| {
        let mut expected = Vec::new();
        for n in 0..12 {
            let scope = Scope { workspace: WorkspaceId([n % 3; 16]), ..scope(&format!("r{n}")) };
            let ingestion = ledger.open(scope.clone(), None).await.unwrap();
            let batch = claim(&ingestion, &[7, 8, 9]).await.unwrap();
            let in_doubt = n % 2 == 0;
            let middle = if in_doubt { Event::Doubt(doubt()) } else { added("b") };
            batch.settle(vec![added("a"), middle, added("c")]).await.unwrap();
            if in_doubt {
                expected.push((scope, vec![8]));
            }
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.list_doubts(after, 4).await.unwrap();
            assert!(page.entries.len() <= 4);
            assert!(page.entries.iter().all(|entry| entry.cause == doubt() && entry.first == 7));
            found.extend(page.entries.into_iter().map(|entry| (entry.scope, entry.indexes)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let name = |(scope, _): &(Scope, Vec<u64>)| scope.request_id.as_str().to_owned();
        found.sort_by_key(name);
        expected.sort_by_key(name);
        assert_eq!(found, expected);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_resolved_while_a_call_may_be_finding_out_by_itself() {
    over_both(Config::default(), async |ledger| {
        let ingestion = open(&ledger, "r").await;
        claim(&ingestion, &[0]).await.unwrap().settle(vec![Event::Doubt(doubt())]).await.unwrap();
        let refused = ledger.resolve(&scope("r"), 0, Verdict::Rejected, "ann", "").await.unwrap_err();
        assert_eq!(refused.reason(), Reason::RequestIdInUse);
        drop(ingestion);
        ledger.resolve(&scope("r"), 0, Verdict::Rejected, "ann", "").await.unwrap();
    })
    .await;
}
