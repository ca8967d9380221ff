//! The rows that maintenance writes in one transaction.

use super::*;

/// Accepts events for this many destinations each, all given up with a history of fifty attempts
/// each.
fn wide_events(scene: &Scene, count: usize, destinations: usize) {
    let names: Vec<String> = (0..destinations).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for key in 0..count {
        scene.accept("s", &format!("{key}"), &names, 300);
    }
    scene.all_die("answered 500");
    scene.execute("UPDATE deliveries SET history = 50");
    scene.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50)
         INSERT INTO attempts
         SELECT intent_id, destination_id, n, 1, 0, 3, 1, 500, 'answered 500', randomblob(300),
                'status', '127.0.0.1:80', 1, 1, 1, 'next', NULL
         FROM deliveries, n",
    );
}

fn most_rows(scene: &Scene) -> u64 {
    let transactions = scene.store.take_transactions();
    let longest = transactions.iter().map(|one| one.took).max();
    println!(
        "{} transactions, the longest of {longest:?}",
        transactions.len()
    );
    let rows = transactions.iter().map(|one| one.rows).max();
    rows.expect("there were some")
}

#[test]
fn a_prune_of_wide_events_deletes_few_rows_at_a_time() {
    let mut scene = Scene::new(|_| {});
    wide_events(&scene, 64, 20);
    scene.clock.advance(DAY * 31);
    scene.worker.run_once().expect("a step");
    scene.store.take_transactions();
    while scene.worker.is_sweeping() {
        scene.worker.run_once().expect("a step");
        // Attempts go first: an event is there with all its deliveries, or it is gone.
        assert_eq!(scene.count("deliveries"), 20 * scene.count("intents"));
    }
    let rows = most_rows(&scene);
    assert!(rows <= 256, "{rows} rows in one transaction");
    assert_eq!((scene.count("intents"), scene.count("attempts")), (0, 0));
}

#[test]
fn a_discard_of_long_histories_deletes_few_rows_at_a_time() {
    let mut scene = Scene::new(|_| {});
    wide_events(&scene, 20, 40);
    scene.store.take_transactions();
    let jobs = scene.create(BulkAction::Discard, |filter| {
        filter.destination = Some("d0".to_owned());
    });
    scene.until_jobs_end();
    assert_eq!(scene.jobs(&jobs), [(20, 20, true, false)]);
    let rows = most_rows(&scene);
    assert!(rows <= 256, "{rows} rows in one transaction");
    // A command that names the event deletes in bounded transactions, too.
    let id = scene.any_event();
    scene.store.take_transactions();
    assert_eq!(scene.store.discard(id).expect("discarded"), 39);
    let rows = most_rows(&scene);
    assert!(rows <= 1024, "{rows} rows in one transaction");
}

#[test]
fn jobs_for_very_many_destinations_are_made_and_done_in_bounded_transactions() {
    let mut scene = Scene::new(|config| config.delivery.level = Some(crate::COMPILED_LEVEL));
    scene.accept("s", "k", &["d"], 10);
    scene.all_die("answered 500");
    scene.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
         INSERT INTO destinations (name) SELECT 'http://' || n FROM n",
    );
    scene.execute(
        "INSERT INTO deliveries (intent_id, destination_id, state, updated_at, last_error)
         SELECT intent_id, t.id, 4, d.updated_at, 'e' FROM deliveries d, destinations t WHERE t.id > 1",
    );
    scene.store.take_transactions();
    let jobs = scene.create(BulkAction::Replay, |_| {});
    assert_eq!(jobs.len(), 3001);
    let rows = most_rows(&scene);
    assert!(rows <= 1024, "{rows} rows in one transaction");
    scene.until_jobs_end();
    let rows = most_rows(&scene);
    assert!(rows <= 256, "{rows} rows in one transaction");
    assert_eq!(scene.count("deliveries WHERE state = 0"), 3001);
    // They are deleted long after their end.
    scene.clock.advance(DAY * 31);
    scene.sweep();
    let rows = most_rows(&scene);
    assert!(rows <= 256, "{rows} rows in one transaction");
    assert_eq!(scene.count("jobs"), 0);
}

#[test]
fn events_with_a_damaged_number_of_entries_are_deleted_after_their_time() {
    let mut scene = Scene::new(|_| {});
    wide_events(&scene, 4, 2);
    scene.execute("PRAGMA ignore_check_constraints = 1");
    scene.execute("UPDATE deliveries SET history = -60");
    scene.clock.advance(DAY * 31);
    scene.worker.run_once().expect("a step");
    while scene.worker.is_sweeping() {
        scene.worker.run_once().expect("a step");
    }
    assert_eq!((scene.count("intents"), scene.count("attempts")), (0, 0));
}

#[test]
fn an_agent_that_fails_slows_no_other_one_and_tries_again_after_a_second() {
    const SECOND: Duration = Duration::from_secs(1);
    let mut scene = Scene::new(|_| {});
    wide_events(&scene, 200, 20);
    scene.execute("DROP TABLE source_rollups");
    scene.clock.advance(DAY * 31);
    let (mut failures, mut rested) = (0, Duration::ZERO);
    let (rest, failed) = scene.worker.step();
    assert!(failed.is_some() && rest < SECOND, "{rest:?}");
    while scene.worker.is_sweeping() {
        let (rest, failed) = scene.worker.step();
        failures += u32::from(failed.is_some());
        assert!(rest < SECOND, "retention rests {rest:?}");
        rested += rest;
    }
    assert_eq!((scene.count("intents"), scene.count("attempts")), (0, 0));
    assert!(rested > SECOND, "the scene is too small: {rested:?}");
    assert!(
        failures > 0 && SECOND * failures <= rested,
        "{failures} in {rested:?}"
    );
}
