//! Who may call, where this server holds the API keys: a file that names the workspaces with the files of their
//! keys, and the callers with what they show (tokens, certificates) and where they may do what.
//!
//! `draft` reads the file's text, `book` makes of it what counts, with the keys, and is asked. All files are read
//! again from time to time ([`crate::reload`]): a key that was renewed is the key of calls that run already, and
//! a right that was withdrawn ends the streams that had it.

mod book;
mod draft;
#[cfg(test)]
mod tests;
mod token;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use self::book::Book;
pub use self::token::{TokenDigest, new_token};
use crate::{
    error::Error,
    model::{ApiKey, HeldKey, Peer},
    reload::{Look, Reloaded},
};

/// What a caller may do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Look.
    Read,
    /// Look, and change.
    Write,
}

/// By what a caller shows who it is.
#[derive(Clone, Debug)]
pub enum Shown {
    /// A bearer token, of which nothing but the digest is looked at.
    Token(TokenDigest),
    /// A client certificate that the listener has verified.
    Certificate(Peer),
}

/// By what a workspace is the same one as ever: all that is on record for it stands under a digest of this.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Its name in the file.
    Name(Arc<str>),
    /// The key by which it was known when callers passed keys through.
    FirstKey(Arc<ApiKey>),
}

impl Identity {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one == other,
            (Self::FirstKey(one), Self::FirstKey(other)) => one.expose() == other.expose(),
            (Self::Name(_), Self::FirstKey(_)) | (Self::FirstKey(_), Self::Name(_)) => false,
        }
    }
}

/// What a caller was let into.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The caller's name in the file.
    pub caller: Arc<str>,
    /// The workspace's name in the file.
    pub workspace: Arc<str>,
    /// By what that is the same one as ever.
    pub identity: Identity,
    /// Its key.
    pub key: HeldKey,
}

/// Who may call. Cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Reloaded<Book>>);

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

impl Access {
    /// Reads the file and the files that it names.
    ///
    /// # Errors
    /// All that is wrong with them, each with its place. Never a key or a token.
    pub fn load(path: &Path) -> Result<Self, String> {
        let path = path.to_owned();
        // What counted when the files were last read.
        let counted = Mutex::default();
        let book = Reloaded::new("access", move || -> Result<_, String> {
            let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
            let read = book::load(&path, &counted).map_err(|problems| {
                let lines: String = problems.iter().map(|problem| format!("\n    {problem}")).collect();
                format!("{} cannot be used:{lines}", path.display())
            })?;
            *counted = read.value.workspaces().clone();
            Ok(read)
        })?;
        Ok(Self(book))
    }

    /// Lets a caller into the workspace of this name, or, unnamed, into the only one that it may use.
    ///
    /// # Errors
    /// `CredentialsInvalid`; `WorkspaceForbidden`, the same for a workspace that is none of its and for one that
    /// does not exist; `FieldInvalid` where it has to name one.
    pub fn admit(&self, shown: &Shown, workspace: Option<&str>, wants: Right) -> Result<Granted, Error> {
        self.0.current().admit(shown, workspace, wants)
    }

    /// Waits until what was granted is granted no more, and says what a new call would be told.
    pub async fn withdrawn(self, shown: Shown, workspace: Arc<str>, wants: Right) -> Error {
        // Subscribe, then look: no change falls in between.
        let mut changes = self.0.changes();
        loop {
            if let Err(error) = self.admit(&shown, Some(&workspace), wants) {
                return error;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reads the files again. Blocks for as long as that takes.
    pub fn look(&self) -> Look {
        self.0.look()
    }

    /// Looks at the files this often, for as long as it is polled.
    pub async fn keep_fresh(self, every: Duration) {
        self.0.keep_fresh(every).await;
    }
}
