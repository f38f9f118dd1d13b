//! Things that are made from files, and made anew when the files change: keys, certificates, who may call.
//!
//! The files are read again from time to time and compared by what they hold. (Kubernetes swaps a symbolic link
//! when a secret changes; a watch on the file itself would see nothing.)

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use ring::digest::{Context, Digest, SHA256};
use tokio::sync::watch;

use crate::telemetry::metrics;

/// What files say, and a digest of all that was read for it.
pub struct Read<T> {
    /// What they say.
    pub value: T,
    /// The same for the same content.
    pub digest: Digest,
}

/// Builds a [`Read`]'s digest: each file's content, told apart from the next one's.
pub struct Digesting(Context);

impl Default for Digesting {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Digesting {
    /// Takes a file's content in.
    pub fn add(&mut self, content: &[u8]) {
        self.0.update(&(content.len() as u64).to_be_bytes());
        self.0.update(content);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

type Source<T> = Box<dyn Fn() -> Result<Read<T>, String> + Send + Sync>;

/// A thing made from files. What fails to be read or checked changes nothing: the last good one stays.
pub struct Reloaded<T> {
    what: &'static str,
    current: ArcSwap<T>,
    source: Source<T>,
    last: Mutex<Last>,
    changes: watch::Sender<()>,
}

struct Last {
    digest: Digest,
    problem: Option<String>,
}

/// What a look at the files found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// They hold what they held.
    Same,
    /// They hold something else, which counts from now on.
    Changed,
    /// They cannot be used; what they held before goes on counting.
    Refused,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files for the first time. `what` names them in the log and the metrics.
    ///
    /// # Errors
    /// What `source` says is wrong with them.
    pub fn new<E: ToString>(
        what: &'static str,
        source: impl Fn() -> Result<Read<T>, E> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, E> {
        let first = source()?;
        Ok(Arc::new(Self {
            what,
            current: ArcSwap::from_pointee(first.value),
            source: Box::new(move || source().map_err(|fault| fault.to_string())),
            last: Mutex::new(Last { digest: first.digest, problem: None }),
            changes: watch::Sender::default(),
        }))
    }

    /// What counts now. Who goes on holding it keeps it as it was.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Tells of each change, once it counts.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Reads the files again. Blocks for as long as that takes.
    pub fn look(&self) -> Look {
        let read = (self.source)();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(read) => {
                last.problem = None;
                if read.digest.as_ref() == last.digest.as_ref() {
                    return Look::Same;
                }
                last.digest = read.digest;
                self.current.store(Arc::new(read.value));
                self.changes.send_replace(());
                metrics().reload(self.what, "changed");
                tracing::info!(what = self.what, "read anew");
                Look::Changed
            }
            Err(problem) => {
                metrics().reload(self.what, "refused");
                // Said once, not at each look.
                if last.problem.as_ref() != Some(&problem) {
                    tracing::error!(
                        what = self.what,
                        %problem,
                        "cannot be read anew: what was read before goes on counting"
                    );
                    last.problem = Some(problem);
                }
                Look::Refused
            }
        }
    }

    /// Looks this often, for as long as it is polled.
    pub async fn keep_fresh(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let this = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Read<String>, String> {
        let mut digesting = Digesting::default();
        digesting.add(text.as_bytes());
        match text {
            "bad" => Err("it is bad".to_owned()),
            _ => Ok(Read { value: text.to_owned(), digest: digesting.finish() }),
        }
    }

    #[test]
    fn what_changes_counts_from_the_next_look_on_and_what_is_bad_never() {
        let content = Arc::new(Mutex::new("one".to_owned()));
        let source = Arc::clone(&content);
        let file = Reloaded::new("test", move || read(&source.lock().unwrap())).unwrap();
        let write = |text: &str| text.clone_into(&mut content.lock().unwrap());
        let (held, changes) = (file.current(), file.changes());
        assert_eq!(file.look(), Look::Same);
        write("two");
        assert_eq!(*file.current(), "one", "nobody has looked");
        assert!(!changes.has_changed().unwrap());
        assert_eq!((file.look(), file.look()), (Look::Changed, Look::Same));
        assert!(changes.has_changed().unwrap());
        write("bad");
        assert_eq!(file.look(), Look::Refused);
        assert_eq!((held.as_str(), file.current().as_str()), ("one", "two"));
        write("two");
        assert_eq!(file.look(), Look::Same);
        assert!(Reloaded::new("test", || read("bad")).is_err());
    }

    #[test]
    fn what_stands_in_one_file_is_not_the_same_in_two() {
        let digest = |parts: &[&str]| {
            let mut digesting = Digesting::default();
            parts.iter().for_each(|part| digesting.add(part.as_bytes()));
            digesting.finish().as_ref().to_vec()
        };
        assert_ne!(digest(&["ab"]), digest(&["a", "b"]));
        assert_ne!(digest(&["a", "b"]), digest(&["b", "a"]));
    }
}
