use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock as _, FakeClock};
use crate::store::sqlite::lock_file::writer::{LockFileWriter, add_checksums};

fn file_with(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().expect("a file");
    file.write_all_at(b"4711      \n", 0).expect("room");
    file.write_all_at(bytes, OWNER_BYTES as u64).expect("room");
    file
}

fn text(record: LockFileRecord) -> Vec<u8> {
    let file = file_with(b"");
    record.write(&file).expect("room");
    let mut text = vec![0; RECORD];
    file.read_exact_at(&mut text, OWNER_BYTES as u64)
        .expect("it is whole");
    text
}

/// A record of version 0.1.
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

/// Continues a clock from a lock file, moves it, and writes it again.
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
    writer.note_offset(&clock);
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
    fn a_damaged_number_is_ignored_and_the_others_are_kept(
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
    fn a_torn_record_keeps_its_whole_numbers(record in records(), length in 0..RECORD) {
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
        add_checksums(&file).expect("room");
        prop_assert_eq!(LockFileRecord::read(&file), record);
        let mut converted = vec![0; RECORD];
        file.read_exact_at(&mut converted, OWNER_BYTES as u64).expect("it is longer");
        prop_assert_eq!(converted, text(record));
        // A record of another length is ignored.
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
fn a_number_is_written_with_the_crc_32_of_its_slot_and_digits() {
    // The checksums of another implementation, Python's zlib.
    assert_eq!(Slot::Newest.text(4711), "00000000000000004711:6e659c20 ");
    assert_eq!(Slot::Ahead.text(-5), "-0000000000000000005:486d445f\n");
}

#[test]
fn the_time_continues_from_the_record_and_never_goes_back() {
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
