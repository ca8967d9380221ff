use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::delivery::lane::Origin;
use crate::store::StoreError;

/// A destination as a tick finds it.
#[derive(Debug)]
pub(in crate::delivery) struct Due {
    pub name: String,
    /// When the first of its deliveries is due; none waits if there is no such time.
    pub next_attempt_at: Option<Timestamp>,
    /// How many are due already, counted no further than asked.
    pub ready: usize,
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    /// When its breaker, which is open, lets a probe go, and after what wait.
    pub probe: Option<(Timestamp, Duration)>,
}

impl Due {
    /// Reads a destination, and how much of it is due at `now`, counted up to `counted`. None if it
    /// isn't there any more.
    pub fn read(
        sql: &Connection,
        destination: i64,
        now: Timestamp,
        counted: usize,
    ) -> Result<Option<Self>, StoreError> {
        let mut statement = sql.prepare_cached(
            "SELECT t.name, t.paused_at IS NOT NULL, t.held_until,
                    t.probe_at, t.probe_wait,
                    (SELECT min(d.next_attempt_at) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
                    (SELECT count(*) FROM (SELECT 1 FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at <= ?2 LIMIT ?3))
             FROM destinations t WHERE t.id = ?1",
        )?;
        let counted = i64::try_from(counted).unwrap_or(i64::MAX);
        let found = statement.query_row(params![destination, now.as_millis(), counted], |row| {
            let time = |at| -> rusqlite::Result<_> {
                Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
            };
            let wait = row.get::<_, Option<i64>>(4)?;
            let wait = wait.map(|wait| Duration::from_millis(wait.unsigned_abs()));
            let ready: i64 = row.get(6)?;
            Ok(Self {
                name: row.get(0)?,
                is_paused: row.get(1)?,
                held_until: time(2)?,
                probe: time(3)?.zip(wait),
                next_attempt_at: time(5)?,
                ready: usize::try_from(ready).unwrap_or(0),
            })
        });
        Ok(found.optional()?)
    }
}

/// The columns of an [`Origin`].
const ORIGIN: &str = "t.id, instr(t.name, '://') = 0, t.owner, t.proven_at IS NOT NULL";

fn origin(row: &rusqlite::Row<'_>) -> rusqlite::Result<Origin> {
    Ok(Origin {
        id: row.get(0)?,
        is_named: row.get(1)?,
        owner: row.get(2)?,
        is_proven: row.get(3)?,
    })
}

impl Origin {
    /// Reads what decides about a destination's lane.
    pub fn read(sql: &Connection, destination: i64) -> Result<Option<Self>, StoreError> {
        let mut statement = sql.prepare_cached(&format!(
            "SELECT {ORIGIN} FROM destinations t WHERE t.id = ?1"
        ))?;
        Ok(statement.query_row([destination], origin).optional()?)
    }

    /// The first `at_most` destinations after this one for which something waits, each with the time
    /// at which its first delivery is due; one whose breaker was left open is to be looked at now,
    /// since the configuration may have taken its breaker away. Steps from one to the next in the
    /// index, and so costs as much as there are such destinations, however many deliveries wait.
    pub fn waiting(
        sql: &Connection,
        after: i64,
        at_most: usize,
    ) -> Result<Vec<(Self, Timestamp)>, StoreError> {
        let mut statement = sql.prepare_cached(&format!(
            "WITH RECURSIVE waiting(id) AS (
                 SELECT min(destination_id) FROM deliveries
                 WHERE next_attempt_at IS NOT NULL AND destination_id > ?1
                 UNION ALL
                 SELECT (SELECT min(destination_id) FROM deliveries
                         WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
                 FROM waiting WHERE waiting.id IS NOT NULL
                 LIMIT ?2
             )
             SELECT {ORIGIN},
                    iif(t.probe_at IS NULL,
                        (SELECT min(d.next_attempt_at) FROM deliveries d
                         WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
                        0)
             FROM waiting CROSS JOIN destinations t ON t.id = waiting.id"
        ))?;
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![after, at_most], |row| {
            let at: i64 = row.get(4)?;
            Ok((origin(row)?, Timestamp::from_millis(at)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// What keeps a destination, as gauges show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Kept {
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    pub is_open: bool,
}

impl Kept {
    /// Nothing keeps it.
    pub const NOTHING: Self = Self {
        is_paused: false,
        held_until: None,
        is_open: false,
    };

    /// Reads it by name; none of a destination that nothing was ever sent to.
    pub fn read(sql: &Connection, name: &str) -> Result<Option<Self>, StoreError> {
        let mut statement = sql.prepare_cached(
            "SELECT paused_at IS NOT NULL, held_until, probe_at IS NOT NULL
             FROM destinations WHERE name = ?1",
        )?;
        let found = statement.query_row([name], |row| {
            Ok(Self {
                is_paused: row.get(0)?,
                held_until: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
                is_open: row.get(2)?,
            })
        });
        Ok(found.optional()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_scan_finds_each_waiting_destination_once(
            waiting in prop::collection::btree_set(1i64..40, 0..20),
            step in 1usize..9,
        ) {
            let sql = Connection::open_in_memory().expect("a database");
            sql.execute_batch(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.sql"))).expect("the schema");
            sql.execute_batch(
                "INSERT INTO intents VALUES (1, 0, 1, 0, 'a', NULL, NULL, NULL, NULL, NULL, x'', x'')",
            )
            .expect("an intent");
            for id in 1..40 {
                sql.execute("INSERT INTO destinations (id, name) VALUES (?1, ?1)", [id])
                    .expect("a destination");
                // What is delivered doesn't wait.
                let (state, at) = if waiting.contains(&id) { (0, Some(5)) } else { (3, None) };
                sql.execute(
                    "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
                     VALUES (1, ?1, ?2, ?3, 5)",
                    params![id, state, at],
                )
                .expect("a delivery");
            }
            let (mut after, mut seen) = (0, Vec::new());
            loop {
                let found = Origin::waiting(&sql, after, step).expect("it reads");
                prop_assert!(found.len() <= step);
                prop_assert!(found.iter().all(|(_, at)| at.as_millis() == 5));
                seen.extend(found.iter().map(|(origin, _)| origin.id));
                match seen.last() {
                    Some(last) if found.len() == step => after = *last,
                    _ => break,
                }
            }
            prop_assert_eq!(seen, waiting.into_iter().collect::<Vec<_>>());
        }
    }
}
