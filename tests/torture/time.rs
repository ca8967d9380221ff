//! A wall clock that jumps while the server runs.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::{Answer, KEY};
use crate::world::World;

const HOUR: i64 = 3_600;
const YEAR: i64 = 365 * 24 * HOUR;

#[test]
fn a_clock_that_jumps_neither_expires_nor_delays_anything() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut world = World::new();
    // A few events need three attempts: so few that no other delivery delays them.
    world.answers(|arrival| {
        let is_well = arrival.header("relay-attempt") == "3" || arrival.body.len() % 20 != 0;
        Answer::status(if is_well { 200 } else { 500 })
    });
    world.more = "breaker = { enabled = false }\n".to_owned();
    world.start();
    // Its key is sent repeatedly and must name the same event, which the judge checks.
    let target = world.target();
    let kept = || {
        let sent = target.try_once(u64::MAX, true, "{\"n\":18446744073709551615}");
        assert_eq!(sent.status, Some(202));
        target.journal.sent(sent);
    };
    kept();
    let load = world.load(seed, 3, 200);
    let mut jumps = 0;
    let mut has_told = false;
    for _ in 0..crate::choose(1, 10) {
        for offset in [2 * HOUR, 0, -2 * HOUR, 10 * YEAR, 0, -10 * YEAR, 0] {
            world.shim.wall_offset(offset);
            jumps += 1;
            crate::pause(Duration::from_millis(700));
            kept();
            // A start goes on with the clock that wrote the database.
            let ended = world.stop();
            assert!(ended.status.success(), "{}", ended.log);
            has_told |= ended.log.contains("clock was set");
            world.start();
            kept();
            let client = world.client();
            assert_eq!(client.get("/readyz").status, 200);
            let list = client.send("GET", "/v1/relays", &[("X-API-Key", KEY)], b"");
            assert_eq!(list.status, 200);
        }
    }
    load.stop();
    world.drain();
    let ended = world.stop();
    assert!(ended.status.success(), "{}", ended.log);
    assert!(has_told, "{}", ended.log);
    let verdict = world.journal.judge(&world.database());
    // The schedule has 50 ms, then 100 ms, with a jitter of at most a fifth more.
    let mut times: HashMap<String, Vec<Duration>> = HashMap::new();
    for (id, at) in world.journal.hit_times() {
        times.entry(id).or_default().push(at);
    }
    let waits = times
        .values()
        .flat_map(|times| times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])));
    let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
    for wait in waits {
        least = least.min(wait);
        most = most.max(wait);
    }
    println!("clock: {jumps} jumps, {verdict}; waits from {least:?} to {most:?}");
    assert_eq!(verdict.wrong, Vec::<String>::new());
    assert_eq!((verdict.pending, verdict.dead), (0, 0));
    assert!(least >= Duration::from_millis(45), "{least:?}");
    // No wait is longer than the schedule's longest and the time until a worker is free.
    assert!(most < Duration::from_secs(5), "{most:?}");
}
