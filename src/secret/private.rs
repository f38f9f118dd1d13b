//! Files that hold secrets: read only where no other user can.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use secrecy::zeroize::Zeroizing;

/// Why a file that holds secrets cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFault {
    /// It exists and cannot be read.
    #[error("cannot read {}: {source}; make it readable by the user that runs this program", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path leads to something that is not a file.
    #[error("{} is not a regular file; name a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Other users can read it.
    #[error(
        "{} has mode {mode:04o}, so that other users can reach it; run: chmod 600 FILE (in Kubernetes: \
         defaultMode 0440 on the secret's volume, and an fsGroup), and if others may have read it, make a new \
         secret",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// What a file holds that nobody else can read, but no more than `limit` bytes of it. `None`: there is no
/// such file.
///
/// # Errors
/// Where it cannot be read, or others can read it.
pub fn read_private(path: &Path, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, PrivateFault> {
    let unreadable = |source| PrivateFault::Unreadable { path: path.into(), source };
    // Asked before it is opened: opening a pipe would wait for a writer.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(PrivateFault::NotAFile { path: path.into() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        // Asked of the open file, so that it cannot be another one by now.
        let mode = metadata.permissions().mode() & 0o7777;
        // On Linux that folder is the process's user's; elsewhere there is none, and the rule is the strict one.
        let user = fs::metadata("/proc/self").ok().map(|me| me.uid());
        if is_exposed(mode, metadata.uid(), user) {
            return Err(PrivateFault::Exposed { path: path.into(), mode });
        }
    }
    // Room enough that the vector never moves (it grows before it knows the end), so that no copy of it is
    // left behind in memory.
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX).min(limit);
    let mut content = Zeroizing::new(Vec::with_capacity(size + 64));
    file.take(size as u64).read_to_end(&mut content).map_err(unreadable)?;
    Ok(Some(content))
}

/// Whether others than this process's user can reach a file of this mode and owner. What is root's, the group may
/// read, where we are not root: only so can Kubernetes hand a secret to a pod that runs as another user (fsGroup).
#[cfg(unix)]
fn is_exposed(mode: u32, owner: u32, user: Option<u32>) -> bool {
    let handed_over = owner == 0 && user.is_some_and(|user| user != 0);
    let others = if handed_over { 0o037 } else { 0o077 };
    mode & others != 0
}

#[cfg(all(test, unix))]
mod tests {
    use super::is_exposed;

    #[test]
    fn a_file_of_ones_own_is_for_its_user_alone() {
        for (mode, exposed) in [(0o600, false), (0o400, false), (0o440, true), (0o604, true), (0o660, true)] {
            for (owner, user) in [(1000, Some(1000)), (0, Some(0)), (0, None), (1001, Some(1000))] {
                assert_eq!(is_exposed(mode, owner, user), exposed, "{mode:o} of {owner} for {user:?}");
            }
        }
    }

    #[test]
    fn what_root_hands_to_the_group_of_another_user_can_be_read_and_no_more() {
        for (mode, exposed) in
            [(0o440, false), (0o640, false), (0o460, true), (0o450, true), (0o444, true), (0o660, true)]
        {
            assert_eq!(is_exposed(mode, 0, Some(65_532)), exposed, "{mode:o}");
        }
    }
}
