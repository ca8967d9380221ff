//! The facts that alerts are made of.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Timestamp;
use crate::model::{FailureKind, IntentId, Surface};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::{maybe_text, text};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{
    AlertState, DeadLetterDigest, DeadLetterId, DeadLetterQuery, DestinationFacts, DestinationId,
};

/// Dead letters of a destination in a time, in the order of the index.
const SELECT_DEAD: &str = "SELECT d.intent_id, i.random, i.surface, d.updated_at,
            a.failure, a.status_code
     FROM deliveries d INDEXED BY dead
     JOIN intents i ON i.id = d.intent_id
     LEFT JOIN attempts a ON a.intent_id = d.intent_id
          AND a.destination_id = d.destination_id AND a.entry = d.history
     WHERE d.state = 4 AND d.discarded_at IS NULL AND d.destination_id = ?1
       AND d.updated_at >= ?2 AND d.updated_at < ?3
       AND NOT (i.surface = 1 AND i.label = 'relay')
     ORDER BY d.updated_at LIMIT ?4";

/// Destinations with a dead letter since a time, from one to the next in the index.
const SELECT_WITH_DEAD: &str = "WITH RECURSIVE dead(id) AS (
         SELECT min(destination_id) FROM deliveries
         WHERE state = 4 AND discarded_at IS NULL
         UNION ALL
         SELECT (SELECT min(destination_id) FROM deliveries
                 WHERE state = 4 AND discarded_at IS NULL AND destination_id > dead.id)
         FROM dead WHERE dead.id IS NOT NULL
     )
     SELECT id FROM dead WHERE id IS NOT NULL AND EXISTS
         (SELECT 1 FROM deliveries
          WHERE state = 4 AND discarded_at IS NULL AND destination_id = id AND updated_at >= ?1)
     LIMIT ?2";

/// Destinations that a digest looks at: more share one alert with these.
const MAX_DESTINATIONS: i64 = 10_000;

/// A dead letter of [`SELECT_DEAD`].
struct DeadLetter {
    id: DeadLetterId,
    at: Timestamp,
    reason: String,
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let random: i64 = row.get(1)?;
    let surface: i64 = row.get(2)?;
    let failure = maybe_text(row, 4)?;
    let kind = failure.as_deref().and_then(FailureKind::from_name);
    Ok(DeadLetter {
        id: DeadLetterId {
            id: IntentId::new(row.get(0)?, random.cast_unsigned()),
            is_event: surface == Surface::Event as i64,
        },
        at: row.get(3)?,
        reason: match kind {
            Some(kind) => kind.class(row.get(5)?),
            // It was interrupted too often, say.
            None => "no attempt ended".to_owned(),
        },
    })
}

fn digest(sql: &Connection, query: &DeadLetterQuery<'_>) -> Result<DeadLetterDigest, StoreError> {
    let mut digest = DeadLetterDigest::default();
    let mut first: Vec<(Timestamp, DeadLetterId)> = Vec::new();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let mut statement = sql.prepare_cached(SELECT_DEAD)?;
    for destination in query.destinations {
        let Some(name) = name_of(sql, *destination)?.filter(|name| name != query.except) else {
            continue;
        };
        let room = DeadLetterDigest::MAX_COUNTED - digest.count;
        // One more shows whether there are more.
        let at_most = i64::try_from(room + 1).unwrap_or(i64::MAX);
        let found = statement.query_map(
            params![destination, query.from, query.until, at_most],
            dead_letter,
        )?;
        let mut count = 0;
        for found in found {
            let found = found?;
            if count == room {
                digest.is_cut_short = true;
                break;
            }
            count += 1;
            *reasons.entry(found.reason).or_default() += 1;
            first.push((found.at, found.id));
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
    digest
        .reasons
        .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let by_count = |(_, count): &(String, u64)| std::cmp::Reverse(*count);
    digest.destinations.sort_by_key(by_count);
    Ok(digest)
}

fn name_of(sql: &Connection, destination: DestinationId) -> Result<Option<String>, StoreError> {
    let mut statement = sql.prepare_cached("SELECT name FROM destinations WHERE id = ?1")?;
    Ok(statement
        .query_row([destination], |row| text(row, 0))
        .optional()?)
}

fn with_dead_letters(sql: &Connection, since: Timestamp) -> Result<Vec<DestinationId>, StoreError> {
    let mut statement = sql.prepare_cached(SELECT_WITH_DEAD)?;
    let rows = statement.query_map(params![since, MAX_DESTINATIONS], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn states(sql: &Connection) -> Result<Vec<AlertState>, StoreError> {
    let mut statement = sql.prepare("SELECT kind, subject, state, since FROM alert_states")?;
    let rows = statement.query_map([], |row| {
        Ok(AlertState {
            kind: row.get(0)?,
            subject: row.get(1)?,
            state: row.get(2)?,
            since: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Reader {
    /// The states of alerts. They are as many as there are kinds and configured destinations.
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

    /// The destinations with a dead letter since a time.
    pub fn with_dead_letters(&self, since: Timestamp) -> Result<Vec<DestinationId>, StoreError> {
        self.read(|sql| with_dead_letters(sql, since))
    }
}

impl Sqlite {
    /// The facts about these destinations, in the same order. Blocks.
    pub fn destination_facts(
        &self,
        reader: &Reader,
        names: &[String],
    ) -> Result<Vec<DestinationFacts>, StoreError> {
        let counts = &self.shared().counts;
        let blocking: Option<HashMap<DestinationId, i64>> =
            counts.blocking().map(|counts| counts.into_iter().collect());
        reader.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT id, paused_at, pause_reason, probe_at IS NOT NULL
                 FROM destinations WHERE name = ?1",
            )?;
            let facts = names.iter().map(|name| {
                let found = statement.query_row([name], |row| {
                    let paused_at: Option<Timestamp> = row.get(1)?;
                    let reason = maybe_text(row, 2)?;
                    let id = row.get(0)?;
                    let of = |counts: &HashMap<_, i64>| counts.get(&id).copied().unwrap_or(0);
                    Ok(DestinationFacts {
                        paused: paused_at.zip(reason),
                        is_breaker_open: row.get(3)?,
                        waiting: counts.waiting(id),
                        blocking: blocking.as_ref().map(of),
                    })
                });
                // Nothing was ever sent to it.
                Ok(found.optional()?.unwrap_or_default())
            });
            facts.collect()
        })
    }
}
