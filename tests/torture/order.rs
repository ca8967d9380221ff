//! Events of one ordering key arrive in the order of their acceptance, whatever kills the process.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::judge::{Hit, Journal, number};
use crate::support::Answer;
use crate::world::World;

/// The longest delay until a busy receiver sees a request of a process that was killed.
const LATE: Duration = Duration::from_millis(200);

/// An event that has an order, as the database has it.
struct Ordered {
    key: i64,
    n: u64,
    is_dead: bool,
}

/// All ordered events, those of each key in the order of acceptance.
fn ordered(database: &Path) -> Vec<Ordered> {
    let sql = rusqlite::Connection::open(database).expect("the database opens");
    let mut statement = sql
        .prepare(
            "SELECT d.order_key, i.body, d.state = 4
             FROM deliveries d JOIN intents i ON i.id = d.intent_id
             WHERE d.order_key IS NOT NULL ORDER BY d.order_key, i.id",
        )
        .expect("good SQL");
    let rows = statement.query_map([], |row| {
        let body: Vec<u8> = row.get(1)?;
        Ok(Ordered {
            key: row.get(0)?,
            n: number(&body).expect("the load's number"),
            is_dead: row.get(2)?,
        })
    });
    let rows = rows.expect("rows");
    rows.collect::<Result<_, _>>().expect("whole rows")
}

/// Violations of the order, a sentence each: an event that arrived before an earlier one of its key
/// was taken or given up, or an earlier one that arrived after it.
fn judge(journal: &Journal, database: &Path) -> Vec<String> {
    judge_arrivals(&journal.hits(), &ordered(database))
}

fn judge_arrivals(hits: &[Hit], ordered: &[Ordered]) -> Vec<String> {
    let mut arrivals: HashMap<u64, Vec<(usize, &Hit)>> = HashMap::new();
    for (at, hit) in hits.iter().enumerate() {
        if let Some(n) = hit.n {
            arrivals.entry(n).or_default().push((at, hit));
        }
    }
    let mut wrong = Vec::new();
    for pair in ordered.windows(2) {
        let (earlier, later) = (&pair[0], &pair[1]);
        let Some(later_hits) = arrivals.get(&later.n).filter(|_| earlier.key == later.key) else {
            continue;
        };
        let (first, first_hit) = later_hits[0];
        let earlier_hits = arrivals.get(&earlier.n).map_or(&[][..], Vec::as_slice);
        let taken = earlier_hits.iter().find(|(_, hit)| hit.answered < 300);
        let is_finished = earlier.is_dead || taken.is_some_and(|(at, _)| *at < first);
        if !is_finished {
            wrong.push(format!("{} overtook {}", later.n, earlier.n));
        }
        let last = earlier_hits.last().map(|(_, hit)| hit.at);
        if last.is_some_and(|last| last > first_hit.at + LATE) {
            wrong.push(format!("{} arrived after {}", earlier.n, later.n));
        }
    }
    wrong
}

#[test]
fn events_of_one_key_arrive_in_order_across_kills() {
    let _alone = crate::alone();
    let seed = crate::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let cycles = crate::choose(5, 100);
    let mut world = World::new();
    world.more = "[destinations.orders.ordering]\nby = \"/key\"".to_owned();
    world.answers(|arrival| {
        // A tenth of the attempts fail at first.
        let fails = arrival.header("relay-attempt") == "1" && arrival.body.len().is_multiple_of(10);
        Answer::status(if fails { 500 } else { 200 })
    });
    world.start();
    let load = world.load(seed, 6, 400);
    for cycle in 0..cycles {
        let before = world.journal.acknowledged();
        world.acknowledged(before + 50);
        crate::pause(Duration::from_millis(random.random_range(0..300)));
        if cycle % 4 == 3 {
            assert!(world.stop().status.success());
        } else {
            world.kill();
        }
        world.start();
    }
    load.stop();
    world.drain();
    world.stop();
    let verdict = world
        .journal
        .assert_no_violations("ordered", &world.database());
    assert_eq!(verdict.pending, 0);
    let events = ordered(&world.database());
    let keys: std::collections::HashSet<_> = events.iter().map(|one| one.key).collect();
    println!(
        "ordered: {cycles} cycles, {} events of {} keys",
        events.len(),
        keys.len()
    );
    assert!(keys.len() > 1 && events.len() > 10 * keys.len());
    assert_eq!(
        judge(&world.journal, &world.database()),
        Vec::<String>::new()
    );
}

#[test]
fn the_judge_finds_each_violation_of_the_order() {
    let event = |key, n, is_dead| Ordered { key, n, is_dead };
    let hit = |n: u64, at: u64, answered| Hit {
        n: Some(n),
        id: n.to_string(),
        body: [0; 32],
        at: Duration::from_millis(at),
        answered,
    };
    let two = [event(1, 1, false), event(1, 2, false)];
    let in_order = [hit(1, 0, 500), hit(1, 10, 200), hit(2, 20, 200)];
    assert_eq!(judge_arrivals(&in_order, &two), Vec::<String>::new());
    let overtaken = [hit(1, 0, 500), hit(2, 10, 200), hit(1, 20, 200)];
    assert_eq!(judge_arrivals(&overtaken, &two), ["2 overtook 1"]);
    assert_eq!(judge_arrivals(&[hit(2, 0, 200)], &two), ["2 overtook 1"]);
    let again = [hit(1, 0, 200), hit(2, 10, 200), hit(1, 900, 200)];
    assert_eq!(judge_arrivals(&again, &two), ["1 arrived after 2"]);
    // A dead letter is skipped, and keys are nothing to each other.
    let dead = [event(1, 1, true), event(1, 2, false)];
    assert_eq!(judge_arrivals(&overtaken[..2], &dead), Vec::<String>::new());
    let apart = [event(1, 1, false), event(2, 2, false)];
    assert_eq!(judge_arrivals(&overtaken, &apart), Vec::<String>::new());
}
