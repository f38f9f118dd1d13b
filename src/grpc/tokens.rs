//! Page and resume tokens: sealed, so that a caller can neither read nor make one, and bound to the
//! workspace, campaign and filter for which they were given. A token confers no rights.

mod pages;
mod resume;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{
    campaigns::messages::Position,
    error::{Error, Reason, Violation},
    ledger::Scope,
    model::{CampaignId, ResultView, StatusSet, WorkspaceId},
    secret::{Purpose, Secret, random_bytes},
};

pub use self::resume::{ResumeTokens, WatchTokens};

/// The form of the sealed bytes. A token of another version does not open.
const VERSION: u8 = 1;

/// Version, purpose, nonce.
const HEAD: usize = 2 + NONCE_LEN;

/// The longest token that is looked at, in characters.
pub const MAX_TOKEN_CHARS: usize = 1024;

/// To whom and what a token is bound.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// Whose data it continues.
    pub workspace: &'a WorkspaceId,
    /// Of which campaign.
    pub campaign: &'a CampaignId,
    /// Under which filter: bytes of a length that they tell themselves.
    pub filter: &'a [u8],
}

/// Seals and opens the tokens of one purpose.
pub struct Sealer {
    key: LessSafeKey,
    purpose: u8,
}

impl Sealer {
    /// For page tokens.
    pub fn pages(secret: &Secret) -> Self {
        Self::new(secret, Purpose::PageTokens, 1)
    }

    /// For page tokens of an ingestion's results.
    pub fn results(secret: &Secret) -> Self {
        Self::new(secret, Purpose::PageTokens, 3)
    }

    /// For a watch's resume tokens.
    pub fn resumes(secret: &Secret) -> Self {
        Self::new(secret, Purpose::ResumeTokens, 2)
    }

    #[expect(clippy::expect_used, reason = "a key is refused only for its length, which is the type's")]
    fn new(secret: &Secret, purpose: Purpose, byte: u8) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &secret.derive(purpose)).expect("32 bytes are a key");
        Self { key: LessSafeKey::new(key), purpose: byte }
    }

    /// Seals a few bytes: version, purpose, nonce, ciphertext and tag, in base64url without padding.
    pub fn seal(&self, binding: Binding<'_>, plain: &[u8]) -> String {
        self.seal_to(&self.bound_to(binding), plain)
    }

    /// The same, where the binding was put together before.
    #[expect(clippy::expect_used, reason = "sealing refuses only inputs of more than 256 GiB")]
    fn seal_to(&self, bound_to: &[u8], plain: &[u8]) -> String {
        let nonce: [u8; NONCE_LEN] = random_bytes();
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound_to), &mut sealed)
            .expect("a token is short");
        let token = [&[VERSION, self.purpose], &nonce[..], &sealed].concat();
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What was sealed; `None` where the text is not a token of this purpose with this binding. Which of
    /// them does not fit is not told apart: a forger would learn from it.
    pub fn open(&self, binding: Binding<'_>, text: &str) -> Option<Vec<u8>> {
        self.open_to(&self.bound_to(binding), text)
    }

    fn open_to(&self, bound_to: &[u8], text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TOKEN_CHARS {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, sealed) = token.split_at_checked(HEAD)?;
        if head[..2] != [VERSION, self.purpose] {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[2..]).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(bound_to), &mut sealed).ok()?;
        Some(plain.to_vec())
    }

    /// Only the campaign's id, which stands last, does not tell its length: no two bindings give the same bytes.
    fn bound_to(&self, binding: Binding<'_>) -> Vec<u8> {
        let Binding { workspace, campaign, filter } = binding;
        let head = [VERSION, self.purpose];
        [&head, filter, &workspace.0[..], campaign.as_str().as_bytes()].concat()
    }
}

/// Seals and opens page tokens.
pub struct PageTokens {
    sealer: Sealer,
    results: Sealer,
}

impl PageTokens {
    /// Tokens under this secret.
    pub fn new(secret: &Secret) -> Self {
        Self { sealer: Sealer::pages(secret), results: Sealer::results(secret) }
    }

    /// A token that only [`PageTokens::open`] with the same workspace, campaign and filter opens.
    pub fn seal(
        &self,
        token: &Position,
        workspace: &WorkspaceId,
        campaign: &CampaignId,
        statuses: StatusSet,
    ) -> String {
        let binding = Binding { workspace, campaign, filter: &[statuses.bits()] };
        self.sealer.seal(binding, &pages::encode(token))
    }

    /// Opens a token. The empty text, which means the first page, is the caller's to tell apart.
    pub fn open(
        &self,
        text: &str,
        workspace: &WorkspaceId,
        campaign: &CampaignId,
        statuses: StatusSet,
    ) -> Result<Position, Error> {
        let plain = self.sealer.open(Binding { workspace, campaign, filter: &[statuses.bits()] }, text);
        plain.and_then(|plain| pages::decode(&plain)).ok_or_else(|| {
            invalid(
                "is not a next_page_token that this server gave for this workspace, campaign_id and statuses; \
                 leave it out to start at the first page",
            )
        })
    }

    /// A token for the results of an ingestion from this index on, which only
    /// [`PageTokens::open_results`] with the same scope and view opens.
    pub fn seal_results(&self, index: u64, scope: &Scope, view: ResultView) -> String {
        let filter = results_filter(scope, view);
        let binding = Binding { workspace: &scope.workspace, campaign: &scope.campaign, filter: &filter };
        self.results.seal(binding, &index.to_be_bytes())
    }

    /// Opens a token of [`PageTokens::seal_results`].
    pub fn open_results(&self, text: &str, scope: &Scope, view: ResultView) -> Result<u64, Error> {
        let filter = results_filter(scope, view);
        let binding = Binding { workspace: &scope.workspace, campaign: &scope.campaign, filter: &filter };
        let plain = self.results.open(binding, text);
        plain.and_then(|plain| Some(u64::from_be_bytes(plain.try_into().ok()?))).ok_or_else(|| {
            invalid(
                "is not a next_page_token that this server gave for this workspace, campaign_id, request_id and \
                 result_view; leave it out to start at the first page",
            )
        })
    }
}

fn results_filter(scope: &Scope, view: ResultView) -> Vec<u8> {
    let name = scope.request_id.as_str().as_bytes();
    let view = match view {
        ResultView::All => 0,
        ResultView::Failures => 1,
        ResultView::Summary => 2,
    };
    // A request id has at most 128 bytes.
    [&[view, name.len() as u8], name].concat()
}

fn invalid(message: &'static str) -> Error {
    Error::invalid(vec![Violation::new("page_token", Reason::PageTokenInvalid, message)])
}

#[cfg(test)]
mod tests;
