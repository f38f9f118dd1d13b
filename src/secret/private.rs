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
         defaultMode 0400 on the secret's volume), and if others may have read it, make a new secret",
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
        use std::os::unix::fs::PermissionsExt as _;
        // Asked of the open file, so that it cannot be another one by now.
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
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
