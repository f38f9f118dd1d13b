//! The secret's file: 64 hex digits and a newline (what is written here), or exactly 32 raw bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, zeroize::Zeroizing};

use super::{
    SECRET_BYTES, Secret,
    private::{PrivateFault, read_private},
    random_bytes,
};

/// Why the secret's file cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// It cannot be read, or others can read it.
    #[error("the secret file: {0}")]
    File(#[from] PrivateFault),
    /// It does not exist and cannot be made.
    #[error(
        "cannot create the secret file {}: {source}; make its folder exist and writable by the user that \
         runs this server, or create the file yourself: (umask 077; openssl rand -hex 32 > FILE)",
        path.display()
    )]
    NotCreated {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "the secret file {} holds neither 64 hex digits nor exactly 32 bytes; restore it, or move it away and \
         start again to make a new one (tokens and the ledger's digests made with the old one are then lost)",
        path.display()
    )]
    WrongContent {
        /// The file.
        path: PathBuf,
    },
}

pub(super) fn load_or_create(path: &Path) -> Result<Secret, SecretFault> {
    if let Some(secret) = load(path)? {
        return Ok(secret);
    }
    create(path).map_err(|source| SecretFault::NotCreated { path: path.into(), source })?;
    // Another process may have been first: what now stands in the file is the secret, whoever wrote it.
    load(path)?
        .ok_or_else(|| SecretFault::NotCreated { path: path.into(), source: io::ErrorKind::NotFound.into() })
}

pub(super) fn load(path: &Path) -> Result<Option<Secret>, SecretFault> {
    // A little more than any secret has, to see that it is too long.
    let Some(content) = read_private(path, 67)? else { return Ok(None) };
    parse(&content).map(Some).ok_or_else(|| SecretFault::WrongContent { path: path.into() })
}

fn parse(content: &[u8]) -> Option<Secret> {
    if let Ok(raw) = <[u8; SECRET_BYTES]>::try_from(content) {
        return Some(Secret::filled(|bytes| *bytes = raw));
    }
    let digits = content.strip_suffix(b"\n").unwrap_or(content);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    if digits.len() != 2 * SECRET_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    };
    Some(Secret::filled(|bytes| {
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
    }))
}

/// Writes a new secret beside `path` and links it to its name: a crash leaves no half-written secret,
/// and a link, unlike a rename, never replaces what is there.
fn create(path: &Path) -> io::Result<()> {
    let secret = Secret::random();
    let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_BYTES + 1));
    for byte in secret.0.expose_secret() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text.push('\n');

    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let draft = folder.join(format!(".secret-{:032x}", u128::from_ne_bytes(random_bytes())));
    let written = write_new(&draft, text.as_bytes()).and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    // The draft holds the secret too: it goes in every case.
    let removed = fs::remove_file(&draft);
    written?;
    removed?;
    // Without this the name itself could be lost in a power cut, after the ledger began to rely on it.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
