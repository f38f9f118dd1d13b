//! Opening the ledger with its secret: `serve` may make both, `ledger` only finds them.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};

use crate::{
    clock::Clock,
    config::{LedgerPlace, Place},
    ledger::{self, Ledger},
    secret::{Purpose, Secret},
};

/// A ledger, and the secret that belongs to it.
pub(super) struct Opened {
    pub(super) ledger: Ledger,
    pub(super) secret: Secret,
    /// Whether nothing was there before.
    pub(super) is_new: bool,
}

/// For the server: what is not there is made.
pub(super) fn open_or_make(place: &Place, config: ledger::Config) -> anyhow::Result<Opened> {
    let LedgerPlace::File(file) = &place.ledger else {
        let secret = match &place.secret_file {
            Some(path) => make_secret(path)?,
            None => Secret::random(),
        };
        return Ok(Opened { ledger: Ledger::in_memory(config, Clock::System), secret, is_new: true });
    };
    make_folder(file, place.is_default)?;
    if exists(file)? {
        return open(file, place, config);
    }
    // The secret first: a ledger without one can never come to be.
    let secret = make_secret(&secret_file(place)?)?;
    let ledger = open_file(file, &secret, config)?;
    Ok(Opened { ledger, secret, is_new: true })
}

/// For the operator: nothing is made.
pub(super) fn open(file: &Path, place: &Place, config: ledger::Config) -> anyhow::Result<Opened> {
    let secret = secret_of(file, place)?;
    Ok(Opened { ledger: open_file(file, &secret, config)?, secret, is_new: false })
}

/// Only a look: whether the secret is as the server needs it. The ledger itself stays closed, since a running server
/// has it open.
pub(super) fn look(place: &Place) -> anyhow::Result<()> {
    match (&place.ledger, &place.secret_file) {
        (LedgerPlace::File(file), _) if exists(file)? => secret_of(file, place).map(drop),
        (_, Some(path)) => load_secret(path).map(drop),
        (_, None) => Ok(()),
    }
}

/// The secret of a ledger that is here.
fn secret_of(file: &Path, place: &Place) -> anyhow::Result<Secret> {
    let path = secret_file(place)?;
    let Some(secret) = load_secret(&path)? else {
        bail!(
            "--secret-file: the ledger {} is here, but not its secret {}: restore it from your copy, or name the \
             place where it is. No new one is made beside an existing ledger: under another secret every \
             request_id would look new, and a repeated call would message people twice",
            file.display(),
            path.display()
        );
    };
    Ok(secret)
}

/// Whether there is something by that name.
pub(super) fn exists(file: &Path) -> anyhow::Result<bool> {
    file.try_exists().with_context(|| format!("--ledger: cannot look at {}", file.display()))
}

fn open_file(file: &Path, secret: &Secret, config: ledger::Config) -> anyhow::Result<Ledger> {
    Ledger::in_file(file, &secret.derive(Purpose::Sealing), config, Clock::System)
        .map_err(|fault| anyhow!("--ledger: {fault}"))
}

fn load_secret(path: &Path) -> anyhow::Result<Option<Secret>> {
    Secret::load(path).map_err(|fault| anyhow!("--secret-file: {fault}"))
}

fn make_secret(path: &Path) -> anyhow::Result<Secret> {
    Secret::load_or_create(path).map_err(|fault| anyhow!("--secret-file: {fault}"))
}

fn secret_file(place: &Place) -> anyhow::Result<PathBuf> {
    place.secret_file.clone().context("--secret-file: a ledger in a file needs one")
}

/// Of a path that somebody wrote only the last folder is made: where more is missing, it is likely not meant.
fn make_folder(file: &Path, is_default: bool) -> anyhow::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => folder,
        _ => return Ok(()),
    };
    match DirBuilder::new().mode(0o700).recursive(is_default).create(folder) {
        // Another process may have been first.
        Err(_) if folder.is_dir() => Ok(()),
        made => made.with_context(|| {
            format!("--ledger: cannot make the folder {0}; make it: mkdir -p -m 700 {0}", folder.display())
        }),
    }
}
