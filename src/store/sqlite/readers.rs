//! Connections that read: a pool that requests share, and connections of single parts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use r2d2::{HandleError, ManageConnection, Pool};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};

use super::open;
use crate::clock::Stopwatch;
use crate::ops::series::Series;
use crate::store::context::OnBroken;
use crate::store::error::{OpenError, StoreError};
use crate::store::types::Claim;

/// How long a request waits for a reader: longer means overload, which is better reported at once.
const READER_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens readers, and closes one that comes back in a transaction.
pub struct Readers(SqliteConnectionManager);

impl ManageConnection for Readers {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> rusqlite::Result<Connection> {
        self.0.connect()
    }

    fn is_valid(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        self.0.is_valid(connection)
    }

    /// A ROLLBACK that failed leaves the snapshot in place: the WAL could never be emptied again.
    fn has_broken(&self, connection: &mut Connection) -> bool {
        !connection.is_autocommit()
    }
}

/// Logs the first of a series of errors of the pool, which tries again twice a second for each
/// connection that it lacks.
#[derive(Debug)]
struct PoolErrors {
    since: Stopwatch,
    series: Mutex<Series>,
}

impl PoolErrors {
    fn new() -> Self {
        Self {
            since: Stopwatch::start(),
            series: Mutex::default(),
        }
    }
}

impl HandleError<rusqlite::Error> for PoolErrors {
    fn handle_error(&self, error: rusqlite::Error) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.begins(self.since.elapsed()) {
            log::warn!(
                error:%;
                "the database can't be opened once more: requests that read it are answered 503"
            );
        }
    }
}

/// The pool that requests share.
pub type ReaderPool = Pool<Readers>;

pub fn pool(path: &Path, readers: u32) -> Result<ReaderPool, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let manager = SqliteConnectionManager::file(path)
        .with_flags(flags)
        .with_init(|connection| open::set_reader(connection));
    Pool::builder()
        .max_size(readers)
        // Opened when first needed: an idle relay holds no page caches.
        .min_idle(Some(0))
        .test_on_check_out(false)
        .connection_timeout(READER_TIMEOUT)
        .error_handler(Box::new(PoolErrors::new()))
        .build(Readers(manager))
        .map_err(|source| OpenError::Pool {
            path: path.to_owned(),
            source: source.into(),
        })
}

/// Connections for reading besides the pool's: the dispatcher's, one that workers share, and that
/// of maintenance.
pub const OWN_READERS: u32 = 3;

/// A connection of one part's own. Anybody who can reach the listener can fill the pool, and
/// deliveries must not wait for a place in it.
///
/// Opened when it is first needed: a relay that delivers nothing holds no page cache for it. Clones
/// share the connection, one read at a time.
#[derive(Clone)]
pub struct Reader {
    path: PathBuf,
    connection: Arc<Mutex<Option<Connection>>>,
    on_broken: OnBroken,
}

impl Reader {
    /// An attempt may begin at any time: no other process delivers.
    #[expect(clippy::unused_self, reason = "every engine's reader has it")]
    pub fn may_begin_attempt(&self, _claim: Claim) -> bool {
        true
    }

    pub fn new(path: PathBuf, on_broken: OnBroken) -> Self {
        Self {
            path,
            connection: Arc::default(),
            on_broken,
        }
    }

    /// Reads in one snapshot.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let result = self.try_read(read);
        if let Err(StoreError::Broken(error)) = &result {
            (self.on_broken)(format!("a read met a broken database: {error}"));
        }
        result
    }

    fn try_read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // A read that panicked has dropped its transaction, which leaves the connection as it was.
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => none.insert(open::reader(&self.path)?),
        };
        let transaction = connection.unchecked_transaction()?;
        read(&transaction)
    }
}
