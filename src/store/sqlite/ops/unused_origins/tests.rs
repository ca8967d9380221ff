use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::tests::{Insert, event_to, open};
use crate::store::types::Accepted;

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
    store
        .write_blocking(event_to(&[destination]))
        .expect("accepted")
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
