//! Backups beside a load and faults, and restores that are killed at any operation.

mod taken;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::judge::{digest, number};
use crate::support::Answer;
use crate::world::World;

const INTERRUPTED: &str = "a restore was interrupted: run relay restore FILE again";

/// Runs a command of the binary in the world, under the shim if `is_watched`.
fn run(world: &World, is_watched: bool, args: &[&str]) -> Output {
    let mut command = world.command();
    if !is_watched {
        command.env_remove("LD_PRELOAD");
    }
    command
        .args(args)
        .stdout(Stdio::piped())
        .output()
        .expect("the binary runs")
}

fn assert_done(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens")
}

/// The bodies of the events in a database, by the load's numbers.
fn bodies(path: &Path) -> HashMap<u64, [u8; 32]> {
    let sql = open(path);
    let check: String = sql
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(check, "ok");
    let mut statement = sql.prepare("SELECT body FROM intents").expect("good SQL");
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0));
    rows.expect("rows")
        .map(|body| {
            let body = body.expect("a row");
            (number(&body).expect("the load's"), digest(&body))
        })
        .collect()
}

/// The files of a directory.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| {
            let bytes = std::fs::read(&path).expect("a file");
            (path, bytes)
        })
        .collect()
}

/// Puts the files of a directory back as they were.
fn put_back(directory: &Path, saved: &[(PathBuf, Vec<u8>)]) {
    std::fs::remove_dir_all(directory).expect("it is there");
    std::fs::create_dir(directory).expect("it is gone");
    for (path, bytes) in saved {
        std::fs::write(path, bytes).expect("written");
    }
}

/// The database that stands, held or not; none while all is refused.
fn standing(world: &World) -> Option<bool> {
    let output = run(world, false, &["stats", "--json"]);
    if output.status.success() {
        let figures: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        return figures["held"].as_bool();
    }
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(INTERRUPTED), "{text}");
    None
}

#[test]
fn a_restore_that_is_killed_at_any_operation_leaves_the_old_or_the_new_database() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut world = World::new();
    world.answers(|_| Answer::status(503).header("Retry-After", "600"));
    world.start();
    let load = world.load(seed, 4, 400);
    world.acknowledged(60);
    assert_done(&run(&world, false, &["backup", "copy.db"]));
    world.acknowledged(120);
    load.stop();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let (old, new) = (
        bodies(&world.database()),
        bodies(&world.directory.path().join("copy.db")),
    );
    assert!(old.len() > new.len() && new.keys().all(|n| old.contains_key(n)));
    let saved = files(&world.data());
    world.records = true;
    world.shim.forget_log();
    assert_done(&run(&world, true, &["restore", "copy.db"]));
    let count = world.shim.records();
    assert!(count > 15, "{count} operations");

    world.answers(|_| Answer::status(200));
    let before = world.journal.hits().len();
    let step = crate::choose(count.div_ceil(14), 1);
    let (mut times_old, mut times_new, mut times_refused) = (0, 0, 0);
    for record in (1..=count).step_by(usize::try_from(step).expect("few")) {
        put_back(&world.data(), &saved);
        world.records = true;
        world.shim.forget_log();
        world.shim.kill_at_record(record);
        run(&world, true, &["restore", "copy.db"]);
        world.shim.kill_at_record(0);
        world.records = false;
        let mut is_new = standing(&world);
        if is_new.is_none() {
            times_refused += 1;
            let refused = world.try_start().expect_err("it is refused");
            assert!(refused.log.contains(INTERRUPTED), "{}", refused.log);
            let way: &[&str] = if record % 2 == 0 {
                &["restore", "copy.db"]
            } else {
                &["restore", "--abandon"]
            };
            assert_done(&run(&world, false, way));
            is_new = standing(&world);
            assert_eq!(is_new, Some(record % 2 == 0), "operation {record}");
        }
        if is_new == Some(true) {
            times_new += 1;
            assert_eq!(bodies(&world.database()), new, "operation {record}");
            // Its start sends nothing.
            world.start();
            crate::pause(Duration::from_millis(crate::choose(100, 300)));
            assert!(world.stop().status.success());
            assert_eq!(standing(&world), Some(true));
        } else {
            times_old += 1;
            assert_eq!(bodies(&world.database()), old, "operation {record}");
        }
        assert_eq!(world.journal.hits().len(), before, "operation {record}");
    }
    println!(
        "killed while restoring: {count} operations; {times_old} times old, {times_new} times new, \
         {times_refused} times refused before"
    );
    assert!(times_old > 0 && times_new > 0 && times_refused > 0);
}
