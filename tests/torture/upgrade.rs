//! The migration of a database from version 1 to the newest: with kills at any operation, with
//! power failures, under load.

mod checks;
mod version_1;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::Connection;

use crate::images::{Disk, Survival, parse};
use crate::support::Answer;
use crate::upgrade::checks::{copy_files, look, version_in, version_of};
use crate::upgrade::version_1::{
    EVENTS, MIGRATIONS, NEWEST, OLD, Wal, body_of, is_event, old_world, to_version_1,
};
use crate::world::World;

/// Serves the database until nothing waits: version 1's keys are still known, and its waiting
/// deliveries arrive.
fn serve_and_judge(world: &mut World) {
    world.start();
    let target = world.target();
    for n in [OLD, OLD + 1, OLD + EVENTS / 2, OLD + EVENTS - 1] {
        // The judge compares the ids.
        let sent = target.try_once(n, is_event(n), &body_of(n));
        assert!(sent.id.is_some(), "{n} was answered {:?}", sent.status);
        world.journal.sent(sent);
    }
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert_eq!(version_of(&world.database(), &world.journal), Ok(NEWEST));
    let verdict = world.journal.judge(&world.database());
    assert_eq!(verdict.wrong, Vec::<String>::new());
    let fifth = usize::try_from(EVENTS / 5).expect("few");
    assert_eq!(
        (verdict.pending, verdict.dead, verdict.delivered),
        (0, fifth, 4 * fifth),
        "{verdict}"
    );
}

/// Slows the receiver down, so that the records of a start hold few operations of deliveries.
fn answer_slowly(world: &World) {
    world.answers(|_| Answer::status(200).after(Duration::from_millis(100)));
}

/// `many` numbers of 1 to `count`, evenly spread.
fn spread(count: u64, many: u64) -> Vec<u64> {
    let many = many.min(count);
    (0..many)
        .map(|at| 1 + at * (count - 1) / (many - 1).max(1))
        .collect()
}

#[test]
fn a_kill_during_the_migration_leaves_the_old_or_the_new_version() {
    let _alone = crate::alone();
    for wal in [Wal::Emptied, Wal::Left] {
        let mut world = old_world(wal);
        assert_eq!(version_in(&world.data(), &world.journal), Ok(1));
        world.records = true;
        answer_slowly(&world);
        world.start();
        let count = world.shim.records();
        world.kill();
        assert_eq!(version_in(&world.data(), &world.journal), Ok(NEWEST));

        let mut found = [0; 2];
        for record in spread(count, crate::choose(13, u64::MAX)) {
            let mut world = old_world(wal);
            world.records = true;
            answer_slowly(&world);
            world.shim.kill_at_record(record);
            // With a kill near the end of the start, the process may become ready before it.
            if world.try_start().is_ok() {
                world.kill();
            }
            world.journal.fault();
            world.shim.kill_at_record(0);
            world.records = false;
            world.answers(|_| Answer::status(200));
            match version_in(&world.data(), &world.journal) {
                Ok(1) => found[0] += 1,
                Ok(_) => found[1] += 1,
                Err(wrong) => panic!("killed at operation {record} of {count}: {wrong}"),
            }
            serve_and_judge(&mut world);
        }
        println!(
            "killed while migrating, WAL {wal:?}: {count} operations, {} times old and {} times new",
            found[0], found[1]
        );
        assert!(found[0] > 0 && found[1] > 0, "{found:?}");
    }
}

#[test]
fn a_power_failure_during_the_migration_leaves_the_old_or_the_new_version() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (images, every) = crate::choose((60, 15), (1_000, 40));
    for wal in [Wal::Emptied, Wal::Left] {
        let mut world = old_world(wal);
        let files = ["relay.db", "relay.db-wal"].map(|name| {
            let bytes = std::fs::read(world.data().join(name));
            (name.to_owned(), bytes.unwrap_or_default())
        });
        let files = files.into_iter().filter(|(_, bytes)| !bytes.is_empty());
        world.records = true;
        answer_slowly(&world);
        world.start();
        let started = world.shim.records();
        world.answers(|_| Answer::status(200));
        world.drain();
        // Includes the checkpoint of an orderly stop, which overwrites the old schema.
        world.stop();
        let ops = parse(&world.shim.log());

        let last = u64::try_from(ops.len()).expect("a number");
        let mut moments: Vec<u64> = (0..images)
            // The migration is among the first operations.
            .map(|at| random.random_range(0..=if at % 4 == 0 { last } else { started }))
            .collect();
        moments.sort_unstable();
        let mut disk = Disk::holding(files.collect(), &ops);
        let mut done = 0;
        let mut found = [0; 2];
        let mut served = 0;
        for (at, moment) in moments.into_iter().enumerate() {
            while done < moment {
                disk.apply(&ops[usize::try_from(done).expect("a 64-bit machine")]);
                done += 1;
            }
            let survival = Survival::random(&mut random);
            let image = tempfile::tempdir().expect("a directory");
            disk.write_to(image.path(), survival, &mut random);
            match version_in(image.path(), &world.journal) {
                // After the new version has served, no failure brings the old one back.
                Ok(1) if moment < started => found[0] += 1,
                Ok(NEWEST) => found[1] += 1,
                Ok(_) => {
                    panic!("served, and old again: operation {moment} of {last}, {survival:?}")
                }
                Err(wrong) => panic!("after operation {moment} of {last}, {survival:?}: {wrong}"),
            }
            if at % every == 0 {
                let mut next = World::new();
                copy_files(image.path(), &next.data());
                next.start();
                next.drain();
                let ended = next.stop();
                assert!(ended.status.success(), "{}", ended.log);
                assert_eq!(version_of(&next.database(), &world.journal), Ok(NEWEST));
                served += 1;
            }
        }
        println!(
            "power failures while migrating, WAL {wal:?}: {last} operations, {started} until ready, {} times old and {} times new, {served} of them served",
            found[0], found[1]
        );
        assert!(found[0] > 0 && found[1] > 0, "{found:?}");
    }
}

/// The same checks find the result of a migration without a transaction.
#[test]
fn the_checks_find_a_migration_without_a_transaction() {
    let world = old_world(Wal::Emptied);
    let version = || version_in(&world.data(), &world.journal);
    assert_eq!(version(), Ok(1));
    let sql = Connection::open(world.database()).expect("the database opens");
    for (migration, to) in MIGRATIONS.into_iter().zip(2..) {
        for step in migration.split_inclusive(';') {
            if step.trim().is_empty() {
                continue;
            }
            sql.execute_batch(step).expect("a step");
            let wrong = version().expect_err("a step was made, and the version stayed");
            let says = if to == 2 {
                "looks otherwise"
            } else {
                "in between"
            };
            assert!(wrong.contains(says), "{wrong}");
        }
        sql.pragma_update(None, "user_version", to)
            .expect("a pragma");
        if to < NEWEST {
            let wrong = version().expect_err("one migration was made, and not the next");
            assert!(wrong.contains("in between"), "{wrong}");
        }
    }
    assert_eq!(version(), Ok(NEWEST));
    // Other damage by a migration is found, too.
    for (loss, event) in [
        ("DELETE FROM intents WHERE id", 0),
        ("DELETE FROM deliveries WHERE intent_id", 1),
        ("DELETE FROM attempts WHERE intent_id", 2),
        (
            "UPDATE deliveries SET state = 4, last_error = '' WHERE intent_id",
            3,
        ),
        ("DELETE FROM idempotency WHERE intent_id", 5),
        ("UPDATE intents SET body = x'7b7d' WHERE id", 6),
        ("UPDATE idempotency SET digest = 0 WHERE intent_id", 7),
        ("UPDATE key_sweep SET swept_to", 8),
        ("DELETE FROM key_sweep WHERE swept_to", EVENTS - 1),
        ("INSERT INTO key_sweep SELECT id FROM intents WHERE id", 9),
    ] {
        let row = format!("(SELECT id FROM intents ORDER BY id LIMIT 1 OFFSET {event})");
        sql.execute_batch(&format!("BEGIN; {loss} = {row}"))
            .expect("a loss");
        let found = look(&sql, &world.journal).expect("it can be read");
        assert!(found.is_err(), "{loss}");
        sql.execute_batch("ROLLBACK").expect("as it was");
    }
    assert_eq!(version(), Ok(NEWEST));
}

#[test]
fn nothing_is_lost_by_alternating_versions_under_load() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let cycles = crate::choose(4, 20);
    let mut world = old_world(Wal::Left);
    world.answers(|arrival| {
        // A tenth of the attempts fail at first.
        let fails = arrival.header("relay-attempt") == "1" && arrival.body.len().is_multiple_of(10);
        Answer::status(if fails { 500 } else { 200 })
    });
    let mut slowest = world.start();
    let load = world.load(seed, 6, 400);
    let mut died_migrating = 0;
    for cycle in 0..cycles {
        let before = world.journal.acknowledged();
        world.acknowledged(before + 100);
        crate::pause(Duration::from_millis(random.random_range(0..300)));
        let ended = if cycle % 2 == 0 {
            world.kill()
        } else {
            let ended = world.stop();
            assert!(ended.status.success(), "{}", ended.log);
            ended
        };
        let migrated = format!("from schema version 1 to {NEWEST}");
        assert!(ended.log.contains(&migrated), "{}", ended.log);
        let wal = if random.random() {
            Wal::Left
        } else {
            Wal::Emptied
        };
        to_version_1(&world.database(), wal);
        assert_eq!(version_in(&world.data(), &world.journal), Ok(1));
        if cycle % 4 >= 2 {
            // Some of the migrations are killed and begin again.
            world.records = true;
            world.shim.forget_log();
            world.shim.kill_at_record(random.random_range(1..=20));
            if world.try_start().is_ok() {
                world.kill();
            } else {
                died_migrating += 1;
            }
            world.journal.fault();
            world.shim.kill_at_record(0);
            world.records = false;
            if version_in(&world.data(), &world.journal) == Ok(NEWEST) {
                to_version_1(&world.database(), wal);
            }
            assert_eq!(version_in(&world.data(), &world.journal), Ok(1));
        }
        slowest = slowest.max(world.start());
    }
    load.stop();
    world.drain();
    world.stop();
    assert_eq!(version_of(&world.database(), &world.journal), Ok(NEWEST));
    let verdict = world
        .journal
        .assert_no_violations("back and forth", &world.database());
    println!(
        "back and forth: {cycles} cycles, {died_migrating} deaths while migrating, ready within {slowest:?}"
    );
    let dead = usize::try_from(EVENTS / 5).expect("few");
    assert_eq!((verdict.pending, verdict.dead), (0, dead));
    assert!(died_migrating > 0);
}
