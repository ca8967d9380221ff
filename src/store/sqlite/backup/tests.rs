//! Backups of real databases: whole, or noticed not to be.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use tempfile::TempDir;

use super::job::{BackupJob, Pace};
use super::make::make;
use super::manifest::{DIGEST_BYTES, MARK};
use super::*;
use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::backup_error::BackupError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::settings;
use crate::store::sqlite::tests::{event, open};
use crate::store::types::{Accept, StopCheck, VerifiedBackup};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn job<'a>(directory: &'a Path, target: &'a Path, database: &'a Path) -> BackupJob<'a> {
    assert!(directory.is_dir());
    BackupJob {
        database,
        target,
        now: NOW,
        min_free: 0,
        pace: Pace::default(),
        is_stopped: StopCheck::never(),
        progress: &|_| {},
    }
}

/// The directory, with its links resolved.
fn root(directory: &TempDir) -> PathBuf {
    directory.path().canonicalize().expect("it is there")
}

fn back_up(directory: &TempDir, name: &str) -> Result<VerifiedBackup, BackupError> {
    let root = root(directory);
    let (target, database) = (root.join(name), root.join("relay.db"));
    make(&job(&root, &target, &database))
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(directory.path()).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.into_string().expect("text"))
        .filter(|name| !name.starts_with("relay.db"))
        .collect();
    names.sort();
    names
}

fn accept(store: &Sqlite, keys: std::ops::Range<u32>, body: &'static [u8]) {
    for key in keys {
        let event = Accept {
            body: bytes::Bytes::from_static(body),
            ..event(&key.to_string())
        };
        store.write_blocking(event).expect("accepted");
    }
}

/// A backup of three events, with free pages in it.
fn sample(directory: &TempDir) -> PathBuf {
    let (store, _end) = open(directory);
    accept(&store, 0..3, vec![7; 20_000].leak());
    store.stop();
    let path = directory.path().join("relay.db");
    let sql = Connection::open(&path).expect("it opens");
    sql.execute_batch(
        "CREATE TABLE filling (a BLOB); INSERT INTO filling VALUES (zeroblob(60000)); DROP TABLE filling;",
    )
    .expect("free pages");
    let free: i64 = sql
        .query_row("PRAGMA freelist_count", [], |row| row.get(0))
        .expect("a count");
    assert!(free > 5, "{free}");
    drop(sql);
    back_up(directory, "copy.db").expect("a backup").path
}

fn database_id(store: &Sqlite) -> String {
    let id = store.read_blocking(|sql| Ok(settings::get(sql, settings::DATABASE_ID)?));
    id.expect("a read").expect("an id")
}

#[test]
fn a_backup_tells_what_it_holds() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    accept(&store, 0..3, b"{}");
    let id = database_id(&store);
    let made = back_up(&directory, "copy.db").expect("a backup");
    store.stop();
    let verified = verify(&made.path).expect("it is whole");
    assert_eq!(verified, made);
    let manifest = verified.manifest;
    assert_eq!(manifest.counts[0], (DeliveryState::Queued, 3));
    assert_eq!(manifest.taken_at, NOW);
    assert!(manifest.newest.expect("an event").id.starts_with("evt_"));
    assert!(id.len() == 32 && manifest.database_id == id, "{id}");
    let rights = made.path.metadata().expect("it is there").permissions();
    assert_eq!(rights.mode() & 0o777, 0o600);
    assert_eq!(names(&directory), ["copy.db"], "no WAL, no partial file");
    let bytes = std::fs::read(&made.path).expect("it is there");
    assert_eq!(bytes[18..20], [1, 1], "no WAL mode");
    assert_eq!(bytes.len() as u64, made.bytes);
    let other = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&other);
    assert_ne!(database_id(&store), id);
    let empty = back_up(&other, "copy.db").expect("a backup");
    assert_eq!(empty.manifest.newest, None);
    store.stop();
}

#[test]
fn a_backup_of_a_store_that_writes_holds_exactly_the_events_before_its_snapshot() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    accept(&store, 0..200, b"{}");
    let root = root(&directory);
    let (target, database) = (root.join("copy.db"), root.join("relay.db"));
    let is_over = AtomicBool::new(false);
    let made = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = 1_000;
            while !is_over.load(Ordering::Relaxed) {
                accept(&store, key..key + 1, b"{}");
                key += 1;
            }
        });
        let seen = std::cell::Cell::new(0);
        let made = make(&BackupJob {
            progress: &|_| seen.set(seen.get() + 1),
            ..job(&root, &target, &database)
        });
        is_over.store(true, Ordering::Relaxed);
        assert!(seen.get() > 1, "it goes in steps");
        made
    });
    let made = made.expect("a backup");
    let sql = Connection::open(&made.path).expect("it opens");
    let (count, newest): (i64, i64) = sql
        .query_row("SELECT count(*), max(id) FROM intents", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("figures");
    assert!(count >= 200);
    // All events up to its newest are in it, and no others.
    let expected: i64 = store
        .read_blocking(|sql| {
            Ok(sql.query_row(
                "SELECT count(*) FROM intents WHERE id <= ?1",
                [newest],
                |row| row.get(0),
            )?)
        })
        .expect("a count");
    assert_eq!(count, expected);
    store.stop();
}

#[test]
fn a_flipped_bit_is_noticed_in_each_page_and_in_the_digest() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = sample(&directory);
    let good = std::fs::read(&path).expect("it is there");
    let mark = good.windows(MARK.len()).position(|bytes| bytes == MARK);
    let mark = mark.expect("it is there");
    let pages = (0..good.len())
        .step_by(4096)
        .map(|page| page + 37 * page / 4096 % 4096);
    let slot = (mark..mark + MARK.len() + DIGEST_BYTES).step_by(5);
    let header = [16, 18, 19, 28, 31, 52, 60, 68, 99];
    for at in pages.chain(slot).chain(header) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).expect("written");
        let found = verify(&path).expect_err("a bit is flipped");
        assert!(found.to_string().contains("damaged"), "{at}: {found}");
    }
    std::fs::write(&path, &good).expect("written");
    verify(&path).expect("it is whole");
}

#[test]
fn a_file_that_is_cut_or_continued_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = sample(&directory);
    let good = std::fs::read(&path).expect("it is there");
    for length in [
        0,
        50,
        100,
        4096,
        good.len() / 2,
        good.len() - 4096,
        good.len() - 1,
    ] {
        std::fs::write(&path, &good[..length]).expect("written");
        verify(&path).expect_err("it is cut");
    }
    for more in [1, 4096] {
        let longer = [&good[..], &vec![0; more]].concat();
        std::fs::write(&path, &longer).expect("written");
        verify(&path).expect_err("it is continued");
    }
}

#[test]
fn files_that_are_no_backups_are_not_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    store.stop();
    let text = directory.path().join("text");
    std::fs::write(&text, "no database").expect("written");
    let database = directory.path().join("relay.db");
    for (path, says) in [
        (database.as_path(), "no manifest"),
        (text.as_path(), "damaged, or not a backup"),
        (directory.path(), "not a backup"),
        (Path::new("/dev/null"), "not a backup"),
        (Path::new("/nothing/there"), "No such file"),
    ] {
        let found = verify(path).expect_err("it is none").to_string();
        assert!(found.contains(says), "{found}");
    }
}

#[test]
fn a_backup_of_a_newer_relay_is_refused_by_its_version() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = sample(&directory);
    let sql = crate::store::sqlite::open::copy(&path).expect("it opens");
    sql.execute_batch("UPDATE backup_manifest SET schema_version = schema_version + 1")
        .expect("good SQL");
    drop(sql);
    let file = std::fs::File::options().read(true).write(true).open(&path);
    digest::write(&file.expect("a file"), &path, &StopCheck::never()).expect("written");
    let refused = verify(&path).expect_err("it is newer").to_string();
    assert!(refused.contains("newer than this relay's"), "{refused}");
    assert!(refused.ends_with("use the newer binary"), "{refused}");
}

#[test]
fn existing_files_and_those_of_the_database_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    let root = root(&directory);
    let at = |name: &str| root.join(name);
    std::fs::write(at("there"), "something").expect("written");
    symlink("nowhere", at("dangling")).expect("a link");
    symlink(&root, at("here")).expect("a link");
    std::fs::hard_link(at("relay.db"), at("linked")).expect("a link");
    std::fs::write(at("taken.partial"), "something").expect("written");
    symlink(at("there"), at("led.partial")).expect("a link");
    for (name, says) in [
        ("there", "exists already"),
        ("dangling", "exists already"),
        ("relay.db", "is the database"),
        ("here/relay.db", "is the database"),
        ("linked", "is the database"),
        ("relay.db-journal", "is the database"),
        ("relay.db.restore", "is the database"),
        ("taken", "was interrupted"),
        ("led", "was interrupted"),
        ("nowhere/copy.db", "No such file"),
    ] {
        let refused = back_up(&directory, name).expect_err(name).to_string();
        assert!(refused.contains(says), "{name}: {refused}");
    }
    let text = std::fs::read_to_string(at("there")).expect("it is there");
    assert_eq!(text, "something");
    let copy = back_up(&directory, "here/copy.db").expect("a link to a directory is followed");
    assert_eq!(copy.path, at("copy.db"));
    store.stop();
}

#[test]
fn a_payload_with_the_bytes_of_the_manifest_spoils_no_backup() {
    const BODY: [u8; 64] = {
        let mut body = [0; 64];
        let mut at = 0;
        while at < MARK.len() {
            body[at] = MARK[at];
            at += 1;
        }
        body
    };
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    accept(&store, 0..5, &BODY);
    let made = back_up(&directory, "copy.db").expect("a backup");
    store.stop();
    let bytes = std::fs::read(&made.path).expect("it is there");
    let marks = bytes.windows(MARK.len()).filter(|bytes| *bytes == MARK);
    assert!(marks.count() > 5, "the payloads are in it");
    verify(&made.path).expect("it is whole");
}

#[test]
fn a_backup_gives_up_before_the_wal_fills_the_disk_and_when_relay_stops() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    accept(&store, 0..50, b"{}");
    let root = root(&directory);
    let (target, database) = (root.join("copy.db"), root.join("relay.db"));
    let given_up = make(&BackupJob {
        pace: Pace {
            unpaced_above: 0,
            share_of_free: u64::MAX,
        },
        ..job(&root, &target, &database)
    });
    let given_up = given_up.expect_err("the WAL is larger");
    assert!(
        matches!(given_up, BackupError::WalTooLarge { .. }),
        "{given_up}"
    );
    let stopped = make(&BackupJob {
        is_stopped: StopCheck::new(|| true),
        ..job(&root, &target, &database)
    });
    assert!(matches!(stopped, Err(BackupError::Stopped)));
    let no_room = make(&BackupJob {
        min_free: u64::MAX,
        ..job(&root, &target, &database)
    });
    assert!(matches!(no_room, Err(BackupError::NoRoom { .. })));
    assert!(names(&directory).is_empty(), "nothing is left");
    // Unpaced, it ends well.
    make(&BackupJob {
        pace: Pace {
            unpaced_above: 0,
            share_of_free: 1,
        },
        ..job(&root, &target, &database)
    })
    .expect("a backup");
    store.stop();
}

#[test]
fn the_remains_of_interrupted_backups_are_removed_and_one_under_way_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = root(&directory);
    for name in ["old.db.partial", "other.partial", "now.db.partial"] {
        std::fs::write(root.join(name), "a part").expect("written");
    }
    let file = std::fs::File::open(root.join("now.db.partial")).expect("it is there");
    file.try_lock().expect("nobody has it");
    remove_stale(&root, |name| matches!(name, "old.db" | "now.db")).expect("removed");
    assert_eq!(names(&directory), ["now.db.partial", "other.partial"]);
}
