//! Backups beside a load and faults, and restores that are killed at any operation.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
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

/// Kills a command at a random moment; whether it had ended well before.
fn kill_within(mut command: Command, time: Duration) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary starts");
    crate::pause(time);
    let status = child.try_wait().expect("a child");
    let _ = child.kill();
    let _ = child.wait();
    status.is_some_and(|status| status.success())
}

#[test]
fn backups_beside_a_load_and_faults_are_whole_or_absent_and_hold_what_was_acknowledged() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let rounds = crate::choose(6, 100);
    let mut world = World::new();
    world.start();
    let load = world.load(seed, 4, 2_000);
    let (mut whole, mut absent, mut missing) = (0, 0, 0);
    for round in 0..rounds {
        let begun = world.journal.now();
        let name = format!("copy-{round}.db");
        let path = world.directory.path().join(&name);
        match round % 3 {
            // The backup is killed at a random moment.
            0 => {
                let mut command = world.command();
                command.env_remove("LD_PRELOAD").args(["backup", &name]);
                let time = Duration::from_millis(random.random_range(1..120));
                let is_made = kill_within(command, time);
                assert!(path.exists() || !is_made);
            }
            // The server is killed beside it.
            1 => {
                let mut command = world.command();
                command.env_remove("LD_PRELOAD").args(["backup", &name]);
                let mut child = command.stdout(Stdio::null()).spawn().expect("it starts");
                crate::pause(Duration::from_millis(random.random_range(1..60)));
                world.kill();
                child.wait().expect("it ends");
                world.start();
            }
            _ => assert_done(&run(&world, false, &["backup", &name])),
        }
        if !path.exists() {
            absent += 1;
            continue;
        }
        whole += 1;
        assert_done(&run(&world, false, &["verify", &name]));
        let held = bodies(&path);
        let sent = world.journal.bodies();
        for acknowledged in world.journal.acknowledged_by(u64::MAX) {
            if acknowledged.ended < begun {
                missing += usize::from(held.get(&acknowledged.n) != Some(&acknowledged.body));
            }
        }
        // A request that is under way now is recorded once it is answered.
        let invented = held
            .iter()
            .filter(|(n, body)| sent.get(n).is_some_and(|known| known != *body));
        assert_eq!(invented.count(), 0, "altered");
    }
    load.stop();
    world.drain();
    assert!(world.stop().status.success());
    println!("backups: {whole} whole, {absent} absent, {missing} lost");
    assert_eq!(missing, 0);
    assert!(whole >= rounds / 3 && world.journal.acknowledged() > 0);
    // The last one, restored: all of it is there, and nothing of it is sent.
    let copies = (0..rounds).rev().map(|round| format!("copy-{round}.db"));
    let last = copies
        .into_iter()
        .find(|name| world.directory.path().join(name).exists());
    let last = last.expect("a backup");
    let held = bodies(&world.directory.path().join(&last));
    let arrivals = world.journal.hits().len();
    assert_done(&run(&world, false, &["restore", &last]));
    world.start();
    crate::pause(Duration::from_millis(500));
    assert!(world.stop().status.success());
    assert_eq!(bodies(&world.database()), held);
    assert_eq!(
        world.journal.hits().len(),
        arrivals,
        "nothing is sent while held"
    );
}
