//! Who calls, and in which workspace: by the API key that comes with the call (`passed`), or, where this server
//! holds the keys, by a token or a certificate (`held`).

mod held;
mod pass;
mod passed;

use ring::hmac;
use tonic::{Extensions, metadata::MetadataMap};

pub use self::pass::Pass;
use self::{held::Held, passed::Passed};
pub use crate::access::Right;
use crate::{
    access::{Access, Identity},
    error::Error,
    model::{ApiKey, Workspace, WorkspaceId},
    secret::{Purpose, Secret},
};

/// The metadata key under which a caller sends its API key.
pub const API_KEY: &str = "x-api-key";

/// Lets callers in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth(Mode);

#[derive(Clone, Debug)]
enum Mode {
    Passed(Passed),
    Held(Held),
}

impl Auth {
    /// Each caller brings its workspace's key. Each list of `same` holds the keys of one workspace, which the
    /// first of them names.
    pub fn passed(secret: &Secret, same: &[Vec<ApiKey>]) -> Self {
        Self(Mode::Passed(Passed::new(Naming::new(secret), same)))
    }

    /// This server holds the keys, and `access` says who may use which.
    pub fn held(secret: &Secret, access: Access) -> Self {
        Self(Mode::Held(Held::new(Naming::new(secret), access)))
    }

    /// The workspace that a call is in, and for how long its caller may be there.
    ///
    /// # Errors
    /// `ApiKeyInvalid` or `CredentialsInvalid`; `WorkspaceForbidden`; `FieldInvalid` where the caller has to choose
    /// a workspace. Never with anything that came.
    pub fn admit(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
        wants: Right,
    ) -> Result<(Workspace, Pass), Error> {
        match &self.0 {
            // Whoever has the key may do whatever the upstream lets it do.
            Mode::Passed(passed) => Ok((passed.of(metadata)?, Pass::unlimited())),
            Mode::Held(held) => held.admit(metadata, extensions, wants),
        }
    }
}

/// Names workspaces by a keyed digest: whoever reads a log or the ledger cannot try keys against it.
#[derive(Clone, Debug)]
struct Naming(hmac::Key);

impl Naming {
    fn new(secret: &Secret) -> Self {
        Self(secret.hmac_key(Purpose::Workspace))
    }

    /// The workspace that this key names.
    fn by_key(&self, key: &ApiKey) -> WorkspaceId {
        self.sign(&[key.expose()])
    }

    /// The workspace of the access file.
    fn by_identity(&self, identity: &Identity) -> WorkspaceId {
        match identity {
            Identity::FirstKey(key) => self.by_key(key),
            // No key has a space in it: a name is never taken for one.
            Identity::Name(name) => self.sign(&[" ", name]),
        }
    }

    fn sign(&self, parts: &[&str]) -> WorkspaceId {
        let mut digest = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| digest.update(part.as_bytes()));
        let mut id = [0; 16];
        id.copy_from_slice(&digest.sign().as_ref()[..16]);
        WorkspaceId(id)
    }
}
