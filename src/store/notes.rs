//! What the lock file says beside its owner's number, for the start after this one:
//!
//! - the newest intent that is known to be on the disk. A database that doesn't hold it has lost its
//!   WAL, or is an older copy, and nobody is served from it;
//! - how far relay's clock had come, and how far ahead of the system's it was. It goes on from there,
//!   since all that is stored was written by it.
//!
//! Whoever removes the file gives up both.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::lock::{self, OWNER};
use crate::clock::{Clock, Timestamp};

/// How far the clock's gap may move before it is written down, in milliseconds.
const DRIFT: i64 = 100;
/// How far it may move before that has to survive a power failure, too.
const JUMP: i64 = 1_000;

/// What is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The newest row that is on the disk; 0 if it isn't known.
    pub newest: i64,
    /// The latest time that was written down, in milliseconds; 0 if there is none.
    pub seen: i64,
    /// How far it was ahead of the system's clock, in milliseconds.
    pub ahead: i64,
}

impl Said {
    /// Best effort: what can't be read says nothing.
    pub fn read(file: &File) -> Self {
        let mut line = [0; LINE];
        let read = file.read_at(&mut line, OWNER as u64).unwrap_or(0);
        let text = String::from_utf8_lossy(&line[..read]);
        let mut numbers = text.split_whitespace().map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok);
        match (next(), next(), next()) {
            (Some(newest), Some(seen), Some(ahead)) => Self {
                newest,
                seen,
                ahead,
            },
            _ => Self::default(),
        }
    }

    pub fn of(database: &Path) -> Self {
        lock::beside(database).map_or_else(|_| Self::default(), |file| Self::read(&file))
    }

    /// The time as whoever wrote this would have it now, when the system's clock says `wall`.
    pub fn now(self, wall: Timestamp) -> Timestamp {
        let now = wall.as_millis().saturating_add(self.ahead);
        Timestamp::from_millis(now.max(self.seen))
    }

    fn put(self, file: &File) -> io::Result<()> {
        let Self {
            newest,
            seen,
            ahead,
        } = self;
        let line = format!("{newest:020} {seen:020} {ahead:020}\n");
        file.write_all_at(line.as_bytes(), OWNER as u64)
    }
}

/// The line's length: three numbers of 20 digits, each with what separates them.
const LINE: usize = 3 * 21;

/// Writes it down.
pub(super) struct Notes {
    file: Arc<File>,
    written: Said,
    /// The clock's gap as it is known to be on the disk.
    synced: i64,
    is_failing: bool,
}

impl Notes {
    pub fn new(file: Arc<File>) -> Self {
        let written = Said::read(&file);
        Self {
            file,
            synced: written.ahead,
            written,
            is_failing: false,
        }
    }

    /// What the file says now: a command may have changed it.
    pub fn said(&self) -> Said {
        Said::read(&self.file)
    }

    /// With nothing written, only a clock that was set is worth a note.
    pub fn idle(&mut self, clock: &dyn Clock) {
        if (clock.ahead() - self.written.ahead).abs() >= DRIFT {
            self.note(None, clock);
        }
    }

    /// After a commit: notes the time, and the newest row if it is new. Not synced, unless the clock
    /// was set: what is too old finds less, and does no harm.
    pub fn note(&mut self, newest: Option<i64>, clock: &dyn Clock) {
        let (now, ahead) = (clock.now().as_millis(), clock.ahead());
        let is_stale = (ahead - self.written.ahead).abs() >= DRIFT
            || now.saturating_sub(self.written.seen) >= JUMP;
        if newest.is_none() && !is_stale {
            return;
        }
        let said = Said {
            newest: newest.unwrap_or(self.written.newest),
            seen: now,
            ahead,
        };
        let is_set = (ahead - self.synced).abs() >= JUMP;
        let put = said.put(&self.file).and_then(|()| {
            if is_set {
                self.file.sync_data()?;
                self.synced = ahead;
            }
            Ok(())
        });
        match put {
            Ok(()) => {
                self.written = said;
                self.is_failing = false;
            }
            Err(error) => {
                if !self.is_failing {
                    log::warn!(error:% = error; "the lock file can't be written: a database that loses its WAL may go unnoticed");
                }
                self.is_failing = true;
            }
        }
    }

    /// Rows up to this one are about to be deleted, and the newest may be one of them. Synced: a note
    /// that outlives its row would keep a healthy database from being served.
    pub fn forget_up_to(&mut self, row: i64) -> io::Result<()> {
        if (1..=row).contains(&self.written.newest) {
            self.forget()?;
        }
        Ok(())
    }

    /// From now on the files are the operator's to move, restore and throw away.
    pub fn forget(&mut self) -> io::Result<()> {
        let said = Said {
            newest: 0,
            ..self.written
        };
        said.put(&self.file)?;
        self.file.sync_data()?;
        self.written = said;
        Ok(())
    }
}

/// For a command that deletes the newest intents: they are no longer to be expected.
pub(super) fn forget(database: &Path) -> io::Result<()> {
    match lock::beside(database) {
        Ok(file) => Notes::new(Arc::new(file)).forget(),
        // No server ever ran.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(newest in 0..i64::MAX, seen: i64, ahead in -i64::MAX..i64::MAX) {
            let file = tempfile::tempfile().expect("a file");
            let said = Said { newest, seen, ahead };
            said.put(&file).expect("room");
            prop_assert_eq!(Said::read(&file), said);
        }

        #[test]
        fn whatever_stands_there_is_read_or_says_nothing(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let file = tempfile::tempfile().expect("a file");
            file.write_all_at(&bytes, 0).expect("room");
            Said::read(&file);
        }
    }

    #[test]
    fn the_time_goes_on_from_where_it_was_and_never_back() {
        let said = Said {
            newest: 0,
            seen: 5_000,
            ahead: -2_000,
        };
        let now = |wall| said.now(Timestamp::from_millis(wall)).as_millis();
        assert_eq!(now(9_000), 7_000);
        assert_eq!(now(6_000), 5_000);
        assert_eq!(
            Said::default().now(Timestamp::from_millis(7)).as_millis(),
            7
        );
    }
}
