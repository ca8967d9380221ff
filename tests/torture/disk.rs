//! Disks that are full or fail.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::process::GRACE;
use crate::shim::{DATABASE, EDQUOT, EIO, ENOSPC, WAL};
use crate::support::until;
use crate::world::World;

#[test]
fn a_full_disk_refuses_writes_until_it_has_space_again() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let rounds = crate::choose(2, 20);
    let mut world = World::new();
    world.start();
    let load = world.load(seed, 6, 2_000);
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        world.acknowledged(200 * round);
        world.journal.fault();
        // A quota that is used up is a full disk, too.
        let errno = [ENOSPC, EDQUOT][round % 2];
        world.shim.fail_writes(errno, WAL | DATABASE, true);
        let refused = world.journal.refused();
        until("somebody is refused", || {
            (world.journal.refused() > refused).then_some(())
        });
        until("it isn't ready", || {
            let reply = world.client().get("/readyz");
            (reply.status == 503).then_some(())
        });
        crate::pause(crate::choose(
            Duration::from_millis(1_500),
            Duration::from_secs(5),
        ));
        let before = world.journal.acknowledged();
        world.journal.fault();
        world.shim.heal();
        let healed = Instant::now();
        world.acknowledged(before + 20);
        slowest = slowest.max(healed.elapsed());
        until("it is ready again", || {
            let reply = world.client().get("/readyz");
            (reply.status == 200).then_some(())
        });
    }
    load.stop();
    world.drain();
    let faults = world.shim.faults();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let verdict = world
        .journal
        .assert_no_violations("full disk", &world.database());
    println!("full disk: {rounds} rounds, {faults} writes refused, healed within {slowest:?}");
    assert!(faults > 0);
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    // Attempts that were in flight at the fault are repeated once, and not again during it.
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(
        most_hits(&world) <= 1 + rounds,
        "{} hits of one event",
        most_hits(&world)
    );
}

fn most_hits(world: &World) -> usize {
    let mut hits: HashMap<String, usize> = HashMap::new();
    for (id, _) in world.journal.hit_times() {
        *hits.entry(id).or_default() += 1;
    }
    hits.into_values().max().unwrap_or_default()
}

#[test]
fn a_failing_disk_ends_the_process_and_the_restart_has_lost_nothing() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let rounds = crate::choose(1, 10);
    let mut world = World::new();
    let mut slowest = Duration::ZERO;
    world.start();
    let load = world.load(seed, 6, 2_000);
    for round in 1..=rounds {
        for (what, writes, syncs) in [
            ("writing the WAL", WAL, 0),
            ("syncing the WAL", 0, WAL),
            ("writing the database", DATABASE, 0),
            ("syncing the database", 0, DATABASE),
        ] {
            let before = world.journal.acknowledged();
            world.acknowledged(before + 100);
            if writes > 0 {
                world.shim.fail_writes(EIO, writes, false);
            } else {
                world.shim.fail_syncs(EIO, syncs);
            }
            let failed = Instant::now();
            let ended = world.ended();
            slowest = slowest.max(failed.elapsed());
            assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.log);
            let last = ended.log.lines().last().unwrap_or_default();
            assert!(last.contains("disk I/O error"), "{what}: {}", ended.log);
            world.shim.heal();
            let took = world.start();
            println!("{what} fails, round {round}: ready again after {took:?}: {last}");
        }
    }
    load.stop();
    world.drain();
    world.stop();
    let verdict = world
        .journal
        .assert_no_violations("failing disk", &world.database());
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    // Nothing can be recorded any more, so the stop has nothing to wait for.
    println!("failing disk: out within {slowest:?}, with a grace of {GRACE:?}");
    assert!(slowest < GRACE, "{slowest:?}");
}
