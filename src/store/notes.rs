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

/// How far the clock's gap may move before it is written down, in milliseconds. While the system's
/// clock is followed it moves by 50 ms a second, and it is looked at with each commit and at least
/// each second: so a start after a crash is some 60 ms off at most, and a wait across it as much too
/// short or too long.
const DRIFT: u64 = 10;
/// How far it may move before that has to survive a power failure, too.
const JUMP: u64 = 1_000;

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
            (Some(newest), Some(seen), Some(ahead)) if (0..END).contains(&seen) => Self {
                newest,
                seen,
                ahead: ahead.clamp(-END, END),
            },
            _ => Self::default(),
        }
    }

    pub fn of(database: &Path) -> Self {
        lock::to_read(database).map_or_else(|_| Self::default(), |file| Self::read(&file))
    }

    /// The time as whoever wrote this would have it now, when the system's clock says `wall`.
    pub fn now(self, wall: Timestamp) -> Timestamp {
        let now = wall.as_millis().saturating_add(self.ahead);
        Timestamp::from_millis(now.max(self.seen))
    }

    fn put_clock(self, file: &File) -> io::Result<()> {
        let Self { seen, ahead, .. } = self;
        let place = (OWNER + NUMBER) as u64;
        file.write_all_at(format!("{seen:020} {ahead:020}\n").as_bytes(), place)
    }
}

/// A number's place: 20 digits, and what separates it from the next. Each is written by itself, since
/// a command forgets the newest row while a server notes the time.
const NUMBER: usize = 21;

fn put_newest(file: &File, newest: i64) -> io::Result<()> {
    file.write_all_at(format!("{newest:020} ").as_bytes(), OWNER as u64)
}

/// The end of the time that is believed, in milliseconds: some 270 years from now.
const END: i64 = 1 << 43;

/// The line's length.
const LINE: usize = 3 * NUMBER;

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
        if clock.ahead().abs_diff(self.written.ahead) >= DRIFT {
            self.note(None, clock);
        }
    }

    /// After a commit: notes the time, and the newest row if it is new. Not synced, unless the clock
    /// was set: what is too old finds less, and does no harm.
    pub fn note(&mut self, newest: Option<i64>, clock: &dyn Clock) {
        self.note_if(DRIFT, newest, clock);
    }

    /// At the end: notes the time as it is, so that the next start goes on from exactly there.
    pub fn note_exactly(&mut self, clock: &dyn Clock) {
        self.note_if(0, None, clock);
    }

    fn note_if(&mut self, drift: u64, newest: Option<i64>, clock: &dyn Clock) {
        match self.try_note(drift, newest, clock) {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                if !self.is_failing {
                    log::warn!(error:% = error; "the lock file can't be written: a database that loses its WAL may go unnoticed");
                }
                self.is_failing = true;
            }
        }
    }

    fn try_note(&mut self, drift: u64, newest: Option<i64>, clock: &dyn Clock) -> io::Result<()> {
        if let Some(newest) = newest {
            put_newest(&self.file, newest)?;
            self.written.newest = newest;
        }
        let (seen, ahead) = (clock.now().as_millis(), clock.ahead());
        if ahead.abs_diff(self.written.ahead) >= drift || seen.abs_diff(self.written.seen) >= JUMP {
            let said = Said {
                seen,
                ahead,
                ..self.written
            };
            // There may be nothing yet where the row belongs.
            if said.newest == 0 {
                put_newest(&self.file, 0)?;
            }
            said.put_clock(&self.file)?;
            self.written = said;
        }
        if ahead.abs_diff(self.synced) >= JUMP {
            self.file.sync_data()?;
            self.synced = ahead;
        }
        Ok(())
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
        put_newest(&self.file, 0)?;
        self.file.sync_data()?;
        self.written.newest = 0;
        Ok(())
    }
}

/// For a command that deletes the newest intents: they are no longer to be expected.
pub(super) fn forget(database: &Path) -> io::Result<()> {
    match lock::to_write(database) {
        Ok(file) => {
            put_newest(&file, 0)?;
            file.sync_data()
        }
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
        fn what_is_written_is_read(newest in 0..i64::MAX, seen in 0..END, ahead in -END..END) {
            let file = tempfile::tempfile().expect("a file");
            let said = Said { newest, seen, ahead };
            put_newest(&file, newest).expect("room");
            said.put_clock(&file).expect("room");
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
