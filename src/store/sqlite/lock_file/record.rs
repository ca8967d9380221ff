//! The numbers that the lock file keeps for the next start:
//!
//! - The newest intent known to be on the disk. A database without it has lost its WAL, or is an
//!   older copy, and is refused.
//! - The latest time by relay's clock, and how far that clock was ahead of the system's. The next
//!   start continues from there, because relay's clock wrote everything that is stored.
//!
//! Each number has a checksum and is written separately: a command clears the newest intent while a
//! server writes the time. A torn or damaged number counts as absent. `relay unlock` clears all.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::clock::Timestamp;
use crate::store::sqlite::paths::path_beside;

/// Bytes of the owner's process id and its line end. Padded, so that the record that follows is
/// always at the same place.
pub(super) const OWNER_BYTES: usize = 11;

/// The latest time that is believed, in milliseconds since the Unix epoch: the year 2248. Beyond
/// 2262, nanoseconds do not fit into 64 bits.
pub(super) const END: i64 = 1 << 43;
/// Attempts to read a record with a damaged number. A command can read while a server writes: the
/// second attempt finds the number whole, unless another write is under way by then.
const READ_ATTEMPTS: usize = 3;

/// The numbers in the lock file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockFileRecord {
    /// The newest intent's row that is on the disk; 0 if unknown.
    pub newest: i64,
    /// The latest time written, in milliseconds since the Unix epoch; 0 if there is none.
    pub seen: i64,
    /// How far relay's clock was ahead of the system's then, in milliseconds.
    pub ahead: i64,
}

/// The place of a number in the record.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Slot {
    Newest,
    Seen,
    Ahead,
}

/// Digits of a number, its sign included: the length of the least `i64`.
const DIGITS: usize = 20;
/// A number, a colon, its checksum in eight hexadecimal digits, and a space or the line's end.
const SLOT: usize = DIGITS + 1 + 8 + 1;
/// Bytes of a record.
pub(super) const RECORD: usize = 3 * SLOT;
/// Bytes of a record of version 0.1, which ends its file: three numbers without checksums.
const UNCHECKED: usize = 3 * (DIGITS + 1);

impl Slot {
    fn place(self) -> u64 {
        (OWNER_BYTES + self as usize * SLOT) as u64
    }

    fn text(self, number: i64) -> String {
        let digits = format!("{number:0DIGITS$}");
        let end = if matches!(self, Self::Ahead) {
            '\n'
        } else {
            ' '
        };
        format!("{digits}:{:08x}{end}", self.checksum(&digits))
    }

    /// The CRC-32 of the slot's index and of the digits: a number at another number's place is not
    /// believed. It detects all damage within four bytes, and misses one in 2^32 of any other.
    fn checksum(self, digits: &str) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&[self as u8]);
        sum.update(digits.as_bytes());
        sum.finalize()
    }

    /// The number at this slot of a record, unless it is damaged.
    fn read(self, record: &[u8]) -> Option<i64> {
        let text = record.get(self as usize * SLOT..)?.get(..SLOT)?;
        let number = str::from_utf8(&text[..DIGITS]).ok()?.parse().ok()?;
        (self.text(number).as_bytes() == text).then_some(number)
    }
}

impl LockFileRecord {
    /// Best effort: an unreadable or damaged number counts as absent.
    pub fn read(file: &File) -> Self {
        let mut record = Self::default();
        for _ in 0..READ_ATTEMPTS {
            // One byte more, to see whether the file ends here.
            let mut bytes = [0; RECORD + 1];
            let read = file.read_at(&mut bytes, OWNER_BYTES as u64).unwrap_or(0);
            if let Some(unchecked) = Self::unchecked(&bytes[..read]) {
                return unchecked;
            }
            let number = |slot: Slot| slot.read(&bytes[..read]);
            let (newest, seen, ahead) = (
                number(Slot::Newest),
                number(Slot::Seen),
                number(Slot::Ahead),
            );
            record = Self::of(newest, seen, ahead);
            if newest.is_some() && seen.is_some() && ahead.is_some() {
                break;
            }
        }
        record
    }

    /// Clamps each number to its possible range: a checksum does not prove that it makes sense.
    fn of(newest: Option<i64>, seen: Option<i64>, ahead: Option<i64>) -> Self {
        Self {
            newest: newest.unwrap_or(0).max(0),
            seen: seen.filter(|seen| (0..END).contains(seen)).unwrap_or(0),
            ahead: ahead.unwrap_or(0).clamp(-END, END),
        }
    }

    /// Parses a record of version 0.1. Its numbers have no checksums, so it is believed only if all
    /// of it is in place, including the file's end, and only until the first start of a later
    /// version adds checksums.
    pub(super) fn unchecked(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != UNCHECKED {
            return None;
        }
        let mut fields = bytes.chunks(DIGITS + 1).zip([b' ', b' ', b'\n']);
        let mut number = || {
            let (field, end) = fields.next()?;
            let (&last, digits) = field.split_last()?;
            let number = str::from_utf8(digits).ok()?.parse().ok()?;
            (last == end).then_some(number)
        };
        let (newest, seen, ahead) = (number()?, number()?, number()?);
        Some(Self::of(Some(newest), Some(seen), Some(ahead)))
    }

    /// Reads the record of a database's lock file.
    pub fn beside(database: &Path) -> Self {
        open_to_read(database).map_or_else(|_| Self::default(), |file| Self::read(&file))
    }

    /// Relay's time when the system's clock says `wall`: continued by the recorded offset, and
    /// never before the recorded time. Never past [`END`], unless the system's clock is.
    pub fn now(self, wall: Timestamp) -> Timestamp {
        let wall = wall.as_millis();
        let now = wall.saturating_add(self.ahead).max(self.seen);
        Timestamp::from_millis(now.min(wall.max(END)))
    }

    /// Writes all numbers at once.
    pub(super) fn write(self, file: &File) -> io::Result<()> {
        let text = Slot::Newest.text(self.newest) + &self.clock_text();
        file.write_all_at(text.as_bytes(), Slot::Newest.place())
    }

    /// Writes the time and the offset alone.
    pub(super) fn write_clock(self, file: &File) -> io::Result<()> {
        file.write_all_at(self.clock_text().as_bytes(), Slot::Seen.place())
    }

    fn clock_text(self) -> String {
        Slot::Seen.text(self.seen) + &Slot::Ahead.text(self.ahead)
    }
}

/// Writes the newest row alone.
pub(super) fn write_newest(file: &File, newest: i64) -> io::Result<()> {
    let text = Slot::Newest.text(newest);
    file.write_all_at(text.as_bytes(), Slot::Newest.place())
}

/// Opens the lock file without taking the lock, to read its contents.
pub(super) fn open_to_read(database: &Path) -> io::Result<File> {
    File::open(path_beside(database, ".lock"))
}

/// Opens the lock file without taking the lock, to change its contents.
pub(super) fn open_to_write(database: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .open(path_beside(database, ".lock"))
}

#[cfg(test)]
mod tests;
