//! Power failures: at any moment, unsynced operations may be lost, reordered or torn.

use std::collections::HashMap;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::images::{Disk, Op, Survival, parse};
use crate::judge::{Journal, digest, number};
use crate::world::World;

/// Records a load through all phases of a database: creation, writes, deliveries, checkpoints.
fn recorded(seed: u64, events: usize) -> (World, Vec<Op>) {
    let mut world = World::new();
    world.records = true;
    world.start();
    let load = world.load(seed, 4, 1_500);
    world.acknowledged(events);
    load.stop();
    world.kill();
    let ops = parse(&world.shim.log());
    (world, ops)
}

/// The first violation in a database after a power failure, given the requests that were
/// acknowledged at `records`.
fn wrong_with(directory: &Path, journal: &Journal, records: u64) -> Option<String> {
    let acknowledged = journal.acknowledged_by(records);
    let path = directory.join("relay.db");
    if !path.exists() {
        return (!acknowledged.is_empty()).then(|| "the database is gone".to_owned());
    }
    let looked = || -> rusqlite::Result<(String, HashMap<u64, [u8; 32]>)> {
        let sql = rusqlite::Connection::open(&path)?;
        let check: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let version: i64 = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            return Ok((check, HashMap::new()));
        }
        let broken: i64 =
            sql.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
                row.get(0)
            })?;
        let mut statement = sql.prepare("SELECT body FROM intents")?;
        let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        let mut found = HashMap::new();
        for body in bodies {
            let body = body?;
            found.insert(number(&body).unwrap_or(u64::MAX), digest(&body));
        }
        Ok((
            if broken == 0 {
                check
            } else {
                "a broken reference".to_owned()
            },
            found,
        ))
    };
    let (check, found) = match looked() {
        Ok(found) => found,
        Err(error) => return Some(format!("it can't be read: {error}")),
    };
    if check != "ok" {
        return Some(check);
    }
    for sent in acknowledged {
        if found.get(&sent.n) != Some(&sent.body) {
            return Some(format!("{} ({:?}) is lost", sent.n, sent.id));
        }
    }
    let bodies = journal.bodies();
    let invented = found.keys().find(|n| !bodies.contains_key(n));
    invented.map(|n| format!("{n} was never sent"))
}

/// The moments to test: some random ones, and some right after an answer, when most can be lost.
fn moments(journal: &Journal, ops: &[Op], count: usize, random: &mut StdRng) -> Vec<u64> {
    let last = u64::try_from(ops.len()).expect("a number");
    let answers = journal.acknowledged_by(last);
    let mut moments: Vec<u64> = (0..count)
        .map(|at| {
            if at % 2 == 0 {
                random.random_range(0..=last)
            } else {
                answers[random.random_range(0..answers.len())].records
            }
        })
        .collect();
    moments.sort_unstable();
    moments
}

/// Tests an image of each moment; returns the first violation.
fn first_wrong(
    journal: &Journal,
    ops: &[Op],
    moments: &[u64],
    random: &mut StdRng,
    mut also: impl FnMut(usize, &Path),
) -> Option<String> {
    let mut disk = Disk::default();
    let mut done = 0;
    for (at, &moment) in moments.iter().enumerate() {
        while done < moment {
            disk.apply(&ops[usize::try_from(done).expect("a 64-bit machine")]);
            done += 1;
        }
        let survival = Survival::random(random);
        let image = tempfile::tempdir().expect("a directory");
        disk.write_to(image.path(), survival, random);
        also(at, image.path());
        if let Some(wrong) = wrong_with(image.path(), journal, moment) {
            return Some(format!(
                "after operation {moment} of {}, {survival:?}: {wrong}",
                ops.len()
            ));
        }
    }
    None
}

#[test]
fn power_failures_lose_nothing_that_was_acknowledged() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (events, images, every) = crate::choose((600, 300, 60), (2_500, 3_000, 100));
    let (world, ops) = recorded(seed, events);
    let moments = moments(&world.journal, &ops, images, &mut random);
    let mut started = 0;
    let wrong = first_wrong(&world.journal, &ops, &moments, &mut random, |at, image| {
        // Some images are served by the real binary, which checks more of a file than SQLite does.
        if at % every == 0 {
            let mut next = World::new();
            for entry in std::fs::read_dir(image).expect("an image").flatten() {
                let to = next.data().join(entry.file_name());
                std::fs::copy(entry.path(), to).expect("a copy");
            }
            next.start();
            let ended = next.stop();
            assert!(ended.status.success(), "{}", ended.log);
            started += 1;
        }
    });
    println!(
        "power failures: {} operations, {} acknowledged, {images} images, {started} of them served",
        ops.len(),
        world.journal.acknowledged(),
    );
    assert_eq!(wrong, None);
}

/// The same checks find the loss under `synchronous=NORMAL`, which leaves out the WAL's syncs.
#[test]
fn the_checks_find_commits_that_were_not_synced() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (world, ops) = recorded(seed, 200);
    let wal = ops.iter().find_map(|op| match op {
        Op::Open { file, path } if path.ends_with("-wal") => Some(*file),
        _ => None,
    });
    let wal = wal.expect("a WAL");
    // The numbers of the operations don't change.
    let careless: Vec<Op> = ops
        .into_iter()
        .map(|op| match op {
            Op::Sync { file } if file == wal => Op::Sync { file: u32::MAX },
            op => op,
        })
        .collect();
    let moments = moments(&world.journal, &careless, 200, &mut random);
    let wrong = first_wrong(&world.journal, &careless, &moments, &mut random, |_, _| {});
    println!("without syncs: {wrong:?}");
    assert!(wrong.is_some(), "nobody noticed");
}
