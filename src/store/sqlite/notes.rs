//! Numbers that the lock file keeps beside its owner's, for the next start:
//!
//! - the newest intent that is known to be on the disk. A database that doesn't hold it has lost its
//!   WAL, or is an older copy, and is refused;
//! - how far relay's clock had come, and how far ahead of the system's it was. The next start goes on
//!   from there, since all that is stored was written by that clock.
//!
//! Each number has a checksum and is written by itself: a command forgets the newest intent while a
//! server notes the time. A number that was torn or damaged is as good as none. [`super::unlock`]
//! gives all of them up.

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
/// The end of the time that is believed, in milliseconds since the Unix epoch: the year 2248. Beyond
/// 2262 nanoseconds don't fit into 64 bits.
const END: i64 = 1 << 43;
/// Looks at a record of which a number is damaged. A command can meet it half written: a second look
/// finds it whole, unless another write is under way by then.
const LOOKS: usize = 3;

/// What the lock file keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LockFileRecord {
    /// The newest row that is on the disk; 0 if it isn't known.
    pub newest: i64,
    /// The latest time that was written down, in milliseconds since the Unix epoch; 0 if there is
    /// none.
    pub seen: i64,
    /// How far it was ahead of the system's clock, in milliseconds.
    pub ahead: i64,
}

/// Where a number stands.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Slot {
    Newest,
    Seen,
    Ahead,
}

/// Digits of a number, the sign included: as many as the least `i64` has.
const DIGITS: usize = 20;
/// A number, a colon, its checksum in eight hexadecimal digits, and a space or the line's end.
const SLOT: usize = DIGITS + 1 + 8 + 1;
/// The bytes of a record.
const RECORD: usize = 3 * SLOT;
/// The bytes of a record of version 0.1, which ends its file: three numbers, without checksums.
const UNCHECKED: usize = 3 * (DIGITS + 1);

impl Slot {
    fn place(self) -> u64 {
        (OWNER + self as usize * SLOT) as u64
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

    /// Over the slot, too, so that a number at another's place isn't believed.
    fn checksum(self, digits: &str) -> u32 {
        crc32([self as u8].into_iter().chain(digits.bytes()))
    }

    /// The number that stands here in a record, unless it is damaged.
    fn read(self, record: &[u8]) -> Option<i64> {
        let text = record.get(self as usize * SLOT..)?.get(..SLOT)?;
        let number = str::from_utf8(&text[..DIGITS]).ok()?.parse().ok()?;
        (self.text(number).as_bytes() == text).then_some(number)
    }
}

/// CRC-32 as in IEEE 802.3. It finds all damage that is confined to four bytes, and of other damage
/// misses one in 2^32.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

impl LockFileRecord {
    /// Best effort: what can't be read, or is damaged, is as good as not there.
    pub fn read(file: &File) -> Self {
        let mut record = Self::default();
        for _ in 0..LOOKS {
            // One more, to see whether the file ends here.
            let mut bytes = [0; RECORD + 1];
            let read = file.read_at(&mut bytes, OWNER as u64).unwrap_or(0);
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

    /// Only what can be: a checksum doesn't say that a number makes sense.
    fn of(newest: Option<i64>, seen: Option<i64>, ahead: Option<i64>) -> Self {
        Self {
            newest: newest.unwrap_or(0).max(0),
            seen: seen.filter(|seen| (0..END).contains(seen)).unwrap_or(0),
            ahead: ahead.unwrap_or(0).clamp(-END, END),
        }
    }

    /// A record as version 0.1 wrote it. Its numbers can't be checked, and so it is believed only if
    /// all of it is in place, down to where the file ends, and only until the first start of a later
    /// version ([`convert`]).
    fn unchecked(bytes: &[u8]) -> Option<Self> {
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

    pub fn beside(database: &Path) -> Self {
        lock::to_read(database).map_or_else(|_| Self::default(), |file| Self::read(&file))
    }

    /// Relay's time when the system's clock says `wall`, by what is kept here. Never past [`END`],
    /// unless the system's clock is.
    pub fn now(self, wall: Timestamp) -> Timestamp {
        let wall = wall.as_millis();
        let now = wall.saturating_add(self.ahead).max(self.seen);
        Timestamp::from_millis(now.min(wall.max(END)))
    }

    /// Writes all of it at once.
    fn write(self, file: &File) -> io::Result<()> {
        let text = Slot::Newest.text(self.newest) + &self.clock_text();
        file.write_all_at(text.as_bytes(), Slot::Newest.place())
    }

    /// Writes the time alone.
    fn write_clock(self, file: &File) -> io::Result<()> {
        file.write_all_at(self.clock_text().as_bytes(), Slot::Seen.place())
    }

    fn clock_text(self) -> String {
        Slot::Seen.text(self.seen) + &Slot::Ahead.text(self.ahead)
    }
}

fn write_newest(file: &File, newest: i64) -> io::Result<()> {
    let text = Slot::Newest.text(newest);
    file.write_all_at(text.as_bytes(), Slot::Newest.place())
}

/// Gives a record of version 0.1 its checksums. For the owner of the lock: from then on numbers are
/// written one by one, and would leave a part of the old record.
pub(super) fn convert(file: &File) -> io::Result<()> {
    let mut bytes = [0; RECORD + 1];
    let read = file.read_at(&mut bytes, OWNER as u64)?;
    if let Some(record) = LockFileRecord::unchecked(&bytes[..read]) {
        record.write(file)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Forgets all numbers. For the owner of the lock.
pub(super) fn reset(file: &File) -> io::Result<()> {
    LockFileRecord::default().write(file)?;
    file.sync_data()
}

/// The server's own: writes the record while it changes.
pub(super) struct LockFileWriter {
    file: Arc<File>,
    written: LockFileRecord,
    /// The clock's gap as it is known to be on the disk.
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

    /// What the file says now: a command may have changed it.
    pub fn record(&self) -> LockFileRecord {
        LockFileRecord::read(&self.file)
    }

    /// With nothing written, only a clock that was set is worth a note.
    pub fn idle(&mut self, clock: &dyn Clock) {
        if clock.ahead().abs_diff(self.written.ahead) >= DRIFT {
            self.note(None, clock);
        }
    }

    /// After a commit: notes the time, and the newest row if it is new. Not synced unless the clock
    /// jumped: a stale number can miss a lost WAL, but never rejects a healthy database.
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
            write_newest(&self.file, newest)?;
            self.written.newest = newest;
        }
        let (seen, ahead) = (clock.now().as_millis(), clock.ahead());
        if ahead.abs_diff(self.written.ahead) >= drift || seen.abs_diff(self.written.seen) >= JUMP {
            let record = LockFileRecord {
                seen,
                ahead,
                ..self.written
            };
            // There may be nothing yet where the row belongs.
            if record.newest == 0 {
                write_newest(&self.file, 0)?;
            }
            record.write_clock(&self.file)?;
            self.written = record;
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
        write_newest(&self.file, 0)?;
        self.file.sync_data()?;
        self.written.newest = 0;
        Ok(())
    }
}

/// For a command that deletes the newest intents: they are no longer to be expected.
pub(super) fn forget(database: &Path) -> io::Result<()> {
    match lock::to_write(database) {
        Ok(file) => {
            write_newest(&file, 0)?;
            file.sync_data()
        }
        // No server ever ran.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::FakeClock;

    fn file_with(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"4711      \n", 0).expect("room");
        file.write_all_at(bytes, OWNER as u64).expect("room");
        file
    }

    fn text(record: LockFileRecord) -> Vec<u8> {
        let file = file_with(b"");
        record.write(&file).expect("room");
        let mut text = vec![0; RECORD];
        file.read_exact_at(&mut text, OWNER as u64)
            .expect("it is whole");
        text
    }

    /// As version 0.1 wrote it.
    fn unchecked_text(newest: i64, seen: i64, ahead: i64) -> String {
        format!("{newest:020} {seen:020} {ahead:020}\n")
    }

    fn records() -> impl Strategy<Value = LockFileRecord> {
        (0..i64::MAX, 0..END, -END..=END).prop_map(|(newest, seen, ahead)| LockFileRecord {
            newest,
            seen,
            ahead,
        })
    }

    /// A clock that goes on from a lock file, is moved, and written down again.
    fn go_on_from(file: File, wall: i64) {
        let wall = Timestamp::from_millis(wall);
        let clock = FakeClock::at(wall);
        let mut writer = LockFileWriter::new(Arc::new(file));
        let now = writer.record().now(wall);
        assert!(now.as_millis() >= 0, "{now}");
        assert!(now <= wall.max(Timestamp::from_millis(END)), "{now}");
        clock.resume(now);
        writer.note(Some(7), &clock);
        for by in [Duration::ZERO, Duration::from_secs(3600), Duration::MAX / 4] {
            let before = clock.now();
            clock.advance(by);
            assert!(clock.now() >= before);
            writer.note_exactly(&clock);
            assert_eq!(writer.record().newest, 7);
        }
        clock.set_wall(Timestamp::from_millis(i64::MIN));
        clock.now();
        clock.set_wall(Timestamp::from_millis(i64::MAX));
        clock.now();
        writer.idle(&clock);
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in records()) {
            let file = file_with(b"");
            write_newest(&file, record.newest).expect("room");
            record.write_clock(&file).expect("room");
            prop_assert_eq!(LockFileRecord::read(&file), record);
            prop_assert_eq!(LockFileRecord::read(&file_with(&text(record))), record);
        }

        #[test]
        fn a_damaged_number_is_not_believed_and_costs_no_other(
            record in records(), at in 0..RECORD, byte: u8
        ) {
            let mut text = text(record);
            prop_assume!(text[at] != byte);
            text[at] = byte;
            let mut expected = record;
            *[&mut expected.newest, &mut expected.seen, &mut expected.ahead][at / SLOT] = 0;
            prop_assert_eq!(LockFileRecord::read(&file_with(&text)), expected);
        }

        #[test]
        fn a_torn_record_says_what_is_whole(record in records(), length in 0..RECORD) {
            let read = LockFileRecord::read(&file_with(&text(record)[..length]));
            let is_whole = |slot: usize| length >= (slot + 1) * SLOT;
            prop_assert_eq!(read.newest, if is_whole(0) { record.newest } else { 0 });
            prop_assert_eq!(read.seen, if is_whole(1) { record.seen } else { 0 });
            prop_assert_eq!(read.ahead, 0);
        }

        #[test]
        fn a_record_without_checksums_is_read_once(record in records(), more: u8) {
            let LockFileRecord { newest, seen, ahead } = record;
            let old = unchecked_text(newest, seen, ahead);
            let file = file_with(old.as_bytes());
            prop_assert_eq!(LockFileRecord::read(&file), record);
            convert(&file).expect("room");
            prop_assert_eq!(LockFileRecord::read(&file), record);
            let mut converted = vec![0; RECORD];
            file.read_exact_at(&mut converted, OWNER as u64).expect("it is longer");
            prop_assert_eq!(converted, text(record));
            // Not what only looks like it.
            let longer = [old.as_bytes(), &[more]].concat();
            let nothing = LockFileRecord::default();
            prop_assert_eq!(LockFileRecord::read(&file_with(&longer)), nothing);
            let shorter = &old.as_bytes()[..UNCHECKED - 1];
            prop_assert_eq!(LockFileRecord::read(&file_with(shorter)), nothing);
        }

        #[test]
        fn no_lock_file_overflows_the_clock(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * RECORD), wall: i64
        ) {
            go_on_from(file_with(&bytes), wall.max(0));
        }

        #[test]
        fn no_numbers_overflow_the_clock(newest: i64, seen: i64, ahead: i64, wall: i64) {
            let numbers = unchecked_text(newest, seen, ahead);
            go_on_from(file_with(numbers.as_bytes()), wall.max(0));
            let record = LockFileRecord { newest, seen, ahead };
            go_on_from(file_with(&text(record)), wall.max(0));
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow_the_clock() {
        for number in [END - 1, END, i64::MAX / 1_000_000, i64::MAX, i64::MIN] {
            for wall in [0, 1_700_000_000_000, i64::MAX] {
                let (newest, seen, ahead) = (number, number, number);
                let record = LockFileRecord {
                    newest,
                    seen,
                    ahead,
                };
                go_on_from(file_with(&text(record)), wall);
                let numbers = unchecked_text(newest, seen, ahead);
                go_on_from(file_with(numbers.as_bytes()), wall);
            }
        }
    }

    #[test]
    fn the_checksum_is_crc_32() {
        // Its check value, by the catalogue of CRC algorithms.
        assert_eq!(crc32(b"123456789".iter().copied()), 0xCBF4_3926);
    }

    #[test]
    fn the_time_goes_on_from_where_it_was_and_never_back() {
        let record = LockFileRecord {
            newest: 0,
            seen: 5_000,
            ahead: -2_000,
        };
        let now = |wall| record.now(Timestamp::from_millis(wall)).as_millis();
        assert_eq!(now(9_000), 7_000);
        assert_eq!(now(6_000), 5_000);
        assert_eq!(
            LockFileRecord::default()
                .now(Timestamp::from_millis(7))
                .as_millis(),
            7
        );
    }
}
