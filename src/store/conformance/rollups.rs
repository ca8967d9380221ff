//! Rollups: counts by minute and hour.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Config, Live};
use crate::maintenance::Worker;
use crate::model::{DestinationCounts, FailureKind, Level, SourceCounts, Surface};
use crate::ops::notices::Notices;
use crate::ops::rollup_counters::{AttemptResult, EndedAttempt, ErrorClass};
use crate::store::conformance::NewStore;
use crate::store::conformance::accepting::runtime;
use crate::store::conformance::scene::{DAY, START, Scene, event, event_of, relay_to};
use crate::store::types::{RecordRollups, RollupGrain, RollupQuery, Rollups};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn accepted(accepted: u64) -> SourceCounts {
    SourceCounts {
        accepted,
        ..SourceCounts::default()
    }
}

fn delivered(latencies: &[Duration]) -> DestinationCounts {
    let mut counts = DestinationCounts {
        delivered: latencies.len() as u64,
        ..DestinationCounts::default()
    };
    for latency in latencies {
        counts.latency.record(*latency);
    }
    counts
}

fn record(scene: &Scene, sources: &[(&str, SourceCounts)], to: &[(&str, DestinationCounts)]) {
    let named = |(name, counts): &(&str, SourceCounts)| ((*name).to_owned(), *counts);
    let sources = sources.iter().map(named).collect();
    let named = |(name, counts): &(&str, DestinationCounts)| ((*name).to_owned(), *counts);
    let mut counts = RecordRollups::new(scene.now(), sources, to.iter().map(named).collect());
    while scene.store.record_rollups(&mut counts).expect("a step") {}
}

fn query(scene: &Scene, from: Timestamp, step: Duration) -> Rollups {
    let to = scene.now().plus(MINUTE);
    let query = RollupQuery::new(from, to, step, scene.now()).expect("a query");
    let read = |query| runtime().block_on(scene.store.rollups(query));
    let found = read(query.clone()).expect("a read");
    let beside = scene.operator().rollups(&query).expect("a read");
    assert_eq!(found, beside, "a command reads the same");
    for row in &found.destinations {
        let mut alone = found.clone();
        alone.sources.clear();
        alone.destinations.retain(|other| other.name == row.name);
        let of_it = read(query.clone().of_destination(&row.name));
        assert_eq!(of_it.expect("a read"), alone, "those of {} alone", row.name);
    }
    let nobody = read(query.of_destination("nobody")).expect("a read");
    assert_eq!(nobody, Rollups::default());
    found
}

/// The sources of an answer as (minutes since the start, name, accepted).
fn sources(rollups: &Rollups) -> Vec<(u64, &str, u64)> {
    let first = RollupGrain::Minute.begin(START);
    let rows = rollups.sources.iter();
    rows.map(|row| {
        let minutes = row.at.since(first).as_secs() / 60;
        (minutes, row.name.as_str(), row.counts.accepted)
    })
    .collect()
}

pub fn counts_are_added_to_their_minute_and_hour(new: NewStore) {
    let mut scene = Scene::new(new);
    record(&scene, &[("a", accepted(1)), ("b", accepted(5))], &[]);
    let fast = Duration::from_millis(3);
    record(&scene, &[("a", accepted(2))], &[("d", delivered(&[fast]))]);
    scene.restart();
    scene.clock.advance(MINUTE);
    let slow = Duration::from_secs(40);
    record(&scene, &[("a", accepted(4))], &[("d", delivered(&[slow]))]);
    let minutes = query(&scene, START, MINUTE);
    assert_eq!(sources(&minutes), [(0, "a", 3), (0, "b", 5), (1, "a", 4)]);
    assert_eq!(minutes.destinations[0].counts, delivered(&[fast]));
    // The hour of the start began before it.
    let hours = query(&scene, START, HOUR);
    let accepted: Vec<_> = hours
        .sources
        .iter()
        .map(|row| row.counts.accepted)
        .collect();
    assert_eq!(accepted, [7, 5]);
    assert_eq!(hours.destinations[0].counts, delivered(&[fast, slow]));
    scene.stop();
}

pub fn a_query_adds_up_the_periods_of_its_steps(new: NewStore) {
    let scene = Scene::new(new);
    for _ in 0..10 {
        record(&scene, &[("a", accepted(1))], &[]);
        scene.clock.advance(MINUTE);
    }
    let steps = query(&scene, START, MINUTE * 5);
    let sum: u64 = steps.sources.iter().map(|row| row.counts.accepted).sum();
    assert_eq!(sum, 10);
    assert!(steps.sources.len() <= 3, "{:?}", sources(&steps));
    let now = scene.now();
    let total = RollupQuery::total(START, now, now);
    let total = scene.operator().rollups(&total).expect("a read");
    assert_eq!(sources(&total), [(0, "a", 10)]);
    let later = START.plus(MINUTE * 8);
    let rest = scene
        .operator()
        .rollups(&RollupQuery::total(later, now, now));
    assert_eq!(rest.expect("a read").sources[0].counts.accepted, 2);
    scene.stop();
}

pub fn many_names_are_recorded_in_steps_and_read_as_one_answer(new: NewStore) {
    const NAMES: usize = 1000;
    let scene = Scene::new(new);
    let names: Vec<String> = (0..NAMES).map(|number| format!("d{number:04}")).collect();
    let counts = names
        .iter()
        .map(|name| (name.clone(), delivered(&[MINUTE])));
    let mut counts = RecordRollups::new(scene.now(), Vec::new(), counts.collect());
    let mut steps = 0;
    while scene.store.record_rollups(&mut counts).expect("a step") {
        steps += 1;
    }
    // At most 500 rows a step, and a name takes two.
    assert!(steps >= NAMES * 2 / 500, "{steps} steps");
    let found = query(&scene, START, MINUTE);
    let found: Vec<_> = found.destinations.iter().map(|row| &row.name).collect();
    assert_eq!(found, names.iter().collect::<Vec<_>>());
    scene.stop();
}

pub fn rollups_past_their_time_are_deleted(new: NewStore) {
    let scene = Scene::new(new);
    record(
        &scene,
        &[("a", accepted(1))],
        &[("d", delivered(&[MINUTE]))],
    );
    scene.clock.advance(MINUTE * (2 * 24 * 60 - 1));
    while scene.store.prune_rollups().expect("a step") > 0 {}
    assert_eq!(sources(&query(&scene, START, MINUTE * 15)).len(), 1);
    scene.clock.advance(MINUTE * 2);
    assert_eq!(scene.store.prune_rollups().expect("a step"), 2);
    let hours = query(&scene, START, HOUR);
    assert_eq!((hours.sources.len(), hours.destinations.len()), (1, 1));
    scene.clock.advance(DAY * 88);
    assert_eq!(scene.store.prune_rollups().expect("a step"), 2);
    assert_eq!(query(&scene, START, HOUR * 24), Rollups::default());
    scene.stop();
}

/// A worker on the scene's store, whose sources and destinations are declared.
fn worker(scene: &Scene) -> Worker {
    let mut config = Config::default();
    config.delivery.level = Some(Level::Off);
    let rollups = &scene.metrics.rollups;
    rollups.declare(["github"].into_iter(), ["orders"].into_iter());
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(&scene.clock);
    let config = Live::from(config.resolve());
    let metrics = Arc::clone(&scene.metrics);
    Worker::new(
        scene.store.clone(),
        config,
        clock,
        metrics,
        Notices::default(),
    )
}

/// Runs the worker for this long, a look a second.
fn run(scene: &Scene, worker: &mut Worker, time: Duration) {
    for _ in 0..time.as_secs() {
        scene.clock.advance(Duration::from_secs(1));
        for _ in 0..5 {
            worker.run_once().expect("a step");
        }
    }
}

pub fn accepted_events_and_attempts_are_counted_within_ten_seconds(new: NewStore) {
    let mut scene = Scene::new(new);
    let mut agents = worker(&scene);
    scene.accept(event_of("github", "key", &["orders"]));
    let again = scene.try_accept(event_of("github", "key", &["orders"]));
    again.expect("a duplicate");
    scene.accept(event("orders"));
    scene.accept(relay_to("key", "https://example.com"));
    scene.metrics.rollups.refused(Surface::Event, "github");
    scene.metrics.rollups.attempt(EndedAttempt {
        destination: Some("orders"),
        result: AttemptResult::Failed {
            is_dead: true,
            error: ErrorClass {
                kind: FailureKind::Timeout,
                status_code: None,
            },
        },
        at: scene.now(),
    });
    run(&scene, &mut agents, Duration::from_secs(9));
    let early = query(&scene, START, MINUTE);
    run(&scene, &mut agents, Duration::from_secs(2));
    let found = query(&scene, START, MINUTE);
    assert!(early == found || early == Rollups::default(), "{early:?}");
    assert_eq!(
        sources(&found),
        [(0, "*", 1), (0, "/v1/relays", 1), (0, "github", 1)]
    );
    let github = found.sources[2].counts;
    assert_eq!((github.duplicates, github.refused), (1, 1));
    let orders = found.destinations[0].counts;
    assert_eq!((orders.delivered, orders.failed, orders.dead), (0, 1, 1));
    // The counts were flushed: a process that is killed now has lost nothing, and counts no more.
    scene.restart();
    run(&scene, &mut worker(&scene), Duration::from_secs(11));
    assert_eq!(query(&scene, START, MINUTE), found);
    scene.stop();
}

pub fn the_counts_of_a_minute_are_written_under_it(new: NewStore) {
    let scene = Scene::new(new);
    // No flush falls on the end of a minute by chance.
    scene.clock.advance(Duration::from_secs(3));
    let mut worker = worker(&scene);
    // To the last second of a minute.
    let rest = 59 - scene.now().as_seconds() % 60;
    run(
        &scene,
        &mut worker,
        Duration::from_secs(rest.unsigned_abs()),
    );
    scene.accept(event_of("github", "1", &["orders"]));
    run(&scene, &mut worker, Duration::from_secs(2));
    scene.accept(event_of("github", "2", &["orders"]));
    run(&scene, &mut worker, Duration::from_secs(15));
    let found = query(&scene, START, MINUTE);
    assert_eq!(sources(&found), [(0, "github", 1), (1, "github", 1)]);
    scene.stop();
}

pub fn a_clock_that_is_set_repeats_no_minute_and_the_end_writes_the_rest(new: NewStore) {
    let scene = Scene::new(new);
    let mut worker = worker(&scene);
    for (number, wall) in [START.plus(DAY), START.minus(DAY)].into_iter().enumerate() {
        scene.accept(event_of("github", &number.to_string(), &["orders"]));
        scene.clock.set_wall(wall);
        run(&scene, &mut worker, Duration::from_secs(30));
    }
    scene.accept(event_of("github", "last", &["orders"]));
    worker.finish().expect("a flush");
    let found = query(&scene, START, MINUTE);
    let sum: u64 = found.sources.iter().map(|row| row.counts.accepted).sum();
    assert_eq!(sum, 3);
    let minutes = sources(&found).into_iter().map(|(minute, ..)| minute);
    assert!(minutes.max() <= Some(2), "{found:?}");
    scene.stop();
}
