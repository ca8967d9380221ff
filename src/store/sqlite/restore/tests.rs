//! Restores that end, and restores that are interrupted after each step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;
use crate::store::error::OpenError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::tests::{event, open, settings, try_open};
use crate::store::types::{BulkFilter, Comparison, NewBulk, PendingOf, StopCheck};

/// A database of the events `a` and `b`, a backup of it, and then an event `c`.
struct Scene {
    directory: TempDir,
}

const BEFORE: [&str; 2] = ["a", "b"];
const AFTER: [&str; 3] = ["a", "b", "c"];

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _end) = open(&directory);
        for key in BEFORE {
            store.write_blocking(event(key)).expect("accepted");
        }
        let target = directory.path().join("copy.db");
        store.back_up(&target, 0, StopCheck::never()).expect("made");
        store.write_blocking(event("c")).expect("accepted");
        store.stop();
        Self { directory }
    }

    fn database(&self) -> PathBuf {
        let root = self.directory.path().canonicalize().expect("it is there");
        root.join("relay.db")
    }

    fn copy(&self) -> PathBuf {
        self.directory.path().join("copy.db")
    }

    fn restore(&self, is_settling: bool) -> Result<Restored, RestoreError> {
        Restore::begin(&self.database())?.run(&self.copy(), is_settling, &|_| {})
    }

    fn start(&self) -> Result<Sqlite, OpenError> {
        try_open(&settings(&self.directory), Arc::new(SystemClock::new()))
    }

    /// Changes the database while no server has it.
    fn change(&self, sql: &str) {
        let database = Connection::open(self.database()).expect("it opens");
        database.execute_batch(sql).expect("good SQL");
    }

    /// All files of the directory and their bytes, but the shared memory and the lock.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.directory.path()).expect("a directory");
        let files = entries.map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            (name.into_owned(), std::fs::read(&path).expect("a file"))
        });
        let is_content = |name: &str| !name.ends_with("-shm") && name != "relay.db.lock";
        files.filter(|(name, _)| is_content(name)).collect()
    }
}

/// The keys of the events in the database, and whether it is held.
fn content(store: &Sqlite) -> (Vec<String>, bool) {
    let keys = store.read_blocking(|sql| {
        let mut statement = sql.prepare("SELECT idempotency_key FROM intents ORDER BY id")?;
        let keys = statement.query_map([], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    });
    (keys.expect("a read"), store.is_held())
}

#[test]
fn a_restored_backup_is_held_and_the_database_before_is_kept_whole() {
    let scene = Scene::new();
    let old = std::fs::read(scene.database()).expect("it is there");
    // As after a kill: the lock file names the event c.
    let newest: i64 = Connection::open(scene.database())
        .and_then(|sql| sql.query_row("SELECT max(id) FROM intents", [], |row| row.get(0)))
        .expect("a row");
    let lock = lock_file::acquire(&scene.database()).expect("nobody has it");
    lock_file::set_newest(lock.file(), newest).expect("written");
    drop(lock);
    let restored = scene.restore(false).expect("restored");
    let aside = restored.aside.expect("it is kept");
    let name = aside.file_name().expect("a name").to_string_lossy();
    assert!(name.starts_with("relay.db.before-2"), "{name}");
    assert_eq!(std::fs::read(&aside).expect("it is there"), old);
    assert_eq!(
        restored.comparison,
        Comparison {
            pending: vec![PendingOf {
                destination: "d".to_owned(),
                pending: 2,
                delivered: 0,
                absent: 0,
            }],
            newer: Some(1),
            problem: None,
            settled: 0,
            erased: 0,
        }
    );
    // The lock file doesn't ask for the event c.
    let store = scene.start().expect("it starts");
    assert_eq!(content(&store), (BEFORE.map(str::to_owned).to_vec(), true));
    store.stop();
    // The hold outlives a restart.
    let store = scene.start().expect("it starts");
    assert!(store.is_held());
    store.stop();
    let mut operator = Operator::writing(&scene.database()).expect("it opens");
    let hold = operator.hold().expect("a read").expect("it is held");
    assert_eq!(hold.aside.as_deref(), Some(aside.as_path()));
    assert!(operator.lift_hold().expect("written"));
    assert!(!operator.lift_hold().expect("written"));
    let store = scene.start().expect("it starts");
    assert!(!store.is_held());
    store.stop();
    let left = scene
        .files()
        .into_keys()
        .filter(|name| name.contains("restor"));
    assert_eq!(left.count(), 0, "nothing of the restore is left");
}

/// Runs a restore that is interrupted after a step. Returns the steps that were made.
fn interrupted(scene: &Scene, at: usize) -> Vec<Step> {
    let steps = RefCell::new(Vec::new());
    let run = AssertUnwindSafe(|| {
        let restore = Restore::begin(&scene.database()).expect("nobody has it");
        restore
            .run(&scene.copy(), false, &|step| {
                steps.borrow_mut().push(step);
                assert!(steps.borrow().len() != at, "interrupted");
            })
            .expect("restored");
    });
    let _ = catch_unwind(run);
    steps.into_inner()
}

#[test]
fn after_an_interruption_the_old_or_the_new_database_stands_or_all_is_refused() {
    let count = interrupted(&Scene::new(), usize::MAX).len();
    assert!(count > 9, "all steps");
    let (mut old, mut new, mut refused) = (0, 0, 0);
    for at in 1..=count {
        for is_abandoned in [false, true] {
            let scene = Scene::new();
            let steps = interrupted(&scene, at);
            let last = steps[at - 1];
            let is_marked = steps.contains(&Step::Marked) && last != Step::Unmarked;
            let mut wants_new = last == Step::Unmarked;
            if is_marked {
                refused += 1;
                let start = scene.start().err().expect("it is refused").to_string();
                let says = "a restore was interrupted: run relay restore FILE again, or relay \
                            restore --abandon (puts the old files back)";
                assert!(start.ends_with(says), "{start}");
                let command = Operator::writing(&scene.database()).err();
                assert_eq!(command.expect("it is refused").to_string(), start);
                wants_new = !is_abandoned;
                if is_abandoned {
                    let restore = Restore::begin(&scene.database()).expect("nobody has it");
                    restore.abandon().expect("the old files are back");
                } else {
                    scene.restore(false).expect("restored");
                }
            }
            let store = scene.start().expect("it starts");
            let (keys, is_held) = content(&store);
            store.stop();
            assert_eq!(is_held, wants_new, "{last:?}");
            if wants_new {
                new += 1;
                assert_eq!(keys, BEFORE, "{last:?}");
            } else {
                old += 1;
                assert_eq!(keys, AFTER, "{last:?}");
            }
        }
    }
    assert!(old > 0 && new > 0 && refused > 10, "{old} {new} {refused}");
}

#[test]
fn an_undoing_that_was_interrupted_is_made_again_and_keeps_the_newest_event() {
    let scene = Scene::new();
    let newest = |scene: &Scene| {
        let lock = lock_file::acquire(&scene.database()).expect("nobody has it");
        lock.record_writer().record().newest
    };
    let lock = lock_file::acquire(&scene.database()).expect("nobody has it");
    lock_file::set_newest(lock.file(), 5).expect("written");
    drop(lock);
    let steps = interrupted(&scene, 9);
    assert_eq!(steps.last(), Some(&Step::Moved(3)));
    // As if it was killed after the WAL was put back.
    let mut names = scene.files().into_keys();
    let aside = names.find(|name| name.starts_with("relay.db.before-"));
    let aside = scene.directory.path().join(aside.expect("it is kept"));
    std::fs::write(scene.directory.path().join("relay.db-wal"), "").expect("written");
    assert!(aside.is_file());
    let restore = || Restore::begin(&scene.database()).expect("nobody has it");
    restore().abandon().expect("the old files are back");
    assert_eq!(newest(&scene), 5);
    let again = restore().abandon().expect_err("nothing is interrupted");
    assert!(
        again.to_string().contains("no restore was interrupted"),
        "{again}"
    );
}

#[test]
fn an_undoing_that_cannot_read_the_marker_changes_nothing() {
    let scene = Scene::new();
    let steps = interrupted(&scene, 11);
    assert_eq!(steps.last(), Some(&Step::Placed));
    // As one of another user's: it is there, and can't be read.
    let marker = scene.directory.path().join("relay.db.restore");
    std::fs::remove_file(&marker).expect("it is there");
    std::os::unix::fs::symlink("relay.db.restore", &marker).expect("a link");
    let restore = Restore::begin(&scene.database()).expect("nobody has it");
    let refused = restore.abandon().expect_err("nobody knows").to_string();
    assert!(refused.contains("relay.db.restore: "), "{refused}");
    drop(restore);
    scene.start().map(|_| ()).expect_err("it is still refused");
}

#[test]
fn a_backup_that_is_damaged_or_none_changes_nothing() {
    let scene = Scene::new();
    let good = std::fs::read(scene.copy()).expect("it is there");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    for bad in [&good[..good.len() - 1], &flipped, b"", b"text"] {
        std::fs::write(scene.copy(), bad).expect("written");
        let before = scene.files();
        scene.restore(false).expect_err("it is damaged");
        assert_eq!(scene.files(), before);
    }
    let restore = Restore::begin(&scene.database()).expect("nobody has it");
    let itself = restore.run(&scene.database(), false, &|_| {});
    drop(restore);
    assert!(matches!(itself, Err(RestoreError::IsDatabase { .. })));
    let store = scene.start().expect("it starts");
    assert_eq!(content(&store), (AFTER.map(str::to_owned).to_vec(), false));
    // Nor beside a server.
    std::fs::write(scene.copy(), &good).expect("written");
    let refused = scene.restore(false).expect_err("a server has it");
    assert!(
        refused.to_string().contains("in use by another relay"),
        "{refused}"
    );
    store.stop();
}

const DELIVER_A: &str = "UPDATE deliveries SET state = 3, next_attempt_at = NULL
     WHERE intent_id = (SELECT id FROM intents WHERE idempotency_key = 'a')";

/// The states of the deliveries in the order of acceptance.
fn states(scene: &Scene) -> Vec<i64> {
    let sql = Connection::open(scene.database()).expect("it opens");
    let mut statement = sql
        .prepare("SELECT state FROM deliveries ORDER BY intent_id")
        .expect("good SQL");
    let states = statement.query_map([], |row| row.get(0)).expect("rows");
    states.map(|state| state.expect("a state")).collect()
}

#[test]
fn settling_marks_exactly_those_as_delivered_that_the_old_database_has_delivered() {
    for is_at_once in [true, false] {
        let scene = Scene::new();
        scene.change(DELIVER_A);
        let restored = scene.restore(is_at_once).expect("restored");
        let pending = &restored.comparison.pending[0];
        assert_eq!(
            (pending.pending, pending.delivered, pending.absent),
            (2, 1, 0)
        );
        assert_eq!(restored.comparison.settled, i64::from(is_at_once));
        if !is_at_once {
            assert_eq!(states(&scene), [0, 0]);
            // Beside a server that holds.
            let store = scene.start().expect("it starts");
            let mut operator = Operator::writing(&scene.database()).expect("it opens");
            let settled = operator.settle_held().expect("settled");
            assert_eq!(settled.settled, 1);
            assert_eq!(operator.settle_held().expect("settled").settled, 0);
            store.stop();
        }
        assert_eq!(states(&scene), [3, 0]);
        let mut operator = Operator::writing(&scene.database()).expect("it opens");
        operator.lift_hold().expect("written");
        let refused = operator.settle_held().expect_err("it is not held");
        assert!(matches!(refused, RestoreError::NotHeld { .. }), "{refused}");
    }
}

#[test]
fn a_restore_over_a_held_database_knows_what_the_one_before_it_has_delivered() {
    for is_at_once in [true, false] {
        let scene = Scene::new();
        scene.change(DELIVER_A);
        scene.restore(false).expect("restored");
        let restored = scene.restore(is_at_once).expect("restored again");
        let comparison = &restored.comparison;
        let pending = &comparison.pending[0];
        assert_eq!(
            (pending.pending, pending.delivered, pending.absent),
            (2, 1, 0)
        );
        assert_eq!((&comparison.problem, comparison.newer), (&None, Some(1)));
        assert_eq!(comparison.settled, i64::from(is_at_once));
        if !is_at_once {
            let mut operator = Operator::writing(&scene.database()).expect("it opens");
            assert_eq!(operator.settle_held().expect("settled").settled, 1);
        }
        assert_eq!(states(&scene), [3, 0]);
    }
}

#[test]
fn a_restore_over_a_held_database_knows_nothing_without_the_one_before_it() {
    let scene = Scene::new();
    scene.change(DELIVER_A);
    scene.change("INSERT INTO erasures SELECT id, 12345 FROM intents WHERE idempotency_key = 'b'");
    let first = scene.restore(false).expect("restored").aside;
    std::fs::remove_file(first.expect("it is kept")).expect("it is there");
    let restored = scene.restore(true).expect("restored again");
    let problem = restored.comparison.problem.expect("nobody knows");
    assert!(problem.contains("can't be read"), "{problem}");
    assert_eq!(restored.comparison.settled, 0);
    assert_eq!(restored.comparison.newer, None);
    // The held database itself tells of erasures.
    assert_eq!(restored.comparison.erased, 1);
    let mut operator = Operator::writing(&scene.database()).expect("it opens");
    let refused = operator.settle_held().expect_err("nobody knows");
    assert!(refused.to_string().contains("can't be read"), "{refused}");
}

#[test]
fn an_old_database_that_tells_nothing_is_replaced_and_kept_nevertheless() {
    for (change, says) in [
        (
            "UPDATE settings SET value = 'x' WHERE name = 'database_id'",
            "another database",
        ),
        (
            "DELETE FROM settings WHERE name = 'database_id'",
            "doesn't tell",
        ),
        ("", "can't be read"),
    ] {
        let scene = Scene::new();
        scene.change(DELIVER_A);
        if change.is_empty() {
            std::fs::write(scene.database(), vec![7; 10_000]).expect("written");
        } else {
            scene.change(change);
        }
        let restored = scene.restore(true).expect("restored");
        let comparison = restored.comparison;
        let problem = comparison.problem.expect("a problem");
        assert!(problem.contains(says), "{problem}");
        assert_eq!((comparison.newer, comparison.settled), (None, 0));
        assert_eq!(states(&scene), [0, 0]);
        assert!(restored.aside.expect("it is kept").is_file());
        let mut operator = Operator::writing(&scene.database()).expect("it opens");
        let refused = operator.settle_held().expect_err("nobody knows");
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

#[test]
fn a_backup_is_restored_where_there_is_no_database() {
    let scene = Scene::new();
    for name in ["relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"] {
        let _ = std::fs::remove_file(scene.directory.path().join(name));
    }
    // An interrupted one is undone to nothing.
    let steps = interrupted(&scene, 11);
    assert_eq!(steps.last(), Some(&Step::Placed));
    let restore = Restore::begin(&scene.database()).expect("nobody has it");
    restore.abandon().expect("undone");
    drop(restore);
    assert!(!scene.database().exists());
    let restored = scene.restore(false).expect("restored");
    assert_eq!(restored.aside, None);
    let store = scene.start().expect("it starts");
    assert_eq!(content(&store), (BEFORE.map(str::to_owned).to_vec(), true));
    store.stop();
}

#[test]
fn an_event_that_was_erased_after_the_backup_is_erased_in_it() {
    let scene = Scene::new();
    scene.change("INSERT INTO erasures SELECT id, 12345 FROM intents WHERE idempotency_key = 'a'");
    let restored = scene.restore(false).expect("restored");
    assert_eq!(restored.comparison.erased, 1);
    let sql = Connection::open(scene.database()).expect("it opens");
    let left: Vec<(Vec<u8>, Option<i64>)> = sql
        .prepare("SELECT body, gone FROM intents ORDER BY id")
        .expect("good SQL")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    assert_eq!(left, [(Vec::new(), Some(1)), (b"{}".to_vec(), None)]);
    let at: i64 = sql
        .query_row("SELECT at FROM erasures", [], |row| row.get(0))
        .expect("it is remembered");
    assert_eq!(at, 12345);
    assert_eq!(states(&scene), [4, 0]);
}

#[test]
fn an_event_that_was_delivered_and_then_erased_after_the_backup_is_no_dead_letter() {
    for is_settling in [true, false] {
        let scene = Scene::new();
        scene.change(DELIVER_A);
        scene.change("INSERT INTO erasures SELECT id, 12345 FROM intents");
        let restored = scene.restore(is_settling).expect("restored");
        assert_eq!(restored.comparison.erased, 2);
        assert_eq!(states(&scene), [3, 4]);
    }
}

#[test]
fn a_bulk_operation_that_was_under_way_in_the_backup_is_cancelled() {
    let scene = Scene::new();
    let store = scene.start().expect("it starts");
    let jobs = store.create_bulk(NewBulk::discard(BulkFilter::waiting()));
    let jobs = jobs.expect("an operation");
    std::fs::remove_file(scene.copy()).expect("it is there");
    store
        .back_up(&scene.copy(), 0, StopCheck::never())
        .expect("made");
    store.stop();
    let restored = scene.restore(false).expect("restored");
    let told: Vec<_> = restored.cancelled.iter().map(|job| job.id).collect();
    assert_eq!((told.len(), told), (1, jobs.clone()));
    let store = scene.start().expect("it starts");
    let job = &store.bulk_operations(&jobs).expect("a read")[0];
    assert!(job.is_cancelled && job.ended_at.is_some(), "{job:?}");
    let under_way = store.bulk_operations(&[]).expect("a read");
    assert!(under_way.is_empty(), "{under_way:?}");
    store.stop();
}

#[test]
fn a_copy_that_an_interrupted_restore_left_is_removed_by_a_start_and_by_an_undoing() {
    let scene = Scene::new();
    let before = scene.files();
    let left = ["relay.db.restoring", "relay.db.restoring-wal"];
    let leave = || {
        for name in left {
            std::fs::write(scene.directory.path().join(name), "a part").expect("written");
        }
    };
    leave();
    let undo = || Restore::begin(&scene.database()).and_then(|restore| restore.abandon());
    undo().expect("undone");
    assert!(scene.files() == before, "{:?}", scene.files().keys());
    let refused = undo().expect_err("nothing is left");
    assert!(
        matches!(refused, RestoreError::NotInterrupted { .. }),
        "{refused}"
    );
    leave();
    scene.start().expect("it starts").stop();
    assert!(left.iter().all(|name| !scene.files().contains_key(*name)));
}
