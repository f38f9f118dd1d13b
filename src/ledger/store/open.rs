//! Opening a ledger, with every doubt about it settled first; and making one where nothing is.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, RepairSession, StorageBackend,
    TableError, backends::FileBackend,
};

use super::{
    fault::OpenFault,
    primary::{self, Guarded},
    rows::{ROWS, weigh},
    seal::Seal,
};
use crate::{ledger::key::Table, secret::random_bytes};

/// The form of the rows. A file of another one is refused.
const FORMAT: u8 = 1;

/// redb's own cache, of 1 GiB if nobody says otherwise. A batch's rows are written and read once more when it is
/// settled, seconds later, so that what is in flight, and the tree's upper pages, are all that is worth keeping.
const CACHE_BYTES: usize = 16 << 20;

const FORMAT_ROW: &[u8] = &[Table::Meta as u8, b'f'];
const CHECK_ROW: &[u8] = &[Table::Meta as u8, b'c'];
const CHECK: &[u8] = b"blubash-grpc ledger";

/// A place where a ledger is kept. It is opened again after it failed.
pub(super) trait Place: Send + Sync {
    /// What people call it.
    fn name(&self) -> &str;

    /// The bytes of the ledger that is there.
    fn disk(&self) -> Result<Arc<dyn StorageBackend>, OpenFault>;
}

/// A file.
pub(super) struct InFile {
    path: PathBuf,
    name: String,
}

impl InFile {
    /// Makes the file if nothing is there.
    pub(super) fn new(path: &Path, seal: &Seal) -> Result<Self, OpenFault> {
        let place = Self { path: path.to_owned(), name: format!("the ledger {}", path.display()) };
        match fs::metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => place.create(seal)?,
            Err(error) => return Err(place.io(error)),
        }
        Ok(place)
    }

    fn io(&self, error: io::Error) -> OpenFault {
        OpenFault::io(&self.name, error)
    }

    /// Makes an empty ledger beside the path and links it to its name: a crash leaves no half-made ledger, and a link,
    /// unlike a rename, never replaces what another process put there meanwhile.
    fn create(&self, seal: &Seal) -> Result<(), OpenFault> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        make_folder(folder).map_err(|error| self.io(error))?;
        let draft = folder.join(format!(".ledger-{:032x}", u128::from_ne_bytes(random_bytes())));
        let made = self.write_draft(&draft, seal).and_then(|()| match fs::hard_link(&draft, &self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|error| self.io(error)),
        });
        let removed = fs::remove_file(&draft);
        made?;
        removed.map_err(|error| self.io(error))?;
        // Without this the name itself could be lost in a power cut, after claims were made under it.
        #[cfg(unix)]
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.io(error))?;
        Ok(())
    }

    fn write_draft(&self, draft: &Path, seal: &Seal) -> Result<(), OpenFault> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let file = options.open(draft).map_err(|error| self.io(error))?;
        let disk = FileBackend::new(file).map_err(|error| OpenFault::database(&self.name, error))?;
        let database = open_database(&self.name, Arc::new(disk), false)?;
        found(&self.name, &database, seal)?;
        database.close().map_err(|error| OpenFault::database(&self.name, error))?;
        File::open(draft).and_then(|file| file.sync_all()).map_err(|error| self.io(error))
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(folder)
}

impl Place for InFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn disk(&self) -> Result<Arc<dyn StorageBackend>, OpenFault> {
        let metadata = fs::metadata(&self.path).map_err(|error| self.io(error))?;
        if !metadata.is_file() {
            return Err(OpenFault::NotALedger { place: self.name.clone() });
        }
        let file =
            OpenOptions::new().read(true).write(true).open(&self.path).map_err(|error| self.io(error))?;
        // redb would take an empty file for a new database.
        if file.metadata().map_err(|error| self.io(error))?.len() == 0 {
            return Err(OpenFault::damaged(&self.name, "it is empty"));
        }
        Ok(Arc::new(FileBackend::new(file).map_err(|error| OpenFault::database(&self.name, error))?))
    }
}

/// Somebody else's storage, which a test can fail, cut off and read.
pub(super) struct OnDisk(Arc<dyn StorageBackend>);

impl OnDisk {
    /// Makes an empty ledger if the disk is empty.
    pub(super) fn new(disk: impl StorageBackend, seal: &Seal) -> Result<Self, OpenFault> {
        let place = Self(Arc::new(disk));
        let empty = place.0.len().map_err(|error| OpenFault::io(place.name(), error))? == 0;
        if empty {
            let database = open_database(place.name(), place.disk()?, false)?;
            found(place.name(), &database, seal)?;
            database.close().map_err(|error| OpenFault::database(place.name(), error))?;
        }
        Ok(place)
    }
}

impl Place for OnDisk {
    fn name(&self) -> &str {
        "the ledger"
    }

    fn disk(&self) -> Result<Arc<dyn StorageBackend>, OpenFault> {
        Ok(Arc::clone(&self.0))
    }
}

/// Opens the database and checks all of it: redb verifies the checksum of every page that is in use, which it does
/// not do when it reads one later. Every commit of ours has two phases, so a tree that does not verify is damage and not
/// a torn commit, and is refused.
///
/// `take_newer`: whether the newer commit slot may be taken though it is not the one that is named.
fn open_database(name: &str, disk: Arc<dyn StorageBackend>, take_newer: bool) -> Result<Database, OpenFault> {
    let amending = Arc::new(AtomicBool::new(take_newer));
    let database = builder()
        .create_with_backend(Guarded::new(disk, Arc::clone(&amending)))
        .map_err(|error| OpenFault::database(name, error))?;
    amending.store(false, Ordering::Release);
    Ok(database)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Looks at the header only, as redb reads it: it refuses a commit slot that is named and not whole.
fn try_header(name: &str, disk: Arc<dyn StorageBackend>) -> Result<(), OpenFault> {
    let as_it_is = Guarded::new(disk, Arc::new(AtomicBool::new(false)));
    match builder().set_repair_callback(RepairSession::abort).create_with_backend(as_it_is) {
        Err(DatabaseError::RepairAborted) => Ok(()),
        Err(error) => Err(OpenFault::database(name, error)),
        Ok(database) => database.close().map_err(|error| OpenFault::database(name, error)),
    }
}

/// Begins a ledger in an empty database.
fn found(name: &str, database: &Database, seal: &Seal) -> Result<(), OpenFault> {
    let later = |error: redb::Error| OpenFault::later(name, error);
    let check =
        seal.seal(CHECK_ROW, CHECK).map_err(|_| OpenFault::damaged(name, "its check could not be sealed"))?;
    let mut transaction = database.begin_write().map_err(|error| later(error.into()))?;
    transaction.set_two_phase_commit(true);
    {
        let mut table = transaction.open_table(ROWS).map_err(|error| later(error.into()))?;
        table.insert(FORMAT_ROW, &[FORMAT][..]).map_err(|error| later(error.into()))?;
        table.insert(CHECK_ROW, &*check).map_err(|error| later(error.into()))?;
    }
    transaction.commit().map_err(|error| later(error.into()))
}

/// Opens the ledger that is there. Returns it with what its rows weigh.
pub(super) fn open(place: &dyn Place, seal: &Seal) -> Result<(Database, usize), OpenFault> {
    let name = place.name();
    let later = |error: redb::Error| OpenFault::later(name, error);
    let disk = place.disk()?;
    let behind = primary::is_behind(&*disk);
    if behind {
        try_header(name, place.disk()?)?;
    }
    let database = open_database(name, disk, behind)?;
    let bytes = {
        let transaction = database.begin_read().map_err(|error| later(error.into()))?;
        let table = transaction.open_table(ROWS).map_err(|error| match error {
            TableError::Storage(error) => later(error.into()),
            _ => OpenFault::NotALedger { place: name.to_owned() },
        })?;
        let row = |key: &[u8]| {
            let value = table.get(key).map_err(|error| later(error.into()))?;
            let value = value.map(|value| value.value().to_vec());
            value.ok_or_else(|| OpenFault::NotALedger { place: name.to_owned() })
        };
        match *row(FORMAT_ROW)? {
            [FORMAT] => {}
            [found] => {
                return Err(OpenFault::OtherFormat { place: name.to_owned(), found, known: FORMAT });
            }
            _ => return Err(OpenFault::NotALedger { place: name.to_owned() }),
        }
        // Every checksum was right, so what does not open is another key's.
        if seal.open(CHECK_ROW, &row(CHECK_ROW)?).ok().as_deref() != Some(CHECK) {
            return Err(OpenFault::OtherSecret { place: name.to_owned() });
        }
        let mut bytes = 0;
        for row in table.iter().map_err(|error| later(error.into()))? {
            let (key, value) = row.map_err(|error| later(error.into()))?;
            bytes += weigh(key.value().len(), value.value().len());
        }
        bytes
    };
    Ok((database, bytes))
}
