//! What counts of the access file: the workspaces with their keys, and who may do what there.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read as _,
    path::Path,
    sync::Arc,
};

use super::{
    Granted, Identity, Right, Shown, TokenDigest,
    draft::{self, Draft, DraftCaller},
};
use crate::{
    error::{Error, Reason},
    model::{ApiKey, HeldKey},
    reload::{Digesting, Read},
    secret,
};

/// Room for some thousand callers.
const MAX_BYTES: usize = 1 << 20;

/// Room for the longest key, and for what shows that it is none.
const MAX_KEY_FILE: usize = 2 * ApiKey::MAX_BYTES;

/// The workspaces, by their names.
pub(super) type Workspaces = BTreeMap<Arc<str>, Workspace>;

#[derive(Clone)]
pub(super) struct Workspace {
    identity: Identity,
    key: HeldKey,
}

struct Caller {
    name: Arc<str>,
    may: BTreeMap<Arc<str>, Right>,
}

pub(super) struct Book {
    workspaces: Workspaces,
    callers: Vec<Caller>,
    /// What callers show, and which of them shows it.
    tokens: HashMap<TokenDigest, usize>,
    certificates: HashMap<String, usize>,
}

impl Book {
    pub(super) fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// As [`super::Access::admit`].
    pub(super) fn admit(
        &self,
        shown: &Shown,
        workspace: Option<&str>,
        wants: Right,
    ) -> Result<Granted, Error> {
        let caller = self.caller(shown)?;
        let (name, right) = match (workspace, caller.may.first_key_value()) {
            (Some(name), _) => caller.may.get_key_value(name).ok_or_else(forbidden)?,
            (None, Some(only)) if caller.may.len() == 1 => only,
            (None, _) => {
                return Err(Error::invalid_field(
                    "x-workspace",
                    "these credentials open several workspaces: name the one that the call is for",
                ));
            }
        };
        if *right < wants {
            return Err(Error::new(
                Reason::WorkspaceForbidden,
                "these credentials may read in this workspace, and change nothing",
            ));
        }
        let Workspace { identity, key } = self.workspaces.get(name).cloned().ok_or_else(forbidden)?;
        Ok(Granted { caller: Arc::clone(&caller.name), workspace: Arc::clone(name), identity, key })
    }

    fn caller(&self, shown: &Shown) -> Result<&Caller, Error> {
        let refused = |message| Error::new(Reason::CredentialsInvalid, message);
        let at = match shown {
            Shown::Token(digest) => {
                *self.tokens.get(digest).ok_or_else(|| refused("no caller has this token: send your own"))?
            }
            Shown::Certificate(peer) => {
                let mut known = peer.names.iter().filter_map(|name| self.certificates.get(name).copied());
                let first = known.next();
                let first = first.ok_or_else(|| {
                    refused(
                        "no caller has a certificate of this name: connect with your own, or send \
                         \"authorization: Bearer TOKEN\"",
                    )
                })?;
                if known.any(|other| other != first) {
                    return Err(refused(
                        "the client certificate has the names of several callers: send \"authorization: Bearer \
                         TOKEN\" to say which",
                    ));
                }
                first
            }
        };
        self.callers.get(at).ok_or_else(|| Error::new(Reason::Internal, "a caller is missing from its list"))
    }
}

/// One answer for what is not there and what is another's: nobody can find out which there are.
fn forbidden() -> Error {
    Error::new(Reason::WorkspaceForbidden, "these credentials open no workspace of this name")
}

/// Reads the file and all keys. `counted` is what counted until now: each of its workspaces stays the same one, and
/// who holds its key has the new one when all is well.
pub(super) fn load(path: &Path, counted: &Workspaces) -> Result<Read<Book>, Vec<String>> {
    let (mut problems, mut digesting) = (Vec::new(), Digesting::default());
    let text = text(path).map_err(|problem| vec![problem])?;
    digesting.add(text.as_bytes());
    let Draft { workspaces: drafts, callers } = draft::parse(&text, &mut problems);

    let folder = path.parent().unwrap_or(Path::new(""));
    let (mut workspaces, mut renewed, mut owners) = (Workspaces::new(), Vec::new(), HashMap::new());
    for (name, draft) in drafts {
        let name: Arc<str> = name.into();
        let mut read = |file: &Path, setting: &str| {
            let key = key(&folder.join(file), &mut digesting);
            key.map_err(|problem| problems.push(format!("workspaces.{name}.{setting}: {problem}"))).ok()
        };
        let key = read(&draft.key_file, "key_file");
        let first_key = draft.first_key_file.map(|file| read(&file, "first_key_file"));
        // Two names for one workspace would be two memories of what it was sent.
        for key in [key.as_ref(), first_key.as_ref().and_then(Option::as_ref)].into_iter().flatten() {
            if let Some(other) = owners.insert(TokenDigest::of(key.expose().as_bytes()), Arc::clone(&name))
                && other != name
            {
                problems.push(format!(
                    "workspaces.{name}: a key of it is one of workspaces.{other} too: a workspace has one name"
                ));
            }
        }
        let identity = match first_key {
            None => Identity::Name(Arc::clone(&name)),
            Some(Some(first)) => Identity::FirstKey(Arc::new(first)),
            Some(None) => continue,
        };
        let Some(key) = key else { continue };
        let held = match counted.get(&name) {
            Some(before) if !before.identity.is(&identity) => {
                problems.push(format!(
                    "workspaces.{name}.first_key_file: with another first key than before, every request_id of \
                     the workspace would be forgotten, and a repeated one would message people twice: put it \
                     back as it was"
                ));
                continue;
            }
            Some(before) => {
                renewed.push((before.key.clone(), key));
                before.key.clone()
            }
            None => HeldKey::new(key),
        };
        workspaces.insert(name, Workspace { identity, key: held });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for (held, key) in renewed {
        held.renew(key);
    }
    Ok(Read { value: book(workspaces, callers), digest: digesting.finish() })
}

fn book(workspaces: Workspaces, drafts: BTreeMap<String, DraftCaller>) -> Book {
    let (mut callers, mut tokens, mut certificates) = (Vec::new(), HashMap::new(), HashMap::new());
    for (at, (name, draft)) in drafts.into_iter().enumerate() {
        tokens.extend(draft.tokens.into_iter().map(|token| (token, at)));
        certificates.extend(draft.certificates.into_iter().map(|name| (name, at)));
        let may = draft.workspaces.into_iter().map(|(name, right)| (name.into(), right)).collect();
        callers.push(Caller { name: name.into(), may });
    }
    Book { workspaces, callers, tokens, certificates }
}

fn text(path: &Path) -> Result<String, String> {
    let unreadable = |error| format!("it cannot be read: {error}");
    // Asked before it is opened: opening a pipe would wait for a writer.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES as u64).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() >= MAX_BYTES {
        return Err("it has 1 MiB or more: is it the right file?".to_owned());
    }
    String::from_utf8(content).map_err(|_| "it is not a text".to_owned())
}

/// The one key in a file.
fn key(path: &Path, digesting: &mut Digesting) -> Result<ApiKey, String> {
    let content = secret::read_private(path, MAX_KEY_FILE).map_err(|fault| fault.to_string())?;
    let content = content.ok_or_else(|| format!("there is no file {}", path.display()))?;
    digesting.add(&content);
    let text = std::str::from_utf8(&content).unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if !ApiKey::is_well_formed(text) {
        return Err(format!(
            "{} does not hold one API key: visible ASCII characters, at most {} of them, and nothing else",
            path.display(),
            ApiKey::MAX_BYTES
        ));
    }
    Ok(ApiKey::new(text))
}
