//! The next start's use of the lock file.

use std::sync::Arc;
use std::time::Duration;

use super::{Insert, event, open, open_at, settings, try_open, writing};
use crate::clock::{Clock as _, FakeClock, SystemClock, Timestamp};
use crate::model::IntentId;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::unlock::Unlock;
use crate::store::types::{Accepted, IntentRow};

/// The files that a crash at this moment leaves, without those named.
fn crashed_without(directory: &tempfile::TempDir, missing: &[&str]) -> tempfile::TempDir {
    let crashed = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(directory.path()).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if !missing.iter().any(|missing| name == **missing) {
            std::fs::copy(entry.path(), crashed.path().join(name)).expect("a copy");
        }
    }
    crashed
}

fn refusal(directory: &tempfile::TempDir) -> Option<String> {
    let opened = try_open(&settings(directory), Arc::new(SystemClock::new()));
    match opened {
        Ok(store) => {
            store.stop();
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

#[test]
fn a_database_that_lost_what_was_acknowledged_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(event("1")).expect("accepted");
    assert_eq!(refusal(&crashed_without(&directory, &[])), None);
    for missing in [
        &["relay.db-wal"][..],
        &["relay.db-wal", "relay.db-shm"],
        &["relay.db"],
        &["relay.db", "relay.db-wal"],
    ] {
        let crashed = crashed_without(&directory, missing);
        let files = |directory: &tempfile::TempDir| -> Vec<_> {
            let mut files: Vec<_> = std::fs::read_dir(directory.path())
                .expect("a directory")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| {
                    path.extension()
                        .is_some_and(|of| of == "db" || of == "db-wal")
                })
                .filter(|path| path.metadata().is_ok_and(|file| file.len() > 0))
                .map(|path| (path.clone(), std::fs::read(path).expect("a file")))
                .collect();
            files.sort();
            files
        };
        let before = files(&crashed);
        // A second time as well: a refusal doesn't clear the record.
        for _ in 0..2 {
            let why = refusal(&crashed).expect("it is refused");
            assert!(why.contains("doesn't hold the last event"), "{why}");
            assert_eq!(files(&crashed), before, "{missing:?}");
        }
        // After an unlock the rest is served, as the refusal says.
        let unlock = Unlock::of(&crashed.path().join("relay.db")).expect("no error");
        let unlock = unlock.expect("a lock file");
        assert_eq!(unlock.holds_last_event(), Some(false), "{missing:?}");
        let remembered = unlock.reset().expect("no server");
        assert!(remembered.accepted_at.is_some());
        assert_eq!(refusal(&crashed), None, "{missing:?}");
    }
    store.stop();
    // After an orderly stop, an older copy is not refused.
    let older = crashed_without(&directory, &["relay.db"]);
    assert_eq!(refusal(&older), None);
}

/// Puts a record of version 0.1, without checksums, into a lock file.
fn write_unchecked(directory: &tempfile::TempDir, newest: i64, seen: i64, ahead: i64) {
    let text = format!("4711      \n{newest:020} {seen:020} {ahead:020}\n");
    std::fs::write(directory.path().join("relay.db.lock"), text).expect("a lock file");
}

#[test]
fn a_record_of_an_earlier_version_is_heeded_and_gets_checksums() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = Timestamp::from_millis(1_700_000_000_000);
    let clock = Arc::new(FakeClock::at(start));
    let store = open_at(&directory, &clock);
    let newest = match store.write_blocking(event("1")).expect("accepted") {
        Accepted::New(id, _) => id.row(),
        other => panic!("{other:?}"),
    };
    // A lock file of an earlier version, whose clock was an hour ahead.
    let hour = Duration::from_secs(3600);
    let old = |missing: &[&str]| {
        let crashed = crashed_without(&directory, missing);
        let seen = start.plus(hour).as_millis();
        write_unchecked(&crashed, newest, seen, 3_600_000);
        crashed
    };
    let why = refusal(&old(&["relay.db-wal"])).expect("it is refused");
    assert!(why.contains("doesn't hold the last event"), "{why}");
    let upgraded = old(&[]);
    let clock = Arc::new(FakeClock::at(start));
    let again = open_at(&upgraded, &clock);
    assert_eq!(clock.now(), start.plus(hour));
    // The same after a crash right after the start.
    let later = crashed_without(&upgraded, &[]);
    let why = refusal(&crashed_without(&later, &["relay.db-wal"])).expect("it is refused");
    assert!(why.contains("doesn't hold the last event"), "{why}");
    let clock = Arc::new(FakeClock::at(start));
    open_at(&later, &clock).stop();
    assert_eq!(clock.now(), start.plus(hour));
    again.stop();
    store.stop();
}

#[test]
fn a_flipped_digit_in_the_lock_file_is_not_believed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(event("1")).expect("accepted");
    let crashed = crashed_without(&directory, &[]);
    store.stop();
    let lock = crashed.path().join("relay.db.lock");
    let mut bytes = std::fs::read(&lock).expect("a lock file");
    // The second digit of the newest row: no row is that large.
    assert_eq!(bytes[12], b'0');
    bytes[12] = b'1';
    std::fs::write(&lock, bytes).expect("damaged");
    assert_eq!(refusal(&crashed), None);
}

#[test]
fn a_damaged_lock_file_does_not_overflow_the_clock() {
    for (seen, ahead) in [(0, 1 << 43), ((1 << 43) - 1, i64::MAX), (7, i64::MIN)] {
        let directory = tempfile::tempdir().expect("a directory");
        write_unchecked(&directory, 0, seen, ahead);
        let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
        let store = open_at(&directory, &clock);
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now() > before, "{}", clock.now());
        store.write_blocking(event("1")).expect("accepted");
        store.stop();
    }
}

#[test]
fn intents_deleted_on_purpose_are_not_missed() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(FakeClock::at(SystemClock::new().wall()));
    let store = open_at(&directory, &clock);
    let ids: Vec<IntentId> = ["1", "2"]
        .map(
            |key| match store.write_blocking(event(key)).expect("accepted") {
                Accepted::New(id, _) => id,
                other => panic!("{other:?}"),
            },
        )
        .to_vec();
    let newest = IntentRow::of(ids[1]);
    let delete = move |tx: &Tx<'_>| {
        tx.execute("DELETE FROM intents WHERE id = ?1", [newest])?;
        tx.deleted(newest);
        Ok(())
    };
    store.write_blocking(Insert("x", delete)).expect("deleted");
    assert_eq!(refusal(&crashed_without(&directory, &[])), None);
    // The next intent is recorded again.
    store.write_blocking(event("3")).expect("accepted");
    assert!(refusal(&crashed_without(&directory, &["relay.db-wal"])).is_some());
    // The same for an intent that a command deletes.
    let id = match store.write_blocking(event("4")).expect("accepted") {
        Accepted::New(id, _) => id,
        other => panic!("{other:?}"),
    };
    let newest = IntentRow::of(id);
    let delete = move |tx: &Tx<'_>| {
        tx.execute("DELETE FROM intents WHERE id = ?1", [newest])?;
        Ok(())
    };
    let mut command = writing(&directory);
    command.write(&Insert("y", delete)).expect("deleted");
    assert_eq!(refusal(&crashed_without(&directory, &[])), None);
    // The time that the server writes later doesn't bring it back.
    clock.advance(Duration::from_secs(10));
    store
        .write_blocking(Insert("z", |_: &Tx<'_>| Ok(())))
        .expect("something else");
    clock.set_wall(clock.now().plus(Duration::from_secs(7200)));
    store
        .write_blocking(Insert("zz", |_: &Tx<'_>| Ok(())))
        .expect("something else");
    assert_eq!(refusal(&crashed_without(&directory, &[])), None);
    assert!(Operator::reading(&directory.path().join("relay.db")).is_ok());
    store.stop();
}

#[test]
fn a_command_refuses_what_a_start_would_refuse_and_harms_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.write_blocking(event("1")).expect("accepted");
    let lost = crashed_without(&directory, &["relay.db-wal", "relay.db-shm"]);
    let emptied = crashed_without(&directory, &["relay.db-shm"]);
    std::fs::write(emptied.path().join("relay.db"), b"").expect("emptied");
    for crashed in [lost, emptied] {
        let path = crashed.path().join("relay.db");
        let wal = std::fs::read(crashed.path().join("relay.db-wal")).unwrap_or_default();
        for opened in [Operator::reading(&path), Operator::writing(&path)] {
            let error = opened.err().expect("it is refused").to_string();
            assert!(error.contains("doesn't hold the last event"), "{error}");
        }
        let kept = std::fs::read(crashed.path().join("relay.db-wal")).unwrap_or_default();
        assert_eq!(kept, wal, "the WAL is as it was");
    }
    // A whole database opens, after a crash as well.
    let crashed = crashed_without(&directory, &[]);
    assert!(Operator::writing(&crashed.path().join("relay.db")).is_ok());
    assert_eq!(refusal(&crashed), None);
    store.stop();
}

#[test]
fn the_clock_is_noted_before_anything_is_accepted() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = Timestamp::from_millis(1_700_000_000_000);
    let clock = Arc::new(FakeClock::at(start));
    let store = open_at(&directory, &clock);
    store
        .write_blocking(Insert("a", |_: &Tx<'_>| Ok(())))
        .expect("a change");
    // After a crash, with a clock that is behind.
    let crashed = crashed_without(&directory, &[]);
    let behind = Arc::new(FakeClock::at(start.minus(Duration::from_secs(60))));
    let recovered = open_at(&crashed, &behind);
    assert_eq!(behind.now(), start);
    recovered.stop();
    store.stop();
}

#[test]
fn a_start_goes_on_by_the_clock_that_wrote_what_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = Timestamp::from_millis(1_700_000_000_000);
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let open = |wall: Timestamp| {
        let clock = Arc::new(FakeClock::at(wall));
        (open_at(&directory, &clock), clock)
    };
    let (store, clock) = open(start);
    store.write_blocking(event("1")).expect("accepted");
    // The system's clock is set two hours ahead while the server runs: the key is still known, and
    // after a restart, too.
    clock.set_wall(start.plus(hours(2)));
    let again = store.write_blocking(event("1")).expect("answered");
    assert!(matches!(again, Accepted::Duplicate(_)));
    store.stop();
    let (store, clock) = open(start.plus(hours(2)));
    assert_eq!(clock.now(), start);
    let again = store.write_blocking(event("1")).expect("answered");
    assert!(matches!(again, Accepted::Duplicate(_)));
    let operator = Operator::reading(&directory.path().join("relay.db")).expect("it opens");
    let behind = SystemClock::new().wall().since(operator.now());
    assert!(behind > hours(1) && behind < hours(3), "{behind:?}");
    store.stop();
    // The system's clock was set back between two runs: the time continues from where it was.
    let (store, clock) = open(start.minus(hours(20)));
    assert_eq!(clock.now(), start);
    store.stop();
}

#[test]
fn a_start_is_off_by_nothing_after_a_stop_and_by_little_after_a_crash() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = Timestamp::from_millis(1_700_000_000_000);
    let mut wall = start;
    let millis = Duration::from_millis;
    // The system's clock is set back by two hours: relay's clock is ahead by as much, and runs
    // slower until both agree.
    let first = Arc::new(FakeClock::at(wall));
    let mut store = open_at(&directory, &first);
    wall = wall.minus(Duration::from_secs(7200));
    first.set_wall(wall);
    let mut last = first;
    for life in [700, 100, 700, 100] {
        store.write_blocking(event("1")).expect("answered");
        // The offset moves by a twentieth of the time that passes.
        last.advance(millis(life));
        wall = wall.plus(millis(life));
        // The server is killed at the end of this life, and the next start continues from the
        // record.
        let crashed = crashed_without(&directory, &[]);
        let after = Arc::new(FakeClock::at(wall));
        open_at(&crashed, &after).stop();
        let off = after.now().as_millis() - last.now().as_millis();
        assert!((0..=60).contains(&off), "{off} ms after a crash");
        store.stop();
        let next = Arc::new(FakeClock::at(wall));
        store = open_at(&directory, &next);
        let off = next.now().as_millis() - last.now().as_millis();
        assert!(off.abs() <= 1, "{off} ms after a stop");
        last = next;
    }
    store.stop();
}
