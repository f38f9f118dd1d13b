//! Keys that this server holds: the caller shows a token or a certificate, and chooses a workspace.

use std::ops::RangeInclusive;

use tonic::{Extensions, metadata::MetadataMap};

use super::{API_KEY, Naming, Pass};
use crate::{
    access::{Access, Right, Shown, TokenDigest},
    error::{Error, Reason},
    model::{Peer, Workspace, WorkspaceKey},
};

/// The metadata keys under which a caller sends its token, and chooses a workspace.
const AUTHORIZATION: &str = "authorization";
const WORKSPACE: &str = "x-workspace";

/// How long a token may be, in bytes: long enough that none is guessed.
const TOKEN_BYTES: RangeInclusive<usize> = 32..=512;

/// The workspaces that this server has keys of. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Held {
    naming: Naming,
    access: Access,
}

impl Held {
    pub(super) fn new(naming: Naming, access: Access) -> Self {
        Self { naming, access }
    }

    pub(super) fn admit(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        wants: Right,
    ) -> Result<(Workspace, Pass), Error> {
        let shown = shown(metadata, extensions)?;
        let granted = self.access.admit(&shown, chosen(metadata)?, wants)?;
        tracing::debug!(
            caller = &*granted.caller,
            workspace = &*granted.workspace,
            ?wants,
            "a call was let in"
        );
        let id = self.naming.by_identity(&granted.identity);
        let pass = Pass::until_withdrawn(self.access.clone(), shown, granted.workspace, wants);
        Ok((Workspace { id, key: WorkspaceKey::Held(granted.key) }, pass))
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(Reason::CredentialsInvalid, message)
}

/// By what the caller shows who it is. A token goes before a certificate: a proxy that has one of its own may hand
/// on its callers' tokens.
fn shown(metadata: &MetadataMap, extensions: &Extensions) -> Result<Shown, Error> {
    if metadata.contains_key(API_KEY) {
        // It may be of another workspace than the one that the call would be in.
        return Err(refused(
            "this server holds the API keys itself: send \"authorization: Bearer TOKEN\" or a client certificate, and \
             no \"x-api-key\"",
        ));
    }
    let mut values = metadata.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(Shown::Token(token(value.as_bytes())?)),
        (Some(_), Some(_)) => Err(refused("more than one \"authorization\" came with the call: send it once")),
        (None, _) => extensions.get::<Peer>().cloned().map(Shown::Certificate).ok_or_else(|| {
            refused("no credentials came with the call: send \"authorization: Bearer TOKEN\" or a client certificate")
        }),
    }
}

fn token(value: &[u8]) -> Result<TokenDigest, Error> {
    const SCHEME: &[u8] = b"bearer ";
    let token = match value.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token,
        _ => return Err(refused("\"authorization\" must be the word Bearer, a space and your token")),
    };
    if !TOKEN_BYTES.contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
        return Err(refused(
            "what came as a token cannot be one: a token has 32 to 512 visible ASCII characters",
        ));
    }
    Ok(TokenDigest::of(token))
}

/// The workspace that the caller chooses, if it does.
fn chosen(metadata: &MetadataMap) -> Result<Option<&str>, Error> {
    let mut values = metadata.get_all(WORKSPACE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // What is no text is no workspace's name.
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => {
            Err(Error::invalid_field(WORKSPACE, "must be sent once: a call is in one workspace"))
        }
    }
}

#[cfg(test)]
mod tests;
