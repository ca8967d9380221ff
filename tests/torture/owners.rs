//! Files of a database that are removed or replaced while a server uses them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::{Connection, OpenFlags};

use crate::judge::number;
use crate::world::{Ended, World, send};

const LOCK: &str = "relay.db.lock";

/// Asserts that a server ended because a file was removed or replaced.
fn assert_ended_for_a_lost_file(ended: &Ended, name: &str) {
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    let last = ended.log.lines().last().unwrap_or_default();
    let said = format!("{name} was removed or replaced while relay used it");
    assert!(last.contains(&said), "{}", ended.log);
}

/// The first and the last row of the events with these numbers.
fn rows(database: &Path, numbers: &Range<u64>) -> Option<(i64, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let sql = Connection::open_with_flags(database, flags).expect("the database opens");
    let mut statement = sql
        .prepare("SELECT id, body FROM intents ORDER BY id")
        .expect("good SQL");
    let rows = statement
        .query_map([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .expect("rows");
    let fitting = rows
        .map(|row| row.expect("a row"))
        .filter(|(_, body)| number(body).is_some_and(|n| numbers.contains(&n)))
        .map(|(row, _)| row)
        .collect::<Vec<_>>();
    Some((*fitting.first()?, *fitting.last()?))
}

/// The server that commits numbers the rows in the order of its commits, and a second server begins
/// after the last row that it found. If the first one had gone on, its rows would be among the
/// second's.
#[test]
fn a_server_whose_lock_file_is_removed_ends_before_a_second_one_writes() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let rounds = crate::choose(4, 40);
    let mut world = World::new();
    let (mut slowest, mut waited) = (Duration::ZERO, 0);
    for round in 0..rounds {
        world.start();
        let of_first = world.first..world.first + 1_000_000_000;
        let load = world.load(seed ^ round, 4, 1_000);
        let before = world.journal.acknowledged();
        world.acknowledged(before + 100);
        crate::pause(Duration::from_millis(random.random_range(0..20)));
        let mut first = world.set_aside();
        let first_process = first.process();
        // Every other time it is stopped (SIGSTOP) at a random moment, and goes on once the second
        // one was refused: the lock file is gone, and the second guard is not.
        let is_stopped = round % 2 == 1;
        if is_stopped {
            send("-STOP", first_process);
        }
        world.journal.fault();
        std::fs::remove_file(world.data().join(LOCK)).expect("it is there");
        let mut removed = Instant::now();
        let end = {
            let journal = Arc::clone(&world.journal);
            std::thread::spawn(move || {
                let ended = first.ended(&journal);
                (first, ended, Instant::now())
            })
        };
        let started = world.try_start();
        let of_second = world.first..world.first + 1_000_000_000;
        let serve = |world: &mut World| {
            let load = world.load(!seed ^ round, 4, 1_000);
            let before = world.journal.acknowledged();
            world.acknowledged(before + 50);
            load
        };
        let second_load = started.is_ok().then(|| serve(&mut world));
        if is_stopped {
            removed = Instant::now();
            send("-CONT", first_process);
        }
        let (first, ended, ended_at) = end.join().expect("it ends");
        slowest = slowest.max(ended_at.saturating_duration_since(removed));
        assert_ended_for_a_lost_file(&ended, LOCK);
        assert!(!is_stopped || started.is_err(), "the first one runs");
        if let Err(refused) = started {
            let said = format!("process {first_process}, whose lock file was removed");
            assert!(refused.log.contains(&said), "{}", refused.log);
            waited += 1;
            world.start();
        }
        let second_load = second_load.unwrap_or_else(|| serve(&mut world));
        let (_, last_of_first) = rows(&world.database(), &of_first).expect("it accepted some");
        let (first_of_second, _) = rows(&world.database(), &of_second).expect("it accepted some");
        assert!(
            last_of_first < first_of_second,
            "round {round}: the first wrote {last_of_first} after the second began at {first_of_second}"
        );
        // Requests that the first one left unanswered are sent again, under the same keys.
        first.hand_over(&world);
        let before = world.journal.acknowledged();
        world.acknowledged(before + 100);
        load.stop();
        second_load.stop();
        world.drain();
        let ended = world.stop();
        assert!(ended.status.success(), "{}", ended.log);
    }
    let verdict = world
        .journal
        .assert_no_violations("removed lock", &world.database());
    println!(
        "removed lock: {rounds} rounds, the first ended within {slowest:?}, {waited} times a second one \
         was refused meanwhile"
    );
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
}

#[test]
fn a_server_ends_when_one_of_its_files_is_moved_and_the_next_start_has_lost_nothing() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let rounds = crate::choose(1, 10);
    let mut world = World::new();
    world.start();
    let load = world.load(seed, 6, 1_000);
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        for name in ["relay.db", "relay.db-wal", "relay.db-shm", LOCK] {
            let before = world.journal.acknowledged();
            world.acknowledged(before + 100);
            let (path, aside) = (
                world.data().join(name),
                world.directory.path().join("aside"),
            );
            std::fs::rename(&path, &aside).expect("it is there");
            let moved = Instant::now();
            let ended = world.ended();
            slowest = slowest.max(moved.elapsed());
            assert_ended_for_a_lost_file(&ended, name);
            std::fs::rename(&aside, &path).expect("it is there");
            world.start();
        }
    }
    load.stop();
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let verdict = world
        .journal
        .assert_no_violations("moved files", &world.database());
    println!("moved files: {rounds} times each, ended within {slowest:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
}
