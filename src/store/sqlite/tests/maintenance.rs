//! Retention and bulk operations, step by step on a fake clock.

mod rows;

use std::sync::Arc;
use std::time::Duration;

use super::open_at;
use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Config, Resolved};
use crate::maintenance::{LONGEST_PAUSE, Worker};
use crate::model::{IntentId, Level, Surface};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::{CancelBulk, CreateBulk};
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{
    Accept, Accepted, BulkId, Cutoffs, DeadLetterAction, DeadLetterFilter, IdempotencyKey, Prune,
    PruneCursor,
};
use crate::store::{Store, StoreError};

const START: i64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

struct Scene {
    directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    store: Sqlite,
    config: Arc<Resolved>,
    worker: Worker,
}

/// Applies a function to a transaction.
struct Do<F>(F);

impl<F: Fn(&Tx<'_>) -> Result<i64, StoreError> + Send + 'static> WriteOp for Do<F> {
    type Out = i64;

    fn apply(&self, tx: &Tx<'_>) -> Result<i64, StoreError> {
        (self.0)(tx)
    }
}

fn worker(store: &Sqlite, config: &Arc<Resolved>, clock: &Arc<FakeClock>) -> Worker {
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
    Worker::new(Store::from(store.clone()), Arc::clone(config), clock)
}

impl Scene {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.database.path = directory.path().join("relay.db");
        config.database.min_free_bytes = 0;
        config.delivery.level = Some(Level::Off);
        change(&mut config);
        let config = config.resolve();
        let clock = Arc::new(FakeClock::at(Timestamp::from_millis(START)));
        let store = open_at(&directory, &clock);
        let config = Arc::new(config);
        Self {
            worker: worker(&store, &config, &clock),
            config,
            directory,
            clock,
            store,
        }
    }

    fn execute(&self, sql: &'static str) -> i64 {
        let op = Do(move |tx: &Tx<'_>| {
            let changed = tx.sql.execute(sql, [])?;
            Ok(i64::try_from(changed).unwrap_or(i64::MAX))
        });
        self.store.write_blocking(op).expect(sql)
    }

    fn count(&self, what: &'static str) -> i64 {
        self.store
            .read_blocking(|sql| {
                Ok(
                    sql.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| {
                        row.get(0)
                    })?,
                )
            })
            .expect(what)
    }

    /// Accepts an event of this source and key to these destinations.
    fn accept(&self, source: &str, key: &str, destinations: &[&str], bytes: usize) {
        let op = Accept {
            surface: Surface::Event,
            label: source.to_owned(),
            url: None,
            event_type: None,
            query: None,
            destinations: destinations.iter().map(|&name| name.to_owned()).collect(),
            owner: None,
            headers: Vec::new(),
            metadata: None,
            body: vec![b'1'; bytes].into(),
            key: Some(IdempotencyKey::of_event(source, key.to_owned())),
            window: Duration::from_secs(3600),
        };
        let accepted = self.store.write_blocking(op).expect("accepted");
        assert!(matches!(accepted, Accepted::New(..)));
    }

    /// Gives up all waiting deliveries.
    fn all_die(&self, error: &'static str) {
        let now = self.clock.now().as_millis();
        let op = Do(move |tx: &Tx<'_>| {
            tx.sql.execute(
                "UPDATE deliveries SET state = 4, next_attempt_at = NULL, updated_at = ?1, last_error = ?2
                 WHERE next_attempt_at IS NOT NULL",
                (now, error),
            )?;
            Ok(0)
        });
        self.store.write_blocking(op).expect("given up");
        self.clock.advance(Duration::from_millis(1));
    }

    /// Delivers all waiting deliveries.
    fn all_arrive(&self) {
        let now = self.clock.now().as_millis();
        let op = Do(move |tx: &Tx<'_>| {
            tx.sql.execute(
                "UPDATE deliveries SET state = 3, next_attempt_at = NULL, updated_at = ?1
                 WHERE next_attempt_at IS NOT NULL",
                [now],
            )?;
            Ok(0)
        });
        self.store.write_blocking(op).expect("delivered");
    }

    /// Makes one whole sweep.
    fn sweep(&mut self) {
        self.clock.advance(LONGEST_PAUSE);
        self.worker.run_once().expect("a step");
        while self.worker.is_sweeping() {
            self.worker.run_once().expect("a step");
        }
    }

    fn any_event(&self) -> IntentId {
        self.store
            .read_blocking(|sql| {
                let sql = sql.query_row("SELECT id, random FROM intents", [], |row| {
                    let random: i64 = row.get(1)?;
                    Ok(IntentId::new(row.get(0)?, random.cast_unsigned()))
                });
                Ok(sql?)
            })
            .expect("an event")
    }

    /// Begins a sweep, and stops after its first deletion.
    fn sweep_once_begun(&mut self) {
        self.clock.advance(LONGEST_PAUSE);
        self.store.take_transactions();
        while self.store.take_transactions().is_empty() {
            self.worker.run_once().expect("a step");
        }
    }

    /// Finishes the sweep.
    fn finish_sweep(&mut self) {
        while self.worker.is_sweeping() {
            self.worker.run_once().expect("a step");
        }
    }

    fn create(
        &self,
        kind: DeadLetterAction,
        change: impl FnOnce(&mut DeadLetterFilter),
    ) -> Vec<BulkId> {
        let mut filter = DeadLetterFilter {
            destination: None,
            source: None,
            reason: None,
            since: Timestamp::from_millis(0),
            until: Timestamp::from_millis(i64::MAX),
        };
        change(&mut filter);
        let filter = filter.before(self.clock.now());
        let found = self.store.count_dead_letters(&filter);
        let found = found.expect("a count");
        let mut create = CreateBulk::new(kind, filter, found);
        self.store.write_steps(&mut create).expect("operations");
        create.created
    }

    fn jobs(&self, ids: &[BulkId]) -> Vec<(i64, i64, bool, bool)> {
        let jobs = self.store.bulk_operations(ids);
        jobs.expect("operations")
            .into_iter()
            .map(|job| {
                (
                    job.done,
                    job.total,
                    job.ended_at.is_some(),
                    job.is_cancelled,
                )
            })
            .collect()
    }

    fn until_jobs_end(&mut self) {
        for _ in 0..10_000 {
            if self.jobs(&[]).is_empty() {
                return;
            }
            self.worker.run_once().expect("a step");
        }
        panic!("the jobs don't end");
    }
}

#[test]
fn finished_intents_are_deleted_after_their_time_counted_from_their_end() {
    let mut scene = Scene::new(|_| {});
    scene.accept("s", "pending", &["d"], 10);
    scene.execute("UPDATE deliveries SET state = 2");
    // An intent with one delivery left is still pending.
    scene.accept("s", "half", &["d", "e"], 10);
    scene.execute(
        "UPDATE deliveries SET state = 3, next_attempt_at = NULL
         WHERE destination_id = 2",
    );
    // Accepted long before they are delivered: the end counts.
    scene.execute("UPDATE deliveries SET state = 1, claim = 7, next_attempt_at = NULL WHERE next_attempt_at IS NOT NULL");
    for key in 0..100 {
        scene.accept("s", &format!("late{key}"), &["d"], 10);
    }
    assert_ne!(scene.count("idempotency"), 0);
    scene.clock.advance(DAY * 10);
    scene.all_arrive();
    scene.accept("s", "dead", &["d"], 10);
    scene.all_die("answered 410 Gone");
    scene.clock.advance(DAY * 6);
    scene.sweep();
    assert_eq!(
        scene.count("intents"),
        103,
        "nothing has ended long enough ago"
    );
    assert_eq!(scene.count("idempotency"), 0, "keys go with their window");
    scene.clock.advance(DAY);
    scene.sweep();
    assert_eq!(scene.count("intents"), 3);
    assert_eq!(scene.count("deliveries"), 4);
    scene.clock.advance(DAY * 24);
    scene.sweep();
    assert_eq!(
        scene.count("intents"),
        2,
        "the dead letter had its thirty days"
    );
    scene.clock.advance(DAY * 3650);
    scene.sweep();
    assert_eq!(scene.count("intents"), 2, "pending work never goes");
    assert_eq!(scene.count("attempts"), 0);
}

#[test]
fn an_ad_hoc_origin_is_forgotten_with_its_last_delivery() {
    let mut scene = Scene::new(|_| {});
    scene.accept("s", "1", &["http://once"], 10);
    scene.all_arrive();
    scene.clock.advance(DAY * 4);
    scene.accept("s", "2", &["http://later", "named"], 10);
    scene.all_arrive();
    scene.clock.advance(DAY * 4);
    scene.sweep();
    assert_eq!(scene.count("intents"), 1);
    assert_eq!(scene.count("destinations WHERE name = 'http://once'"), 0);
    assert_eq!(scene.count("destinations"), 2);
    scene.clock.advance(DAY * 4);
    scene.sweep();
    assert_eq!(scene.count("destinations WHERE name = 'named'"), 1);
    assert_eq!(scene.count("destinations"), 1);
}

#[test]
fn without_a_retention_time_nothing_is_deleted() {
    let mut scene = Scene::new(|config| {
        config.retention.delivered = None;
        config.retention.dead_lettered = None;
    });
    scene.accept("s", "k", &["d"], 10);
    scene.all_arrive();
    scene.clock.advance(DAY * 3650);
    scene.sweep();
    assert_eq!(scene.count("intents"), 1);
}

#[test]
fn a_clock_that_jumps_deletes_nothing() {
    // A sweep lets an hour pass.
    let mut scene = Scene::new(|config| config.api.idempotency_window = DAY);
    for key in 0..100 {
        scene.accept("s", &format!("k{key}"), &["d"], 10);
    }
    scene.all_arrive();
    let count = |scene: &Scene| (scene.count("intents"), scene.count("idempotency"));
    let before = count(&scene);
    assert!(before.1 > 0, "some keys are in their table");
    scene
        .clock
        .set_wall(Timestamp::from_millis(START).plus(DAY * 3650));
    scene.sweep();
    assert_eq!(count(&scene), before);
    scene.clock.set_wall(Timestamp::from_millis(0));
    scene.sweep();
    assert_eq!(count(&scene), before);
}

#[test]
fn space_that_is_freed_is_used_again_or_given_back() {
    let mut scene = Scene::new(|_| {});
    let pages = |scene: &Scene| {
        scene
            .store
            .read_blocking(|sql| {
                Ok(sql.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?)
            })
            .expect("a number")
    };
    let fill = |scene: &Scene, round: usize| {
        for key in 0..400 {
            scene.accept("s", &format!("{round}-{key}"), &["d"], 20_000);
        }
        scene.all_arrive();
    };
    fill(&scene, 0);
    let at_first = pages(&scene);
    for round in 1..4 {
        scene.clock.advance(DAY * 8);
        scene.sweep();
        assert_eq!(scene.count("intents"), 0);
        assert!(pages(&scene) < at_first / 2, "most of it is given back");
        fill(&scene, round);
        assert!(
            pages(&scene) <= at_first + 50,
            "{} after {at_first}",
            pages(&scene)
        );
    }
    drop(scene.directory);
}

#[test]
fn a_replay_meant_for_many_does_each_once_and_ends() {
    let mut scene = Scene::new(|_| {});
    for key in 0..350 {
        scene.accept("s", &format!("{key}"), &["d", "e"], 10);
    }
    scene.all_die("answered 500");
    scene.clock.advance(DAY);
    let jobs = scene.create(DeadLetterAction::Replay, |filter| {
        filter.destination = Some("d".to_owned());
    });
    assert_eq!(scene.jobs(&jobs), [(0, 350, false, false)]);
    // The command's clock may be ahead.
    let ahead = Do(|tx: &Tx<'_>| {
        tx.sql
            .execute("UPDATE jobs SET until = until + 1000000000", [])?;
        Ok(0)
    });
    scene.store.write_blocking(ahead).expect("a change");
    scene.worker.run_once().expect("a step");
    assert_eq!(scene.jobs(&jobs), [(100, 350, false, false)]);
    // Deliveries that fail again meanwhile are not replayed for ever.
    scene.all_die("answered 500");
    scene.until_jobs_end();
    assert_eq!(scene.jobs(&jobs), [(350, 350, true, false)]);
    assert_eq!(scene.count("deliveries WHERE state = 0"), 250);
    assert_eq!(
        scene.count("deliveries WHERE state = 0 AND attempts = 0 AND next_attempt_at IS NOT NULL"),
        250
    );
    assert_eq!(
        scene.count("attempts WHERE outcome = 4"),
        350,
        "the history says so"
    );
    assert_eq!(
        scene.count("deliveries WHERE state = 4 AND destination_id = 2"),
        350
    );
}

#[test]
fn a_replay_yields_to_what_is_waiting() {
    let mut scene = Scene::new(|config| config.delivery.level = Some(crate::COMPILED_LEVEL));
    if crate::COMPILED_LEVEL == Level::Off {
        return;
    }
    for key in 0..500 {
        scene.accept("s", &format!("{key}"), &["d"], 10);
    }
    scene.all_die("answered 500");
    let jobs = scene.create(DeadLetterAction::Replay, |_| {});
    for _ in 0..20 {
        scene.worker.run_once().expect("a step");
    }
    // Nobody claims any, so no more than 200 are put before deliveries of new events.
    assert_eq!(scene.jobs(&jobs), [(200, 500, false, false)]);
    scene.all_arrive();
    scene.worker.run_once().expect("a step");
    assert_eq!(scene.jobs(&jobs), [(300, 500, false, false)]);
}

#[test]
fn a_job_can_be_cancelled_and_survives_a_restart() {
    let mut scene = Scene::new(|_| {});
    for key in 0..350 {
        scene.accept("s", &format!("{key}"), &["d"], 10);
    }
    scene.all_die("answered 500");
    let jobs = scene.create(DeadLetterAction::Discard, |_| {});
    scene.worker.run_once().expect("a step");
    // Another process continues where this one stopped.
    scene.worker = worker(&scene.store, &scene.config, &scene.clock);
    scene.worker.run_once().expect("a step");
    assert_eq!(scene.jobs(&jobs), [(200, 350, false, false)]);
    assert!(
        scene
            .store
            .write_blocking(CancelBulk(jobs[0]))
            .expect("cancelled")
    );
    scene.worker.run_once().expect("a step");
    assert_eq!(scene.jobs(&jobs), [(200, 350, true, true)]);
    assert_eq!(scene.count("intents"), 150, "what was done stays done");
    assert!(
        !scene
            .store
            .write_blocking(CancelBulk(jobs[0]))
            .expect("an answer")
    );
}

#[test]
fn filters_choose_by_destination_source_reason_and_time() {
    let mut scene = Scene::new(|_| {});
    scene.accept("a", "1", &["d"], 10);
    scene.accept("b", "1", &["d", "e"], 10);
    scene.all_die("answered 500 Internal Server Error");
    scene.clock.advance(DAY);
    scene.accept("a", "2", &["e"], 10);
    scene.all_die("timed out (global) after at most 15000 ms");
    let later = Timestamp::from_millis(START).plus(Duration::from_secs(60));
    let count = |change: &dyn Fn(&mut DeadLetterFilter)| {
        let jobs = scene.create(DeadLetterAction::Replay, change);
        let total: i64 = scene.jobs(&jobs).iter().map(|job| job.1).sum();
        for job in jobs {
            scene
                .store
                .write_blocking(CancelBulk(job))
                .expect("cancelled");
        }
        total
    };
    assert_eq!(count(&|_| {}), 4);
    assert_eq!(
        count(&|filter| filter.destination = Some("d".to_owned())),
        2
    );
    assert_eq!(count(&|filter| filter.source = Some("a".to_owned())), 2);
    assert_eq!(
        count(&|filter| filter.reason = Some("answered 500".to_owned())),
        3
    );
    assert_eq!(
        count(&|filter| filter.reason = Some("%".to_owned())),
        0,
        "text, not a pattern"
    );
    assert_eq!(count(&|filter| filter.since = later), 1);
    assert_eq!(count(&|filter| filter.until = later), 3);
    // Letters that don't match stay.
    let jobs = scene.create(DeadLetterAction::Discard, |filter| {
        filter.source = Some("b".to_owned());
        filter.destination = Some("e".to_owned());
    });
    scene.until_jobs_end();
    assert_eq!(scene.jobs(&jobs), [(1, 1, true, false)]);
    assert_eq!((scene.count("deliveries"), scene.count("intents")), (3, 3));
}

#[test]
fn an_intent_replayed_between_the_look_and_the_deletion_stays() {
    let scene = Scene::new(|_| {});
    scene.accept("s", "k", &["d"], 10);
    scene.all_die("answered 500");
    scene.clock.advance(DAY * 40);
    let cutoffs = Cutoffs {
        delivered: None,
        dead_lettered: Some(scene.clock.now().minus(DAY * 30)),
        keys: scene.clock.now(),
    };
    let look = || {
        let cursor = PruneCursor {
            key: None,
            ..PruneCursor::START
        };
        let reader = scene.store.reader();
        reader.expired(&cutoffs, cursor).expect("a look")
    };
    let found = look();
    assert_eq!(found.count(), (1, 0));
    scene.execute("UPDATE deliveries SET state = 0, next_attempt_at = 1");
    let mut prune = Prune::new(found);
    scene.store.write_steps(&mut prune).expect("a prune");
    assert_eq!((prune.deleted, scene.count("intents")), (0, 1));
    assert_eq!(look().count(), (0, 0), "and it isn't found again");
}
