use std::time::Duration;

use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, OrderKey};
use crate::ops::metrics::Metrics;
use crate::store::accepting::digest_of;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::act::{Found, replay};
use crate::store::sqlite::ops::{line, payload};
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{
    Accept, Accepted, DestinationId, Duplicate, IdempotencyKey, IntentRow, Owner, PayloadDigest,
};

/// The shortest time between two replays of an event by its sender.
const REPLAY_EVERY: Duration = Duration::from_secs(60);

impl Sqlite {
    /// Records an intent; resolves once it is durable.
    pub async fn accept(&self, intent: Accept) -> Result<Accepted, StoreError> {
        if self.is_low_on_space() {
            return Err(StoreError::Full);
        }
        if self.shared().budget.is_spent() {
            return Err(StoreError::BudgetSpent);
        }
        let digest = digest_of(&intent).await?;
        self.write(Hashed { intent, digest }).await
    }
}

/// An intent to record whose payload was hashed away from the writer.
struct Hashed {
    intent: Accept,
    digest: PayloadDigest,
}

impl WriteOp for Hashed {
    type Out = Accepted;

    fn apply(&self, tx: &Tx<'_>) -> Result<Accepted, StoreError> {
        record(&self.intent, || self.digest.clone(), tx)
    }

    fn count(&self, out: &Accepted, metrics: &Metrics) {
        self.intent.count(out, metrics);
    }

    fn rows(&self) -> usize {
        self.intent.rows()
    }

    fn bytes(&self) -> usize {
        self.intent.bytes()
    }
}

impl WriteOp for Accept {
    type Out = Accepted;

    fn apply(&self, tx: &Tx<'_>) -> Result<Accepted, StoreError> {
        record(self, || PayloadDigest::of(&self.headers, &self.body), tx)
    }

    fn count(&self, out: &Accepted, metrics: &Metrics) {
        self.count_outcome(out, metrics);
    }

    fn rows(&self) -> usize {
        // A duplicate that replays writes two rows for each delivery instead.
        let replays_dead = self.key.as_ref().is_some_and(|key| key.replays_dead);
        1 + self.destinations.len() * if replays_dead { 2 } else { 1 }
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.headers.len()
    }
}

/// Records an intent, unless its key names an earlier one.
fn record(
    intent: &Accept,
    digest: impl FnOnce() -> PayloadDigest,
    tx: &Tx<'_>,
) -> Result<Accepted, StoreError> {
    if let Some(key) = &intent.key
        && let Some(earlier) = earlier(intent, key, tx)?
    {
        return Ok(earlier);
    }
    if let Some(owner) = intent.owner {
        for origin in intent.destinations.iter() {
            if !may_wait_for(owner, origin, tx)? {
                return Ok(Accepted::TooManyOrigins);
            }
        }
    }
    let owner = intent.owner.map(|owner| owner.id);
    let id = insert_intent(intent, digest(), tx)?;
    if let Some(key) = &intent.key {
        tx.add_key(key.digest, id.row());
    }
    for (at, name) in intent.destinations.iter().enumerate() {
        let destination = tx.destination(name, owner)?;
        match intent.order_key(at) {
            None => insert_unordered(IntentRow::of(id), destination, tx)?,
            Some(key) => insert_ordered(IntentRow::of(id), destination, key, tx)?,
        }
        tx.moved(destination, None, DeliveryState::Queued);
        tx.notify_dispatcher(destination);
    }
    Ok(Accepted::New(id, tx.now))
}

fn insert_intent(
    intent: &Accept,
    digest: PayloadDigest,
    tx: &Tx<'_>,
) -> Result<IntentId, StoreError> {
    let id = tx.next_id()?;
    tx.execute(
        "INSERT INTO intents (id, random, surface, created_at, label, url, scope,
                              idempotency_key, request_digest, metadata, headers, body,
                              event_type, query, unrouted, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            id.row(),
            id.random(),
            intent.surface as i64,
            tx.now,
            intent.label,
            intent.url,
            intent.key.as_ref().and_then(|key| key.scope),
            intent.key.as_ref().map(|key| &key.key),
            intent.key.as_ref().and_then(|key| key.request_digest),
            intent.metadata,
            intent.headers,
            &intent.body[..],
            intent.event_type,
            intent.query,
            intent.destinations.is_empty().then_some(1),
            digest.in_row(IntentRow::of(id)),
        ],
    )?;
    Ok(id)
}

fn insert_unordered(
    intent: IntentRow,
    destination: DestinationId,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?4)",
        params![intent, destination, DeliveryState::Queued, tx.now],
    )?;
    Ok(())
}

fn insert_ordered(
    intent: IntentRow,
    destination: DestinationId,
    key: OrderKey,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    let due = line::enter(tx, intent, destination, key, tx.now)?;
    tx.execute(
        "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at,
                                 order_key, place)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?1)",
        params![intent, destination, DeliveryState::Queued, due, tx.now, key],
    )?;
    Ok(())
}

/// The intent that the key names, if one was accepted within the window. The digest finds
/// candidates; the key itself decides. A key past its window is deleted, to make room for this one.
fn earlier(
    intent: &Accept,
    key: &IdempotencyKey,
    tx: &Tx<'_>,
) -> Result<Option<Accepted>, StoreError> {
    for row in tx.candidates(key.digest)? {
        // The bodies are compared only here, so that no event costs a digest of its body. The
        // earlier one is read only if it is as long. One that was discarded, erased or shed has no
        // body left to differ from. Of an erased one's key only the digest is left, which led here.
        let found: Option<(i64, Timestamp, Option<[u8; 32]>, bool)> = tx.first(
            "SELECT random, created_at, request_digest,
                    iif(length(body) = length(?6), body = ?6,
                        length(body) = 0 AND (gone IS NOT NULL
                            OR EXISTS (SELECT 1 FROM deliveries
                                       WHERE intent_id = ?1 AND discarded_at IS NOT NULL)))
             FROM intents
             WHERE id = ?1 AND surface = ?2
               AND (idempotency_key = ?3 OR (idempotency_key IS NULL AND gone = 1))
               AND scope IS ?4 AND (?4 IS NOT NULL OR label = ?5)",
            params![
                row,
                intent.surface as i64,
                key.key,
                key.scope,
                intent.label,
                &intent.body[..],
            ],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )?;
        let Some((random, created_at, request_digest, is_same_body)) = found else {
            continue;
        };
        if created_at.plus(intent.window) <= tx.now {
            tx.forget_key(key.digest, row)?;
            continue;
        }
        if request_digest != key.request_digest {
            return Ok(Some(Accepted::Conflict));
        }
        let is_same_body = is_same_body || key.request_digest.is_some();
        let replayed = if key.replays_dead && is_same_body {
            replay_if_dead(IntentRow(row), tx)?
        } else {
            0
        };
        return Ok(Some(Accepted::Duplicate(Duplicate {
            id: IntentId::new(row, random.cast_unsigned()),
            is_same_body,
            replayed,
        })));
    }
    Ok(None)
}

/// Replays an event's deliveries if all of them are dead-lettered, and none was replayed within the
/// last minute. Returns their number.
fn replay_if_dead(intent: IntentRow, tx: &Tx<'_>) -> Result<usize, StoreError> {
    let deliveries: Vec<(DestinationId, DeliveryState)> = tx.rows(
        "SELECT destination_id, state FROM deliveries WHERE intent_id = ?1",
        [intent],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let is_dead = |(_, state): &(_, DeliveryState)| *state == DeliveryState::DeadLettered;
    // An erased or shed payload can't be sent again.
    if !deliveries.iter().all(is_dead) || payload::is_gone(tx, intent)? {
        return Ok(0);
    }
    // Of an outcome of 4: a replay, also an operator's.
    let recent = tx.first(
        "SELECT 1 FROM attempts WHERE intent_id = ?1 AND outcome = 4 AND started_at > ?2",
        params![intent, tx.now.minus(REPLAY_EVERY)],
        |_| Ok(()),
    )?;
    if recent.is_some() {
        return Ok(0);
    }
    let mut replayed = 0;
    for (destination, state) in deliveries {
        let found = Found {
            intent,
            destination,
            state,
            updated_at: None,
        };
        // One that an operator has discarded stays so.
        replayed += usize::from(replay(tx, &found)?);
    }
    Ok(replayed)
}

/// Whether deliveries of an API key may wait for this origin: for at most
/// [`Owner::max_waiting_origins`] at a time, so that one key can't fill the dispatcher's memory.
fn may_wait_for(owner: Owner, origin: &str, tx: &Tx<'_>) -> Result<bool, StoreError> {
    if let Some(origin) = tx.known_destination(origin)? {
        let waiting = tx.first(
            "SELECT 1 FROM deliveries WHERE destination_id = ?1 AND next_attempt_at IS NOT NULL",
            [origin],
            |_| Ok(()),
        )?;
        if waiting.is_some() {
            return Ok(true);
        }
    }
    let mut origins = tx.writer_state()?.origins.borrow_mut();
    origins.admit(owner.id, owner.max_waiting_origins, tx.now, || {
        let waiting: Option<i64> = tx.first(
            "SELECT count(*) FROM destinations t WHERE t.owner = ?1 AND EXISTS
                 (SELECT 1 FROM deliveries d
                  WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)",
            [owner.id],
            |row| row.get(0),
        )?;
        Ok(usize::try_from(waiting.unwrap_or(0)).unwrap_or(0))
    })
}

#[cfg(test)]
impl Sqlite {
    /// Records an intent. Blocks.
    pub fn accept_blocking(&self, intent: Accept) -> Result<Accepted, StoreError> {
        self.write_blocking(intent)
    }
}
