//! The facts that alerts are made of.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::{FailureKind, Surface};
use crate::store::error::StoreError;
use crate::store::postgres::columns::intent_id;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::counts::{Counts, numbers};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::queries::destinations::destination_name;
use crate::store::postgres::queries::others::LATEST_COMMIT;
use crate::store::postgres::reader::Reader;
use crate::store::postgres::values::{limit, maybe_number, maybe_text, number};
use crate::store::types::{
    AlertState, DeadLetterDigest, DeadLetterId, DeadLetterQuery, DestinationFacts, DestinationId,
    NewlyDead,
};

/// Dead letters of a destination in a time, in the order of the index.
pub const SELECT_DEAD: &str = "SELECT d.intent_id, i.random, i.surface, d.updated_at,
            a.failure, a.status_code
     FROM relay.ended d JOIN relay.intents i ON i.id = d.intent_id
          LEFT JOIN relay.attempts a ON a.intent_id = d.intent_id
               AND a.destination_id = d.destination_id AND a.entry = d.history
     WHERE d.state = 4 AND d.discarded_at IS NULL AND d.destination_id = $1
       AND d.updated_at >= $2 AND d.updated_at < $3
       AND NOT (i.surface = 1 AND i.label = 'relay'::bytea)
     ORDER BY d.updated_at, d.intent_id LIMIT $4";

/// Destinations with a dead letter since a time, from one to the next in the index.
pub const SELECT_WITH_DEAD: &str = "WITH RECURSIVE dead(id) AS (
         (SELECT destination_id FROM relay.ended
          WHERE state = 4 AND discarded_at IS NULL ORDER BY destination_id LIMIT 1)
         UNION ALL
         SELECT (SELECT e.destination_id FROM relay.ended e
                 WHERE e.state = 4 AND e.discarded_at IS NULL AND e.destination_id > dead.id
                 ORDER BY e.destination_id LIMIT 1)
         FROM dead WHERE dead.id IS NOT NULL
     )
     SELECT id FROM dead WHERE id IS NOT NULL AND
         (SELECT e.updated_at FROM relay.ended e
          WHERE e.state = 4 AND e.discarded_at IS NULL AND e.destination_id = id
          ORDER BY e.updated_at DESC LIMIT 1) >= $1
     LIMIT $2";

/// Destinations that a digest looks at: more share one alert with these.
const MAX_DESTINATIONS: i64 = 10_000;

/// A dead letter of [`SELECT_DEAD`].
struct DeadLetter {
    id: DeadLetterId,
    at: Timestamp,
    reason: String,
}

fn dead_letter(row: &Row) -> Result<DeadLetter, Failure> {
    let surface: i64 = number(row, 2)?;
    let failure: Option<&str> = row.try_get(4)?;
    Ok(DeadLetter {
        id: DeadLetterId {
            id: intent_id(row, 0)?,
            is_event: surface == Surface::Event as i64,
        },
        at: row.try_get(3)?,
        reason: match failure.and_then(FailureKind::from_name) {
            Some(kind) => kind.class(maybe_number(row, 5)?),
            // It was interrupted too often, say.
            None => "no attempt ended".to_owned(),
        },
    })
}

fn digest(sql: &mut Connection, query: &DeadLetterQuery<'_>) -> Result<DeadLetterDigest, Failure> {
    let mut digest = DeadLetterDigest::default();
    let mut first: Vec<(Timestamp, DeadLetterId)> = Vec::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for destination in query.destinations {
        let name = destination_name(sql, *destination)?;
        let Some(name) = name.filter(|name| name != query.except) else {
            continue;
        };
        let room = DeadLetterDigest::MAX_COUNTED - digest.count;
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        // One more shows whether there are more.
        let rows = sql.rows(
            SELECT_DEAD,
            &[&destination, &query.from, &query.until, &limit(room + 1)],
        )?;
        digest.is_cut_short |= rows.len() > room;
        let found = rows.iter().take(room).map(dead_letter);
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let count = found.len() as u64;
        for dead in found {
            *reasons.entry(dead.reason).or_default() += 1;
            first.push((dead.at, dead.id));
        }
        // By time; ties in the order of acceptance.
        first.sort_by_key(|(at, found)| (*at, found.id.row()));
        first.truncate(DeadLetterDigest::MAX_IDS);
        digest.count += count;
        if count > 0 {
            digest.destinations.push((name, count));
        }
    }
    digest.first = first.into_iter().map(|(_, found)| found).collect();
    digest.reasons = reasons.into_iter().collect();
    digest.reasons.sort_by_key(|(_, count)| Reverse(*count));
    digest
        .destinations
        .sort_by_key(|(_, count)| Reverse(*count));
    Ok(digest)
}

fn with_dead_letters(
    sql: &mut Connection,
    since: Timestamp,
) -> Result<Vec<DestinationId>, Failure> {
    let rows = sql.rows(SELECT_WITH_DEAD, &[&since, &MAX_DESTINATIONS])?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

fn states(sql: &mut Connection) -> Result<Vec<AlertState>, Failure> {
    let select = "SELECT kind, subject, state, since FROM relay.alert_states
                  ORDER BY kind, subject";
    let state = |row: &Row| {
        Ok(AlertState {
            kind: row.try_get(0)?,
            subject: row.try_get(1)?,
            state: row.try_get(2)?,
            since: row.try_get(3)?,
        })
    };
    sql.rows(select, &[])?.iter().map(state).collect()
}

fn facts(
    sql: &mut Connection,
    counts: &Counts,
    names: &[String],
) -> Result<Vec<DestinationFacts>, Failure> {
    let rows = sql.rows(
        "SELECT id, name, paused_at, pause_reason, probe_at IS NOT NULL
         FROM relay.destinations WHERE name = ANY($1)",
        &[&names],
    )?;
    let ids = rows.iter().map(|row| row.try_get(0));
    let ids = ids.collect::<Result<Vec<DestinationId>, _>>()?;
    let numbers = numbers(sql, counts, &ids)?;
    let mut found = HashMap::new();
    for (row, id) in rows.iter().zip(ids) {
        let numbers = numbers.get(&id).copied().unwrap_or_default();
        let paused_at: Option<Timestamp> = row.try_get(2)?;
        let facts = DestinationFacts {
            paused: paused_at.zip(maybe_text(row, 3)?),
            is_breaker_open: row.try_get(4)?,
            waiting: Some(numbers.waiting),
            blocking: Some(numbers.blocking),
        };
        found.insert(row.try_get::<_, &str>(1)?, facts);
    }
    // Nothing was ever sent to one that is not there.
    let of = |name: &String| found.remove(name.as_str()).unwrap_or_default();
    Ok(names.iter().map(of).collect())
}

impl Postgres {
    /// A time that no later change is older than. Own changes are dated and committed one after the
    /// other; while another node lives, one of its changes may be committed later than this.
    /// Blocks.
    pub fn settled_until(&self) -> Result<Timestamp, StoreError> {
        let clock = &self.shared().clock;
        self.turn(|sql| {
            let now = clock.now();
            let others = "SELECT 1 FROM relay.nodes OFFSET 1";
            let is_alone = sql.first(others, &[])?.is_none();
            Ok(if is_alone {
                now
            } else {
                now.minus(LATEST_COMMIT)
            })
        })
    }

    /// The destinations to which something was given up since the last call.
    pub fn take_newly_dead(&self) -> NewlyDead {
        self.shared().newly_dead.take()
    }

    /// The facts about these destinations, in the same order. Blocks.
    pub fn destination_facts(
        &self,
        reader: &Reader,
        names: &[String],
    ) -> Result<Vec<DestinationFacts>, StoreError> {
        let counts = &self.shared().counts;
        reader.read(|sql| facts(sql, counts, names))
    }
}

impl Reader {
    /// The states of alerts. They are as many as there are kinds, and configured destinations,
    /// certificates and nodes.
    pub fn alert_states(&self) -> Result<Vec<AlertState>, StoreError> {
        self.read(states)
    }

    /// Dead letters in a time, in numbers.
    pub fn dead_letter_digest(
        &self,
        query: &DeadLetterQuery<'_>,
    ) -> Result<DeadLetterDigest, StoreError> {
        self.read(|sql| digest(sql, query))
    }

    /// The destinations with a dead letter since a time, the first 10 000 of them.
    pub fn with_dead_letters(&self, since: Timestamp) -> Result<Vec<DestinationId>, StoreError> {
        self.read(|sql| with_dead_letters(sql, since))
    }
}
