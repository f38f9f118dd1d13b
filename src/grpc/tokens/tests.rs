#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    campaigns::messages::{ANCHORS, Anchor},
    model::Status,
};

static SECRET: LazyLock<Secret> = LazyLock::new(Secret::random);
static TOKENS: LazyLock<PageTokens> = LazyLock::new(|| PageTokens::new(&SECRET));

fn campaign(text: &str) -> CampaignId {
    CampaignId::parse(text).unwrap()
}

fn statuses() -> impl Strategy<Value = StatusSet> {
    prop::sample::subsequence(Status::ALL.to_vec(), 0..=7).prop_map(|set| set.into_iter().collect())
}

fn position() -> impl Strategy<Value = Position> {
    let anchor = any::<(u8, [u8; 8])>().prop_map(|(back, digest)| Anchor { back, digest });
    let anchors = prop::collection::vec(anchor, 0..=ANCHORS);
    let total = prop::option::of(0..u64::MAX);
    (any::<u64>(), total, any::<(u8, u8)>(), anchors).prop_map(
        |(offset, total, (restarts, overlap), anchors)| Position {
            offset,
            total,
            restarts,
            overlap,
            anchors,
        },
    )
}

proptest! {
    #[test]
    fn a_token_opens_to_what_was_sealed(
        token in position(), workspace: [u8; 16], id in "[a-z]{1,40}", statuses in statuses(),
    ) {
        let (workspace, campaign) = (WorkspaceId(workspace), campaign(&id));
        let text = TOKENS.seal(&token, &workspace, &campaign, statuses);
        prop_assert!(text.len() <= 162, "{}", text.len());
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        prop_assert_eq!(TOKENS.open(&text, &workspace, &campaign, statuses), Ok(token));
    }

    #[test]
    fn a_token_of_another_workspace_campaign_or_filter_does_not_open(
        workspaces: ([u8; 16], [u8; 16]), ids in ("[a-c]{1,3}", "[a-c]{1,3}"), filters in (statuses(), statuses()),
    ) {
        let sealed = (WorkspaceId(workspaces.0), campaign(&ids.0), filters.0);
        let text = TOKENS.seal(&Position { offset: 7, ..Position::default() }, &sealed.0, &sealed.1, sealed.2);
        let other = (WorkspaceId(workspaces.1), campaign(&ids.1), filters.1);
        for (w, c, s) in [
            (other.0, sealed.1.clone(), sealed.2),
            (sealed.0, other.1.clone(), sealed.2),
            (sealed.0, sealed.1.clone(), other.2),
            other,
        ] {
            let opens = TOKENS.open(&text, &w, &c, s).is_ok();
            prop_assert_eq!(opens, (w, c, s) == sealed);
        }
    }

    #[test]
    fn a_token_with_any_bit_flipped_does_not_open(position in position()) {
        let (workspace, campaign) = (WorkspaceId([1; 16]), campaign("c"));
        let text = TOKENS.seal(&position, &workspace, &campaign, StatusSet::default());
        let refused = |text: &str| TOKENS.open(text, &workspace, &campaign, StatusSet::default()).is_err();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(refused(&URL_SAFE_NO_PAD.encode(bytes)), "bit {bit}");
        }
        // The text too: no two texts are the same token.
        for bit in 0..text.len() * 8 {
            let mut text = text.clone().into_bytes();
            text[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(String::from_utf8(text).is_ok_and(|text| refused(&text)) || bit % 8 == 7, "bit {bit}");
        }
        for length in 0..text.len() {
            prop_assert!(refused(&text[..length]), "{length}");
        }
        for more in ["A", "="] {
            let longer = text.clone() + more;
            prop_assert!(refused(&longer));
        }
    }

    #[test]
    fn arbitrary_text_is_refused_and_never_panics(text in prop_oneof!["\\PC{0,80}", "[A-Za-z0-9_-]{0,2000}"]) {
        let error = TOKENS.open(&text, &WorkspaceId([1; 16]), &campaign("c"), StatusSet::default()).unwrap_err();
        prop_assert_eq!(error.reason(), Reason::PageTokenInvalid);
        prop_assert_eq!(error.violations()[0].field.as_str(), "page_token");
        prop_assert!(text.len() < 8 || !error.message().contains(&text));
    }
}

#[test]
fn a_token_of_another_purpose_or_another_server_does_not_open() {
    let (workspace, campaign) = (WorkspaceId([1; 16]), campaign("c"));
    let binding = Binding { workspace: &workspace, campaign: &campaign, filter: &[0] };
    let (pages, resumes) = (Sealer::pages(&SECRET), Sealer::resumes(&SECRET));
    let token = resumes.seal(binding, b"plain");
    assert_eq!(resumes.open(binding, &token).as_deref(), Some(&b"plain"[..]));
    assert_eq!(pages.open(binding, &token), None);
    assert_eq!(Sealer::resumes(&Secret::random()).open(binding, &token), None);
    // Relabelled, it still does not open: the key is another one.
    let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    bytes[1] = 1;
    assert_eq!(pages.open(binding, &URL_SAFE_NO_PAD.encode(bytes)), None);
}

#[test]
fn a_token_of_the_form_before_this_one_does_not_open() {
    let (workspace, campaign, statuses) = (WorkspaceId([1; 16]), campaign("c"), StatusSet::default());
    let binding = Binding { workspace: &workspace, campaign: &campaign, filter: &[statuses.bits()] };
    for offset in [0, 50, u64::from_be_bytes([2; 8])] {
        let plain = [offset.to_be_bytes(), [7; 8]].concat();
        let old = Sealer::pages(&SECRET).seal(binding, &plain);
        let error = TOKENS.open(&old, &workspace, &campaign, statuses).unwrap_err();
        assert_eq!(error.reason(), Reason::PageTokenInvalid);
    }
}

#[test]
fn two_tokens_for_the_same_place_look_different() {
    let seal = || {
        let token = Position::default();
        TOKENS.seal(&token, &WorkspaceId([1; 16]), &campaign("c"), StatusSet::default())
    };
    assert_ne!(seal(), seal());
}
