use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::Surface;
use crate::store::sqlite::tests::{Insert, destinations, open};
use crate::store::types::{Accept, Accepted};

struct Scene {
    _directory: tempfile::TempDir,
    store: Sqlite,
    reader: Reader,
    pass: UnusedOrigins,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (store, _) = open(&directory);
        Self {
            _directory: directory,
            reader: store.reader(),
            store,
            pass: UnusedOrigins::new(),
        }
    }

    fn now() -> Timestamp {
        use crate::clock::Clock as _;
        crate::clock::SystemClock::new().now()
    }

    fn execute(&self, sql: &'static str) {
        self.store.write_blocking(Do(sql)).expect(sql);
    }

    fn step(&mut self) -> OriginsPassStep {
        self.store
            .forget_unused_origins(&mut self.pass, &self.reader, Self::now())
            .expect("a step")
    }

    fn whole_pass(&mut self) {
        while self.step() != OriginsPassStep::Over {}
    }

    fn count(&self, what: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        self.reader
            .read(|connection| Ok(connection.query_row(&sql, [], |row| row.get(0))?))
            .expect("a count")
    }

    fn orphans(&self) -> i64 {
        self.count("deliveries WHERE destination_id NOT IN (SELECT id FROM destinations)")
    }

    fn ids(&self) -> BTreeMap<i64, String> {
        let read = |sql: &Connection| {
            let mut statement = sql.prepare("SELECT id, name FROM destinations")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.reader.read(read).expect("destinations")
    }
}

struct Do(&'static str);

impl WriteOp for Do {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        tx.sql.execute_batch(self.0)?;
        Ok(())
    }
}

const DELIVER: &str = "UPDATE deliveries SET state = 3, next_attempt_at = NULL";
const PRUNE: &str = "DELETE FROM intents";

fn accept(store: &Sqlite, destination: &str) -> Accepted {
    let op = Accept {
        surface: Surface::Event,
        label: "s".to_owned(),
        url: None,
        event_type: None,
        query: None,
        destinations: Arc::from([destination.to_owned()]),
        owner: None,
        headers: Vec::new(),
        metadata: None,
        body: vec![b'1'].into(),
        key: None,
        window: Duration::ZERO,
    };
    store.write_blocking(op).expect("accepted")
}

#[test]
fn origins_that_nothing_needs_are_forgotten_and_no_others() {
    let mut scene = Scene::new();
    for name in [
        "named",
        "http://pruned",
        "http://delivered",
        "http://dead",
        "http://claimed",
        "http://due",
        "http://paused",
        "http://held",
        "http://was-held",
        "http://broken",
        "http://was-broken",
        "http://has-job",
        "http://newest",
    ] {
        accept(&scene.store, name);
    }
    scene.execute(DELIVER);
    scene.execute(
        "DELETE FROM intents WHERE id NOT IN
             (SELECT intent_id FROM deliveries d JOIN destinations t ON t.id = d.destination_id
              WHERE name IN ('http://delivered', 'http://dead', 'http://claimed', 'http://due'))",
    );
    for sql in [
        "UPDATE deliveries SET state = 4, last_error = 'e'
         WHERE destination_id = (SELECT id FROM destinations WHERE name = 'http://dead')",
        "UPDATE deliveries SET state = 1, claim = 7
         WHERE destination_id = (SELECT id FROM destinations WHERE name = 'http://claimed')",
        "UPDATE deliveries SET state = 0, next_attempt_at = 1
         WHERE destination_id = (SELECT id FROM destinations WHERE name = 'http://due')",
        "UPDATE destinations SET held_until = 1 << 60 WHERE name = 'http://held'",
        "UPDATE destinations SET held_until = 1 WHERE name = 'http://was-held'",
        "UPDATE destinations SET probe_wait = 1, probe_at = 1 << 60 WHERE name = 'http://broken'",
        "UPDATE destinations SET probe_wait = 1, probe_at = 1 WHERE name = 'http://was-broken'",
        "INSERT INTO jobs (kind, destination_id, since, until, total, cursor_at, cursor_intent, created_at, ended_at)
         SELECT 0, id, 0, 0, 0, 0, 0, 0, 1 FROM destinations WHERE name = 'http://has-job'",
    ] {
        scene.execute(sql);
    }
    scene.store.pause("http://paused", "r").expect("paused");
    let before = scene.ids();
    scene.whole_pass();
    assert_eq!(
        destinations(&scene.store),
        [
            "named",
            "http://delivered",
            "http://dead",
            "http://claimed",
            "http://due",
            "http://paused",
            "http://held",
            "http://broken",
            "http://has-job",
            // The greatest row id must not be used again.
            "http://newest",
        ]
    );
    // A forgotten origin that is used again gets another row.
    accept(&scene.store, "http://pruned");
    let after = scene.ids();
    let (id, name) = after.last_key_value().expect("some");
    assert_eq!(name, "http://pruned");
    assert!(!before.contains_key(id));
    assert_eq!(scene.orphans(), 0);
    scene.store.stop();
}

#[test]
fn an_origin_that_is_used_at_any_step_of_a_pass_stays() {
    // With more deliveries than one look sees, and more origins than one step deletes.
    const UNUSED: usize = 20;
    let mut steps = 0;
    for at in 0.. {
        let mut scene = Scene::new();
        for n in 0..UNUSED {
            accept(&scene.store, &format!("http://{n}"));
        }
        scene.execute(DELIVER);
        scene.execute(PRUNE);
        for _ in 0..30 {
            accept(&scene.store, "named");
        }
        let (mut step, mut is_over) = (0, false);
        while !is_over {
            if step == at {
                for n in [0, 7, UNUSED - 1] {
                    accept(&scene.store, &format!("http://{n}"));
                }
            }
            is_over = scene.step() == OriginsPassStep::Over;
            step += 1;
        }
        assert_eq!(scene.orphans(), 0, "accepted before step {at}");
        for n in [0, 7, UNUSED - 1] {
            let is_there = destinations(&scene.store).contains(&format!("http://{n}"));
            // The destination with the greatest row id always stays: here that is "named".
            assert_eq!(is_there, at < step, "{n}, accepted before step {at}");
        }
        scene.store.stop();
        steps = step;
        if at >= step {
            break;
        }
    }
    assert!(steps > 8, "{steps} steps: the scene is too small");
}

#[test]
fn a_pass_that_fails_halfway_or_a_restart_forgets_nothing_that_is_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _end) = open(&directory);
    for n in 0..20 {
        accept(&store, &format!("http://{n}"));
    }
    store.write_blocking(Do(DELIVER)).expect("delivered");
    store.write_blocking(Do(PRUNE)).expect("pruned");
    let mut pass = UnusedOrigins::new();
    let now = Scene::now();
    while !matches!(pass.stage, OriginsStage::Delete(_)) {
        store
            .forget_unused_origins(&mut pass, &store.reader(), now)
            .expect("a step");
    }
    store.stop();
    // This pass does not know the deliveries that another process accepts.
    let (store, _end) = open(&directory);
    accept(&store, "http://3");
    while store
        .forget_unused_origins(&mut pass, &store.reader(), now)
        .expect("a step")
        != OriginsPassStep::Over
    {}
    assert_eq!(
        destinations(&store).len(),
        20,
        "nothing is deleted by another server's set"
    );
    store.stop();
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Accept(u8),
    Deliver,
    Prune,
    Step,
    /// A transaction that fails after it has used the origin.
    Fail(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0u8..20).prop_map(Act::Accept),
        2 => Just(Act::Deliver),
        2 => Just(Act::Prune),
        8 => Just(Act::Step),
        1 => (0u8..20).prop_map(Act::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_delivery_is_without_its_destination_and_no_number_means_two_origins(
        acts in prop::collection::vec(act(), 1..80),
    ) {
        let mut scene = Scene::new();
        let mut known: BTreeMap<i64, String> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Accept(n) => drop(accept(&scene.store, &format!("http://{n}"))),
                Act::Deliver => scene.execute(DELIVER),
                Act::Prune => scene.execute(PRUNE),
                Act::Step => drop(scene.step()),
                Act::Fail(n) => {
                    let full = Insert("x", move |tx: &Tx<'_>| {
                        tx.destination(&format!("http://{n}"), None)?;
                        Err(StoreError::Full)
                    });
                    scene.store.write_blocking(full).expect_err("it failed");
                }
            }
            prop_assert_eq!(scene.orphans(), 0);
            for (id, name) in scene.ids() {
                let first = known.entry(id).or_insert_with(|| name.clone());
                prop_assert_eq!(&*first, &name);
            }
        }
        scene.execute(PRUNE);
        scene.whole_pass();
        scene.whole_pass();
        prop_assert!(scene.ids().len() <= 1, "all but the newest are forgotten");
        scene.store.stop();
    }
}

#[test]
fn passes_beside_accepted_events_leave_no_delivery_without_its_destination() {
    let mut scene = Scene::new();
    let is_over = AtomicBool::new(false);
    let forgotten = std::thread::scope(|scope| {
        let store = scene.store.clone();
        let is_over = &is_over;
        scope.spawn(move || {
            for round in 0..40 {
                for n in 0..20 {
                    accept(&store, &format!("http://{n}"));
                }
                store.write_blocking(Do(DELIVER)).expect("delivered");
                if round % 2 == 0 {
                    store.write_blocking(Do(PRUNE)).expect("pruned");
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        let mut ids = BTreeSet::new();
        while !is_over.load(Ordering::SeqCst) {
            scene.step();
            ids.extend(scene.ids().into_keys());
        }
        ids.len()
    });
    assert_eq!(scene.orphans(), 0);
    println!("{forgotten} numbers for 20 origins");
    assert!(forgotten > 20, "no origin was forgotten meanwhile");
    scene.store.stop();
}

#[test]
fn a_destination_is_deleted_by_indexes_alone() {
    let sql = Connection::open_in_memory().expect("a database");
    sql.execute_batch(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/schema.sql"
    )))
    .expect("the schema");
    let mut statement = sql
        .prepare(&format!(
            "EXPLAIN QUERY PLAN DELETE FROM destinations AS t WHERE t.id = ?1 AND {IS_IDLE}"
        ))
        .expect("good SQL");
    let steps: Vec<String> = statement
        .query_map(params![1, 1], |row| row.get(3))
        .expect("a plan")
        .collect::<Result<_, _>>()
        .expect("text");
    assert!(
        !steps.iter().any(|step| step.contains("SCAN")),
        "{steps:#?}"
    );
    assert!(steps.len() > 4, "{steps:#?}");
    // The check of a reference, which no plan shows, uses an index too.
    let unindexed: i64 = sql
        .query_row(
            "SELECT count(*) FROM sqlite_schema m, pragma_foreign_key_list(m.name) f
             WHERE f.\"table\" = 'destinations' AND NOT EXISTS
                 (SELECT 1 FROM pragma_index_list(m.name) l, pragma_index_info(l.name) i
                  WHERE i.seqno = 0 AND i.name = f.\"from\" AND l.partial = 0)",
            [],
            |row| row.get(0),
        )
        .expect("a count");
    assert_eq!(unindexed, 0);
}
