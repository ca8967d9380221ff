//! Writes the lock file's record.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::record::{LockFileRecord, OWNER_BYTES, RECORD, open_to_write, write_newest};
use crate::clock::Clock;

/// How far the clock's offset may move before it is written, in milliseconds. While relay's clock
/// follows the system's, the offset moves by 50 ms a second, and it is compared with each commit
/// and at least each second: a start after a crash is some 60 ms off at most, and a wait across the
/// crash is too short or too long by as much.
const DRIFT_MILLIS: u64 = 10;
/// How far the offset may move before the change must survive a power failure, in milliseconds.
const JUMP_MILLIS: u64 = 1_000;

/// Adds checksums to a record of version 0.1. For the owner of the lock only. Without this, writing
/// numbers one by one would leave a part of the old record.
pub fn add_checksums(file: &File) -> io::Result<()> {
    let mut bytes = [0; RECORD + 1];
    let read = file.read_at(&mut bytes, OWNER_BYTES as u64)?;
    if let Some(record) = LockFileRecord::unchecked(&bytes[..read]) {
        record.write(file)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Clears all numbers. For the owner of the lock only.
pub fn reset(file: &File) -> io::Result<()> {
    LockFileRecord::default().write(file)?;
    file.sync_data()
}

/// Keeps the record of a running server up to date.
pub struct LockFileWriter {
    file: Arc<File>,
    written: LockFileRecord,
    /// The clock's offset that is known to be on the disk.
    synced: i64,
    is_failing: bool,
}

impl LockFileWriter {
    pub fn new(file: Arc<File>) -> Self {
        let written = LockFileRecord::read(&file);
        Self {
            file,
            synced: written.ahead,
            written,
            is_failing: false,
        }
    }

    /// Reads the record anew: a command may have changed it.
    pub fn record(&self) -> LockFileRecord {
        LockFileRecord::read(&self.file)
    }

    /// Between commits, writes the time only if the clock's offset moved.
    pub fn note_offset(&mut self, clock: &dyn Clock) {
        if clock.ahead().abs_diff(self.written.ahead) >= DRIFT_MILLIS {
            self.note(None, clock);
        }
    }

    /// After a commit: writes the time, and the newest row if the commit added one. Not fsynced
    /// unless the clock jumped: a stale number can miss a lost WAL, but never rejects a healthy
    /// database.
    pub fn note(&mut self, newest: Option<i64>, clock: &dyn Clock) {
        self.note_if(DRIFT_MILLIS, newest, clock);
    }

    /// At the end: writes the exact time, so that the next start continues from there.
    pub fn note_exactly(&mut self, clock: &dyn Clock) {
        self.note_if(0, None, clock);
    }

    fn note_if(&mut self, drift: u64, newest: Option<i64>, clock: &dyn Clock) {
        match self.try_note(drift, newest, clock) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                if !self.is_failing {
                    log::warn!(
                        error:% = error;
                        "the lock file can't be written: a database that loses its WAL may go unnoticed"
                    );
                }
                self.is_failing = true;
            }
        }
    }

    fn try_note(&mut self, drift: u64, newest: Option<i64>, clock: &dyn Clock) -> io::Result<()> {
        if let Some(newest) = newest {
            write_newest(&self.file, newest)?;
            self.written.newest = newest;
        }
        let (seen, ahead) = (clock.now().as_millis(), clock.ahead());
        if ahead.abs_diff(self.written.ahead) >= drift
            || seen.abs_diff(self.written.seen) >= JUMP_MILLIS
        {
            let record = LockFileRecord {
                seen,
                ahead,
                ..self.written
            };
            // A new file has nothing yet at the row's place.
            if record.newest == 0 {
                write_newest(&self.file, 0)?;
            }
            record.write_clock(&self.file)?;
            self.written = record;
        }
        if ahead.abs_diff(self.synced) >= JUMP_MILLIS {
            self.file.sync_data()?;
            self.synced = ahead;
        }
        Ok(())
    }

    /// Clears the newest row if it is about to be deleted: rows up to this one are. Fsynced,
    /// because a number that outlives its row would make the next start refuse a healthy database.
    pub fn forget_up_to(&mut self, row: i64) -> io::Result<()> {
        if (1..=row).contains(&self.written.newest) {
            self.forget_newest()?;
        }
        Ok(())
    }

    /// Clears the newest row: from now on the operator may move, restore or delete the files.
    pub fn forget_newest(&mut self) -> io::Result<()> {
        write_newest(&self.file, 0)?;
        self.file.sync_data()?;
        self.written.newest = 0;
        Ok(())
    }
}

/// Clears the newest row, for a command that deletes the newest intents.
pub fn forget_newest(database: &Path) -> io::Result<()> {
    match open_to_write(database) {
        Ok(file) => {
            write_newest(&file, 0)?;
            file.sync_data()
        }
        // No server has ever run here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The newest row that the lock file names. For the owner of the lock.
pub fn newest_of(file: &File) -> i64 {
    LockFileRecord::read(file).newest
}

/// Sets all numbers, durably. For the owner of the lock.
pub fn set_record(file: &File, record: LockFileRecord) -> io::Result<()> {
    record.write(file)?;
    file.sync_data()
}

/// Sets the newest row, durably, and leaves the clock. For the owner of the lock.
pub fn set_newest(file: &File, newest: i64) -> io::Result<()> {
    write_newest(file, newest)?;
    file.sync_data()
}
