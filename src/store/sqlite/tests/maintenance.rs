//! Retention and bulk operations, step by step on a fake clock.

mod rows;
mod shedding;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{event_to, open_at};
use crate::COMPILED_LEVEL;
use crate::clock::{Clock, FakeClock, Timestamp};
use crate::config::{Config, Live};
use crate::maintenance::{LONGEST_PAUSE, Worker};
use crate::model::{IntentId, Level};
use crate::ops::notices::Notices;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{
    Accept, Accepted, BulkAction, BulkFilter, BulkId, IdempotencyKey, NewBulk,
};
use crate::store::{Store, StoreError};

const START: i64 = 1_700_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

struct Scene {
    directory: tempfile::TempDir,
    clock: Arc<FakeClock>,
    store: Sqlite,
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

fn worker(store: &Sqlite, config: &Live, clock: &Arc<FakeClock>) -> Worker {
    let clock: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
    let metrics = Arc::clone(&store.shared().metrics);
    let store = Store::from(store.clone());
    Worker::new(store, config.clone(), clock, metrics, Notices::default())
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
        let config = Live::from(config);
        Self {
            worker: worker(&store, &config, &clock),
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
        let accepted = self.try_accept(source, key, destinations, bytes);
        assert!(matches!(accepted, Accepted::New(..)));
    }

    /// Sends an event again, under its key.
    fn again(&self, source: &str, key: &str, destinations: &[&str]) -> Accepted {
        self.try_accept(source, key, destinations, 1)
    }

    fn try_accept(&self, source: &str, key: &str, destinations: &[&str], bytes: usize) -> Accepted {
        let op = Accept {
            label: source.to_owned(),
            body: vec![b'1'; bytes].into(),
            key: Some(IdempotencyKey::of_event(source, key.to_owned())),
            ..event_to(destinations)
        };
        self.store.write_blocking(op).expect("accepted")
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

    fn create(&self, kind: BulkAction, change: impl FnOnce(&mut BulkFilter)) -> Vec<BulkId> {
        let mut filter = BulkFilter::dead_letters();
        change(&mut filter);
        let filter = filter.before(self.clock.now());
        let new = NewBulk {
            filter,
            ..NewBulk::of(kind)
        };
        self.store.create_bulk(new).expect("operations")
    }

    fn jobs(&self, ids: &[BulkId]) -> Vec<(i64, i64, bool, bool)> {
        let jobs = self.store.bulk_operations(ids);
        jobs.expect("operations")
            .into_iter()
            .map(|job| {
                (
                    job.tally.done,
                    job.total.unwrap_or(-1),
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
fn expired_keys_and_the_attempts_of_deleted_intents_leave_their_tables() {
    let mut scene = Scene::new(|_| {});
    for key in 0..100 {
        scene.accept("s", &format!("{key}"), &["d"], 10);
    }
    assert_ne!(scene.count("idempotency"), 0);
    scene.execute(
        "INSERT INTO attempts SELECT intent_id, destination_id, 1, 1, 1, 3, 1, 500, 'e', NULL,
                                     NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM deliveries",
    );
    scene.all_arrive();
    scene.clock.advance(DAY);
    scene.sweep();
    assert_eq!(
        (scene.count("idempotency"), scene.count("attempts")),
        (0, 100)
    );
    scene.clock.advance(DAY * 7);
    scene.sweep();
    assert_eq!((scene.count("intents"), scene.count("attempts")), (0, 0));
}

#[test]
fn an_operation_of_a_held_store_waits_for_no_backlog() {
    // Without delivery no operation waits.
    if COMPILED_LEVEL == Level::Off {
        return;
    }
    let mut scene = Scene::new(|config| config.delivery.level = Some(COMPILED_LEVEL));
    for key in 0..250 {
        scene.accept("s", &key.to_string(), &["http://d"], 10);
    }
    scene.all_die("answered 500");
    let jobs = scene.create(BulkAction::Replay, |_| {});
    for (is_held, expected) in [
        (false, (200, 250, false, false)),
        (true, (250, 250, true, false)),
    ] {
        let held = &scene.store.shared().is_held;
        held.store(is_held, Ordering::Relaxed);
        for _ in 0..20 {
            scene.worker.run_once().expect("a step");
        }
        assert_eq!(scene.jobs(&jobs), [expected]);
    }
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
fn a_deletion_is_followed_by_a_pause_although_shedding_has_only_looked() {
    let mut scene = Scene::new(|config| config.database.max_bytes = Some(1 << 20));
    for kind in ["old", "young"] {
        scene.clock.advance(DAY * 31);
        for number in 0..200 {
            scene.accept("s", &format!("{kind} {number}"), &["d"], 10_000);
        }
        scene.all_die("refused");
    }
    let mut deletions = 0;
    for step in 0..12 {
        if step % 3 == 0 {
            // A pass of shedding, which finds nothing in three steps, may follow the other.
            scene.clock.advance(Duration::from_secs(6));
        }
        let before = scene.count("intents");
        let pause = scene.worker.run_once().expect("a step");
        if scene.count("intents") < before {
            assert!(pause >= Duration::from_millis(10), "{pause:?}");
            deletions += 1;
        }
    }
    assert!(deletions > 0, "nothing was deleted");
}
