use std::time::Duration;

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::StoreError;

/// A destination with deliveries that wait.
#[derive(Debug)]
pub(in super::super) struct Due {
    pub destination: i64,
    pub name: String,
    /// When the first of them is due.
    pub next_attempt_at: Timestamp,
    /// How many are due already, counted no further than asked.
    pub ready: usize,
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    /// When its breaker, which is open, lets a probe go, and after what wait.
    pub probe: Option<(Timestamp, Duration)>,
}

/// Once round all destinations for which something waits.
#[derive(Debug)]
pub(in super::super) struct Round {
    start: i64,
    /// The last that was seen.
    seen: i64,
    has_wrapped: bool,
    is_over: bool,
}

/// Below every destination.
const BEFORE: i64 = i64::MIN;

impl Round {
    /// One that begins after this destination, and ends with it.
    pub fn after(start: i64) -> Self {
        Self {
            start,
            seen: start,
            has_wrapped: false,
            is_over: false,
        }
    }

    /// Whether all were seen.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next destinations, as many at most, and how much waits for each at `now`, counted up to
    /// `counted`.
    pub fn next(
        &mut self,
        sql: &Connection,
        now: Timestamp,
        at_most: usize,
        counted: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let mut found: Vec<Due> = Vec::new();
        while found.len() < at_most && !self.is_over {
            let end = if self.has_wrapped {
                self.start
            } else {
                i64::MAX
            };
            let left = at_most - found.len();
            let more = Due::read(sql, now, (self.seen, end), left, counted)?;
            match more.last() {
                Some(last) if more.len() == left => self.seen = last.destination,
                _ if self.has_wrapped => self.is_over = true,
                _ => (self.seen, self.has_wrapped) = (BEFORE, true),
            }
            found.extend(more);
        }
        Ok(found)
    }
}

impl Due {
    /// The first destinations, as many at most, after the one and up to the other, for which
    /// something waits at `now`. Steps from one to the next in the index, and so costs as much as there
    /// are such destinations, however many rows wait.
    fn read(
        sql: &Connection,
        now: Timestamp,
        (after, end): (i64, i64),
        at_most: usize,
        counted: usize,
    ) -> Result<Vec<Self>, StoreError> {
        let mut statement = sql.prepare_cached(
            "WITH RECURSIVE waiting(id) AS (
                 SELECT min(destination_id) FROM deliveries
                 WHERE next_attempt_at IS NOT NULL AND destination_id > ?3
                 UNION ALL
                 SELECT (SELECT min(destination_id) FROM deliveries
                         WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
                 FROM waiting WHERE waiting.id < ?4
                 LIMIT ?5
             )
             SELECT t.id, t.name, t.paused_at IS NOT NULL, t.held_until,
                    t.probe_at, t.probe_wait,
                    (SELECT min(d.next_attempt_at) FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL),
                    (SELECT count(*) FROM (SELECT 1 FROM deliveries d
                     WHERE d.destination_id = t.id AND d.next_attempt_at <= ?1 LIMIT ?2))
             FROM waiting CROSS JOIN destinations t ON t.id = waiting.id
             WHERE waiting.id <= ?4",
        )?;
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let bounds = params![
            now.as_millis(),
            number(counted),
            after,
            end,
            number(at_most)
        ];
        let rows = statement.query_map(bounds, |row| {
            let ready: i64 = row.get(7)?;
            let probe_at = row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis);
            let wait = row.get::<_, Option<i64>>(5)?;
            let wait = wait.map(|wait| Duration::from_millis(wait.unsigned_abs()));
            Ok(Self {
                destination: row.get(0)?,
                name: row.get(1)?,
                is_paused: row.get(2)?,
                held_until: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
                next_attempt_at: Timestamp::from_millis(row.get(6)?),
                probe: probe_at.zip(wait),
                ready: usize::try_from(ready).unwrap_or(0),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_round_sees_each_destination_once_beginning_where_it_should(
            waiting in prop::collection::btree_set(1i64..40, 0..20),
            start in 0i64..41,
            steps in prop::collection::vec(1usize..9, 1..9),
        ) {
            let sql = Connection::open_in_memory().expect("a database");
            sql.execute_batch(include_str!("../../../schema.sql")).expect("the schema");
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
            let mut round = Round::after(start);
            let mut seen = Vec::new();
            for step in steps.iter().cycle() {
                if round.is_over() {
                    break;
                }
                let now = Timestamp::from_millis(7);
                let found = round.next(&sql, now, *step, 10).expect("it reads");
                prop_assert!(found.len() <= *step);
                prop_assert!(found.iter().all(|due| due.ready == 1));
                seen.extend(found.iter().map(|due| due.destination));
            }
            let (before, after): (Vec<i64>, _) = waiting.into_iter().partition(|id| *id <= start);
            prop_assert_eq!(seen, [after, before].concat());
        }
    }
}
