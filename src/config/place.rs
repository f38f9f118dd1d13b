//! Where the ledger lives, and what stands beside it.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use etcetera::BaseStrategy as _;

use super::ConfigError;

/// The flags by which `serve` and `ledger` find the same ledger. Each has a variable of the same name.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct PlaceFlags {
    /// File of settings: TOML, flat, a flag's name as the key (poll-interval = "2s"). A variable outweighs it,
    /// and a flag both. Paths in it begin, as on the command line, where the command is run
    #[arg(long, env = "BLUBASH_CONFIG", value_name = "PATH", display_order = 0)]
    pub config: Option<PathBuf>,

    /// Where to remember what was sent. `file:PATH` keeps it through restarts; the folder is made where
    /// only its last part is missing. `memory:` forgets with the process. Without it: in the sandbox
    /// memory:, else file: with ledger.redb in blubash-grpc in the platform's state directory (on Linux
    /// $XDG_STATE_HOME or ~/.local/state, on macOS ~/Library/Application Support)
    #[arg(long, env = "BLUBASH_LEDGER", value_name = "file:PATH|memory:")]
    pub ledger: Option<LedgerPlace>,

    /// File with the server's 32-byte secret (64 hex digits), made at the first start. The ledger in a file
    /// needs it for good: keep a copy. Without it: `secret` beside the ledger's file; for a ledger in
    /// memory a new one at every start, with which page tokens end
    #[arg(long, env = "BLUBASH_SECRET_FILE", value_name = "PATH")]
    pub secret_file: Option<PathBuf>,

    /// Unix socket by which `blubash-grpc ledger` reaches the running server; for the user that runs it
    /// only. Without it: the ledger's file with .sock behind its name; for a ledger in memory none
    #[arg(long, env = "BLUBASH_OPERATOR_SOCKET", value_name = "PATH")]
    pub operator_socket: Option<PathBuf>,
}

/// Where the ledger lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerPlace {
    /// In this process, forgotten with it.
    Memory,
    /// In this file.
    File(PathBuf),
}

/// The ledger's place and what belongs to it, each named or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where the ledger lives.
    pub ledger: LedgerPlace,
    /// Whether nobody named it: then its folder is this program's own.
    pub is_default: bool,
    /// The secret's file. `None`: a secret that lives as long as the process.
    pub secret_file: Option<PathBuf>,
    /// The operator's socket, where there is one.
    pub operator_socket: Option<PathBuf>,
}

impl PlaceFlags {
    /// What the flags name, and what follows from it where they name nothing.
    ///
    /// # Errors
    /// Where the ledger has no name and the user no home.
    pub fn place(&self, sandbox: bool) -> Result<Place, ConfigError> {
        let ledger = match &self.ledger {
            Some(named) => named.clone(),
            None if sandbox => LedgerPlace::Memory,
            None => LedgerPlace::File(default_file()?),
        };
        let beside = match &ledger {
            LedgerPlace::Memory => None,
            LedgerPlace::File(file) => Some(file),
        };
        Ok(Place {
            is_default: self.ledger.is_none(),
            secret_file: self
                .secret_file
                .clone()
                .or_else(|| beside.map(|file| file.with_file_name("secret"))),
            operator_socket: self.operator_socket.clone().or_else(|| beside.map(|file| socket_of(file))),
            ledger,
        })
    }
}

/// By name, `ledger.redb.sock` for `ledger.redb`.
fn socket_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".sock");
    name.into()
}

fn default_file() -> Result<PathBuf, ConfigError> {
    let base = etcetera::base_strategy::choose_native_strategy().map_err(|_| ConfigError {
        flag: "--ledger",
        problem: "this user has no home directory in which it could be: name a file, for example \
                  file:/var/lib/blubash-grpc/ledger.redb"
            .to_owned(),
    })?;
    // Not every platform has a place for state.
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(state.join("blubash-grpc").join("ledger.redb"))
}

impl FromStr for LedgerPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FILE: &str =
            "write the file's path behind it, for example file:/var/lib/blubash-grpc/ledger.redb";
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("memory", _)) => Err("memory: takes nothing behind it".to_owned()),
            // As in a URL: what stands between the slashes would be a host.
            Some(("file", path)) => match path.strip_prefix("//") {
                Some(absolute) if absolute.starts_with('/') => file(absolute),
                Some(_) => Err(format!("file:// would name another machine; {FILE}")),
                None => file(path),
            },
            _ => Err("expected file:PATH or memory:".to_owned()),
        }
        .map_err(|problem| if problem.is_empty() { FILE.to_owned() } else { problem })
    }
}

/// An empty error: the path names no file.
fn file(path: &str) -> Result<LedgerPlace, String> {
    let named = Path::new(path).file_name().is_some() && !path.ends_with(['/', std::path::MAIN_SEPARATOR]);
    if named { Ok(LedgerPlace::File(path.into())) } else { Err(String::new()) }
}

impl fmt::Display for LedgerPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flags(ledger: Option<&str>) -> PlaceFlags {
        let ledger = ledger.map(|text| text.parse().unwrap());
        PlaceFlags { config: None, ledger, secret_file: None, operator_socket: None }
    }

    #[test]
    fn a_file_brings_its_secret_and_its_socket_and_memory_neither() {
        let place = flags(Some("file:state/ledger.redb")).place(true).unwrap();
        assert_eq!(place.secret_file.unwrap(), Path::new("state/secret"));
        assert_eq!(place.operator_socket.unwrap(), Path::new("state/ledger.redb.sock"));
        let place = flags(Some("file:here")).place(false).unwrap();
        assert_eq!(place.secret_file.unwrap(), Path::new("secret"));
        let place = flags(Some("memory:")).place(false).unwrap();
        assert_eq!((place.secret_file, place.operator_socket), (None, None));
    }

    #[test]
    fn what_is_named_is_taken_for_every_ledger() {
        for ledger in ["memory:", "file:/a/b"] {
            let mut flags = flags(Some(ledger));
            (flags.secret_file, flags.operator_socket) = (Some("s".into()), Some("o".into()));
            let place = flags.place(false).unwrap();
            assert_eq!((place.secret_file, place.operator_socket), (Some("s".into()), Some("o".into())));
        }
    }

    #[test]
    fn unnamed_it_is_in_memory_for_the_sandbox_and_in_the_users_state_otherwise() {
        assert_eq!(flags(None).place(true).unwrap().ledger, LedgerPlace::Memory);
        let place = flags(None).place(false).unwrap();
        let LedgerPlace::File(path) = place.ledger else { panic!("{}", place.ledger) };
        assert!(place.is_default && path.is_absolute() && path.ends_with("blubash-grpc/ledger.redb"));
    }

    #[test]
    fn what_names_no_file_is_refused_with_an_example() {
        for text in ["file:", "file:/", "file:a/", "file:..", "file://host/ledger", "file:///"] {
            let problem = text.parse::<LedgerPlace>().unwrap_err();
            assert!(problem.contains("file:/var/lib/blubash-grpc/ledger.redb"), "{text}: {problem}");
        }
        for text in ["", "ledger.redb", "memory", "redis://x", "memory:x"] {
            assert!(text.parse::<LedgerPlace>().unwrap_err().contains("memory:"), "{text}");
        }
        assert_eq!("file:///a/b".parse(), Ok(LedgerPlace::File("/a/b".into())));
        assert_eq!("file:a:b".parse(), Ok(LedgerPlace::File("a:b".into())));
    }
}
