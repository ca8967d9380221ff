//! Opens or creates the database, recovers it, and starts the writer.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rusqlite::Connection;

use super::handle::Sqlite;
use super::lock_file::{self, Lock, Ownership};
use super::ops::recover;
use super::paths::canonical;
use super::recent_keys::RecentKeys;
use super::shared::Shared;
use super::space::{self, Space};
use super::writer::{Ended, Writer, WriterParts};
use super::{hold, moving, open, readers, restore};
use crate::config;
use crate::stop::Ending;
use crate::store::context::{OnBroken, StoreContext};
use crate::store::error::{OpenError, StoreError};
use crate::store::limits::{OWN_PLACES, QUEUE};

impl Sqlite {
    /// Opens or creates the database, releases the claims of a process that died, and starts the
    /// writer. No delivery waits for more than `longest_wait` from now. The clock continues from
    /// where the last process left it: everything stored was written by that clock.
    pub fn open(
        settings: &config::Database,
        longest_wait: Duration,
        context: StoreContext,
    ) -> Result<Self, OpenError> {
        // One database has one lock, whatever link it is reached by.
        let path = canonical(&settings.path);
        // The reason for the end of the process names the file.
        let on_broken: OnBroken = {
            let (path, on_broken) = (path.display().to_string(), context.on_broken);
            Arc::new(move |why| on_broken(format!("{path}: {why}")))
        };
        let context = StoreContext {
            on_broken,
            ..context
        };
        let shared = Shared::new(path, context);
        let free_bytes = Box::new(space::free_bytes);
        Self::open_on(settings, longest_wait, shared, free_bytes)
    }

    /// Opens on a disk whose free space the caller tells.
    pub(super) fn open_on(
        settings: &config::Database,
        longest_wait: Duration,
        shared: Shared,
        free_bytes: space::FreeBytes,
    ) -> Result<Self, OpenError> {
        let path = &shared.path.clone();
        restore::refuse_if_interrupted(path)?;
        open::precheck(path)?;
        let mut lock = lock_file::acquire(path)?;
        // Once more: a restore holds the lock for its whole length.
        restore::refuse_if_interrupted(path)?;
        restore::clear_copy(path);
        let record = lock.record_writer();
        let clock = &shared.clock;
        clock.resume(record.record().now(clock.wall()));
        open::create(path, record.record().newest)?;
        if shared.has_second_guard {
            lock.guard(path)?;
        }
        let connection = open::writer(path, &|| record.record().newest)?;
        moving::refuse_if_marked(&connection, path, moving::Use::Writing)?;
        let (keys, ownership) = load_and_recover(&connection, &shared, longest_wait, &lock)?;
        let readers = readers::pool(path, settings.readers)?;
        shared.budget.set_max(settings.max_bytes);
        let shared = Arc::new(shared);
        let (queue, receiver) = sync_channel(QUEUE + OWN_PLACES);
        let mut space = Space::new(path, settings.min_free_bytes, free_bytes);
        space.refresh(&shared, 0, || 0);
        let parts = WriterParts {
            queue: receiver,
            shared: Arc::clone(&shared),
            space,
            record,
            ownership,
            keys,
        };
        let writer = Writer::new(connection, parts).map_err(|source| OpenError::Rejected {
            path: path.to_owned(),
            source: source.into(),
        })?;
        let ended = spawn(writer, Arc::clone(&shared), lock).map_err(OpenError::Thread)?;
        Ok(Self::new(queue, readers, shared, ended))
    }
}

/// Reads the state that the writer continues from, and releases what a process that died had
/// claimed.
fn load_and_recover(
    connection: &Connection,
    shared: &Shared,
    longest_wait: Duration,
    lock: &Lock,
) -> Result<(RecentKeys, Ownership), OpenError> {
    let path: &Path = &shared.path;
    let recovered = || {
        recover::wait_for_others(connection)?;
        // Reads before it writes: a damaged database is refused unchanged.
        let keys = RecentKeys::load(connection)?;
        recover::run(connection, shared.clock.now(), longest_wait)?;
        hold::begin(connection, shared)?;
        open::trust(connection)?;
        Ok((keys, lock.ownership(path)?))
    };
    recovered().map_err(|source: StoreError| OpenError::Recover {
        path: path.to_owned(),
        source,
    })
}

/// Starts the writer's thread; returns its end.
fn spawn(writer: Writer, shared: Arc<Shared>, lock: Lock) -> std::io::Result<Ending> {
    let (running, ended) = Ending::new();
    let thread = std::thread::Builder::new().name("relay-writer".to_owned());
    running.spawn(thread, move || {
        run(writer, &shared);
        // Held for as long as anything may be written, whether or not somebody waits for it.
        drop(lock);
    })?;
    Ok(ended)
}

fn run(writer: Writer, shared: &Shared) {
    let on_broken = &shared.on_broken;
    let ended =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| -> Ended { writer.run() }));
    shared.health.ended();
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => on_broken(format!("the writer stopped: {error}")),
        Err(_) => on_broken("the writer panicked".to_owned()),
    }
}
