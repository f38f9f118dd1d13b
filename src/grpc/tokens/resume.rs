//! A watch's resume tokens: each holds a place, sealed and bound to what is watched.

use std::sync::Arc;

use chrono::DateTime;
use ring::digest::{Context, SHA256};

use super::{Binding, Sealer};
use crate::{
    error::{Error, Reason, Violation},
    model::{CampaignId, MessageId, WatchOptions, WatchPlace, WorkspaceId},
    secret::Secret,
};

/// Binds resume tokens to watches.
pub struct ResumeTokens {
    sealer: Arc<Sealer>,
}

/// Seals and opens the tokens of one watch.
pub struct WatchTokens {
    sealer: Arc<Sealer>,
    bound_to: Box<[u8]>,
}

/// What a plain text begins with: the kind of place.
const SKIP: u8 = 0;
const START: u8 = 1;
const TELLING: u8 = 2;
const FOLLOWING: u8 = 3;

impl ResumeTokens {
    /// Tokens under this secret.
    pub fn new(secret: &Secret) -> Self {
        Self { sealer: Arc::new(Sealer::resumes(secret)) }
    }

    /// The tokens of a watch: bound to the workspace, the campaign, and which messages and statuses are told.
    /// How they are told (what comes first, heartbeats, when it ends) is free to change from one stream to
    /// the next.
    pub fn of(&self, workspace: &WorkspaceId, campaign: &CampaignId, options: &WatchOptions) -> WatchTokens {
        let filter = filter(options);
        let bound_to = self.sealer.bound_to(Binding { workspace, campaign, filter: &filter });
        WatchTokens { sealer: Arc::clone(&self.sealer), bound_to: bound_to.into() }
    }
}

impl WatchTokens {
    /// A token that only a watch of the same opens.
    pub fn seal(&self, place: &WatchPlace) -> String {
        self.sealer.seal_to(&self.bound_to, &plain(place))
    }

    /// Opens a token; the empty text is the beginning of a new watch.
    ///
    /// # Errors
    /// Where the text is no token of such a watch.
    pub fn open(&self, text: &str) -> Result<Option<WatchPlace>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let plain = self.sealer.open_to(&self.bound_to, text);
        match plain.and_then(|plain| place(&plain)) {
            Some(place) => Ok(Some(place)),
            None => Err(Error::invalid(vec![Violation::new(
                "resume_token",
                Reason::ResumeTokenInvalid,
                "is not a resume_token that this service gave for this workspace, campaign_id, message_ids and \
                 statuses; leave it out to start a new watch",
            )])),
        }
    }
}

/// The statuses, and a digest of the set of ids. An id ends where a zero is, which none contains.
fn filter(options: &WatchOptions) -> [u8; 33] {
    let mut ids: Vec<_> = options.message_ids.iter().map(MessageId::as_str).collect();
    ids.sort_unstable();
    let mut digest = Context::new(&SHA256);
    for id in ids {
        digest.update(id.as_bytes());
        digest.update(&[0]);
    }
    let mut filter = [options.statuses.bits(); 33];
    filter[1..].copy_from_slice(digest.finish().as_ref());
    filter
}

fn plain(place: &WatchPlace) -> Vec<u8> {
    let words = |kind: u8, words: &[u64]| {
        let words = words.iter().flat_map(|word| word.to_be_bytes());
        std::iter::once(kind).chain(words).collect()
    };
    match *place {
        WatchPlace::Start { snapshot: false } => words(SKIP, &[]),
        WatchPlace::Start { snapshot: true } => words(START, &[]),
        WatchPlace::Telling { epoch, head, through, told, began } => {
            words(TELLING, &[epoch, head, through, told, began.timestamp_micros().cast_unsigned()])
        }
        WatchPlace::Following { epoch, base, at, until } => words(FOLLOWING, &[epoch, base, at, until]),
    }
}

fn place(plain: &[u8]) -> Option<WatchPlace> {
    let (kind, words) = plain.split_first()?;
    let (words, []) = words.as_chunks::<8>() else { return None };
    let words: Vec<_> = words.iter().map(|word| u64::from_be_bytes(*word)).collect();
    match (*kind, words[..].as_ref()) {
        (SKIP, []) => Some(WatchPlace::Start { snapshot: false }),
        (START, []) => Some(WatchPlace::Start { snapshot: true }),
        (TELLING, &[epoch, head, through, told, began]) => {
            let began = DateTime::from_timestamp_micros(began.cast_signed())?;
            Some(WatchPlace::Telling { epoch, head, through, told, began })
        }
        (FOLLOWING, &[epoch, base, at, until]) => Some(WatchPlace::Following { epoch, base, at, until }),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::model::{Status, StatusSet};

    fn options(ids: &[&str], statuses: &[Status]) -> WatchOptions {
        WatchOptions {
            message_ids: ids.iter().map(|id| MessageId::parse(*id).unwrap()).collect::<HashSet<_>>(),
            statuses: statuses.iter().copied().collect::<StatusSet>(),
            snapshot: true,
            heartbeat_interval: Duration::from_secs(15),
            complete_when_terminal: false,
        }
    }

    fn places() -> [WatchPlace; 4] {
        let began = DateTime::from_timestamp_micros(-1_234_567).unwrap();
        [
            WatchPlace::Start { snapshot: false },
            WatchPlace::Start { snapshot: true },
            WatchPlace::Telling { epoch: u64::MAX, head: 4, through: 3, told: 2, began },
            WatchPlace::Following { epoch: 1, base: 2, at: 3, until: u64::MAX },
        ]
    }

    #[test]
    fn every_place_comes_back_as_it_was_in_a_short_token() {
        let tokens = ResumeTokens::new(&Secret::random());
        let campaign = CampaignId::parse("c").unwrap();
        let tokens = tokens.of(&WorkspaceId([1; 16]), &campaign, &options(&["a"], &[]));
        for place in places() {
            let token = tokens.seal(&place);
            assert!(token.len() <= 128, "{}", token.len());
            assert_eq!(tokens.open(&token), Ok(Some(place)));
        }
        assert_eq!(tokens.open(""), Ok(None));
    }

    #[test]
    fn a_token_holds_for_the_same_workspace_campaign_ids_and_statuses_only() {
        let tokens = ResumeTokens::new(&Secret::random());
        let (one, two) = (WorkspaceId([1; 16]), WorkspaceId([2; 16]));
        let (c, d) = (CampaignId::parse("c").unwrap(), CampaignId::parse("d").unwrap());
        let sent = &[Status::Sent];
        let named = options(&["a", "b"], sent);
        let token = tokens.of(&one, &c, &named).seal(&places()[3]);
        let again = WatchOptions {
            snapshot: false,
            complete_when_terminal: true,
            heartbeat_interval: Duration::from_secs(1),
            ..options(&["b", "a"], sent)
        };
        assert_eq!(tokens.of(&one, &c, &again).open(&token), Ok(Some(places()[3])));
        for other in [
            tokens.of(&two, &c, &named),
            tokens.of(&one, &d, &named),
            tokens.of(&one, &c, &options(&["a"], sent)),
            tokens.of(&one, &c, &options(&["ab"], sent)),
            tokens.of(&one, &c, &options(&[], sent)),
            tokens.of(&one, &c, &options(&["a", "b"], &[])),
            ResumeTokens::new(&Secret::random()).of(&one, &c, &named),
        ] {
            let refused = other.open(&token).unwrap_err();
            assert_eq!(refused.violations()[0].reason, Reason::ResumeTokenInvalid);
            assert_eq!(refused.violations()[0].field, "resume_token");
        }
    }

    #[test]
    fn a_place_of_another_form_is_none() {
        for plain in [&[][..], &[9], &[START, 1], &[FOLLOWING], &[TELLING; 33], &[FOLLOWING; 32]] {
            assert_eq!(place(plain), None, "{plain:?}");
        }
    }
}
