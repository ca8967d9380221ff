//! A hanging disk: every start and stop still ends, and nothing is lost.

use std::io::Read as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{GRACE, TOLERANCE};
use crate::support::{Client, until};
use crate::world::World;

/// The longest that a stop may take beyond `server.shutdown_grace`: the waits for the last
/// outcomes, for the writer, and for threads.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(6);

/// A writer that has hung for 5 s is stalled, and it is looked at every 5 s.
const LOOKED_AT_WITHIN: Duration = Duration::from_secs(11);

/// Makes all syncs hang, among them the writer's.
fn hang(world: &World) {
    world.shim.hang_syncs();
    let mut before = world.journal.acknowledged();
    until("the writer hangs", || {
        crate::pause(Duration::from_millis(200));
        let now = world.journal.acknowledged();
        std::mem::replace(&mut before, now).eq(&now).then_some(())
    });
}

#[test]
fn a_stop_gives_up_a_hanging_writer_and_the_next_start_recovers() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let rounds = crate::choose(1, 10);
    let mut world = World::new();
    world.start();
    let load = world.load(seed, 6, 2_000);
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        world.acknowledged(200 * round);
        hang(&world);
        if round == 1 {
            // The log tells though nobody asks for readiness.
            crate::pause(LOOKED_AT_WITHIN);
        }
        let begun = Instant::now();
        world.signal("-TERM");
        let ended = world.ended();
        let is_told = ended.log.contains("the writer is stalled");
        assert!(is_told || round > 1, "{}", ended.log);
        slowest = slowest.max(begun.elapsed());
        assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
        let errors: Vec<_> = ended.log.lines().filter(|l| l.contains("error")).collect();
        let [error] = errors[..] else {
            panic!("one line: {}", ended.log);
        };
        assert!(error.contains("did not end in time"), "{error}");
        assert!(error.contains("database writer"), "{error}");
        world.shim.heal();
        let took = world.start();
        println!("a hung sync, round {round}: ready again after {took:?}: {error}");
    }
    load.stop();
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    let verdict = world
        .journal
        .assert_no_violations("hung sync", &world.database());
    println!("hung sync: {rounds} rounds, out within {slowest:?}, with a grace of {GRACE:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(slowest < GRACE + GIVEN_UP_AFTER + TOLERANCE, "{slowest:?}");
}

#[test]
fn a_second_signal_exits_at_once_although_the_writer_hangs() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut world = World::new();
    world.start();
    let load = world.load(seed, 6, 400);
    world.acknowledged(100);
    hang(&world);
    world.signal("-TERM");
    crate::pause(Duration::from_millis(300));
    let begun = Instant::now();
    world.signal("-INT");
    let ended = world.ended();
    let took = begun.elapsed();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("a second signal"), "{}", ended.log);
    world.shim.heal();
    world.start();
    load.stop();
    world.drain();
    world.stop();
    let verdict = world
        .journal
        .assert_no_violations("hung sync, two signals", &world.database());
    println!("hung sync, two signals: out after {took:?}");
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_signal_ends_a_hanging_start_and_the_next_start_succeeds() {
    let _alone = crate::alone();
    let rounds = crate::choose(1, 5);
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds {
        // Its database is there once its start has come that far, and not since a round before.
        let mut world = World::new();
        world.shim.hang_syncs();
        let mut child = world.command().arg("serve").spawn().expect("it starts");
        until("it makes a database", || {
            world.database().exists().then_some(())
        });
        // The first sync is of the new database.
        crate::pause(Duration::from_millis(100));
        let begun = Instant::now();
        let sent = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
        let status = until("it ends", || child.try_wait().expect("a child"));
        slowest = slowest.max(begun.elapsed());
        let mut log = String::new();
        let mut pipe = child.stderr.take().expect("a pipe");
        pipe.read_to_string(&mut log).expect("its log is text");
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("a signal during the start"), "{log}");
        world.shim.heal();
        world.start();
        let client: Client = world.client();
        assert_eq!(client.hook("1", b"{}").status, 202);
        world.drain();
        let ended = world.stop();
        assert!(ended.status.success(), "{}", ended.log);
    }
    println!("hung start: {rounds} rounds, out within {slowest:?}");
    assert!(slowest < Duration::from_secs(1) + TOLERANCE, "{slowest:?}");
}
