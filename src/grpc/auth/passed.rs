//! Keys passed through: the API key that came with a call names its workspace and opens it upstream.

use std::{collections::HashMap, sync::Arc};

use tonic::metadata::MetadataMap;

use super::{API_KEY, Naming};
use crate::{
    error::{Error, Reason},
    model::{ApiKey, Workspace, WorkspaceId},
};

/// The workspaces that callers have keys of. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    naming: Naming,
    /// By what a later key of a workspace would name it: what its first key names it.
    firsts: Arc<HashMap<WorkspaceId, WorkspaceId>>,
}

impl Passed {
    /// Each list of `same` holds the keys of one workspace, which the first of them names.
    pub(super) fn new(naming: Naming, same: &[Vec<ApiKey>]) -> Self {
        let mut firsts = HashMap::new();
        for keys in same {
            let mut ids = keys.iter().map(|key| naming.by_key(key));
            if let Some(first) = ids.next() {
                firsts.extend(ids.map(|later| (later, first)));
            }
        }
        Self { naming, firsts: firsts.into() }
    }

    /// The workspace whose key came with a call.
    ///
    /// # Errors
    /// `ApiKeyInvalid`, with what is wrong with the key; the key itself is never told.
    pub(super) fn of(&self, metadata: &MetadataMap) -> Result<Workspace, Error> {
        let key = ApiKey::new(key(metadata)?);
        let id = self.naming.by_key(&key);
        // Only the name is the first key's: what goes upstream is the key that came.
        Ok(Workspace { id: self.firsts.get(&id).copied().unwrap_or(id), key: key.into() })
    }
}

fn key(metadata: &MetadataMap) -> Result<&str, Error> {
    let refused = |message: &'static str| Err(Error::new(Reason::ApiKeyInvalid, message));
    let mut values = metadata.get_all(API_KEY).iter();
    let key = match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes(),
        (None, _) => return refused("no API key came with the call: send yours as metadata \"x-api-key\""),
        // Which of them counts would be anyone's guess, and a proxy may guess otherwise.
        (Some(_), Some(_)) => {
            return refused("more than one API key came with the call: send \"x-api-key\" once");
        }
    };
    if key.is_empty() {
        return refused("the API key is empty: send your workspace's key as metadata \"x-api-key\"");
    }
    if key.len() > ApiKey::MAX_BYTES {
        return refused(
            "the API key is too long: send your workspace's key, at most 512 bytes, as \"x-api-key\"",
        );
    }
    match std::str::from_utf8(key) {
        Ok(text) if key.iter().all(u8::is_ascii_graphic) => Ok(text),
        _ => refused(
            "the API key holds a space or a character outside visible ASCII: send it exactly as BluBash \
             shows it, as metadata \"x-api-key\"",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;
    use crate::secret::Secret;

    fn passed(secret: &Secret, same: &[Vec<ApiKey>]) -> Passed {
        Passed::new(Naming::new(secret), same)
    }

    fn metadata(keys: &[&[u8]]) -> MetadataMap {
        let mut headers = http::HeaderMap::new();
        for key in keys {
            headers.append(API_KEY, http::HeaderValue::from_bytes(key).unwrap());
        }
        MetadataMap::from_headers(headers)
    }

    #[test]
    fn a_key_opens_its_workspace_and_the_same_key_always_names_the_same_one() {
        let secret = Secret::random();
        let open = |key: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(API_KEY, MetadataValue::try_from(key).unwrap());
            passed(&secret, &[]).of(&metadata).unwrap()
        };
        assert_eq!(open("bb_live_1").key.current().expose(), "bb_live_1");
        assert_eq!(open("bb_live_1").id, open("bb_live_1").id);
        assert_ne!(open("bb_live_1").id, open("bb_live_2").id);
        let elsewhere = passed(&Secret::random(), &[]).of(&metadata(&[b"bb_live_1"])).unwrap();
        assert_ne!(open("bb_live_1").id, elsewhere.id, "under another secret the key has another name");
    }

    #[test]
    fn keys_that_are_said_to_be_one_workspaces_have_its_name_and_go_upstream_as_they_are() {
        let secret = Secret::random();
        let plain = passed(&secret, &[]);
        let list = |keys: &[&str]| keys.iter().copied().map(ApiKey::new).collect::<Vec<_>>();
        let united = passed(&secret, &[list(&["old", "new", "newest"]), list(&["a", "b"])]);
        let id = |of: &Passed, key: &str| of.of(&metadata(&[key.as_bytes()])).unwrap().id;
        for key in ["old", "new", "newest"] {
            assert_eq!(id(&united, key), id(&plain, "old"), "{key}");
            assert_eq!(united.of(&metadata(&[key.as_bytes()])).unwrap().key.current().expose(), key);
        }
        assert_eq!(id(&united, "b"), id(&plain, "a"));
        assert_eq!(id(&united, "other"), id(&plain, "other"));
    }

    #[test]
    fn a_key_that_cannot_be_one_is_refused_in_words_that_say_what_to_send() {
        let long = [b'k'; ApiKey::MAX_BYTES + 1];
        let lists: [&[&[u8]]; 10] = [
            &[],
            &[b""],
            &[b"canary key"],
            &[b" canary"],
            &[b"canary\t"],
            &["canaryü".as_bytes()],
            &[b"canary\xff"],
            &[&long],
            &[b"canary-one", b"canary-two"],
            &[b"canary", b"canary"],
        ];
        for keys in lists {
            let error = passed(&Secret::random(), &[]).of(&metadata(keys)).unwrap_err();
            assert_eq!(error.reason(), Reason::ApiKeyInvalid);
            assert!(error.message().contains("x-api-key"), "{error}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert!(passed(&Secret::random(), &[]).of(&metadata(&[&long[1..]])).is_ok());
    }
}
