//! The statement that records intents with their keys and deliveries.

use super::pending::PendingAccept;
use crate::clock::Timestamp;
use crate::model::OrderKey;
use crate::store::postgres::connection::{Call, Connection, Param};
use crate::store::postgres::destinations::Known;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::keys::KeyDigest;
use crate::store::postgres::text::Text;
use crate::store::postgres::turn::line;
use crate::store::types::{Checksum, DestinationId, IntentRow, OwnerId};

/// Records intents, but those whose key names an earlier one within its window. $22: ad hoc
/// origins, which a pass of maintenance may delete: nothing is recorded unless all are there, and
/// they stay until the commit. Keys are written in their order, so that two nodes never wait for
/// each other.
const ACCEPT: &str = "
WITH present AS MATERIALIZED (
    SELECT id FROM relay.destinations WHERE id = ANY($22::int4[]) ORDER BY id FOR KEY SHARE
), input AS MATERIALIZED (
    SELECT t.* FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::bytea[], $5::text[], $6::int8[],
            $7::bytea[], $8::bytea[], $9::text[], $10::bytea[], $11::bytea[], $12::bytea[],
            $13::bytea[], $14::int2[], $15::int8[], $16::uuid[], $17::int8[])
        AS t(id, random, surface, label, url, scope, idempotency_key, request_digest, metadata,
             headers, body, event_type, query, unrouted, checksum, digest, expired_at)
    WHERE (SELECT count(*) FROM present) = cardinality($22::int4[])
), keyed AS (
    INSERT INTO relay.idempotency AS k (digest, intent_id, created_at)
    SELECT digest, id, $18 FROM input WHERE digest IS NOT NULL ORDER BY digest
    ON CONFLICT (digest) DO UPDATE
        SET intent_id = excluded.intent_id, created_at = excluded.created_at
        WHERE k.created_at <= (SELECT expired_at FROM input WHERE input.digest = excluded.digest)
    RETURNING intent_id
), fresh AS MATERIALIZED (
    SELECT * FROM input WHERE digest IS NULL OR (id IN (SELECT intent_id FROM keyed)) IS TRUE
), recorded AS (
    INSERT INTO relay.intents (id, random, surface, created_at, label, url, scope, idempotency_key,
        request_digest, metadata, headers, body, event_type, query, unrouted, checksum)
    SELECT id, random, surface, $18, label, url, scope, idempotency_key, request_digest, metadata,
        headers, body, event_type, query, unrouted, checksum FROM fresh
), deliveries AS (
    INSERT INTO relay.waiting (destination_id, next_attempt_at, intent_id, updated_at, order_key,
        place)
    SELECT t.destination_id,
        CASE WHEN t.order_key IS NULL THEN $18 ELSE 9223372036854775807 END, t.id, $18,
        t.order_key, CASE WHEN t.order_key IS NOT NULL THEN t.id END
    FROM unnest($19::int8[], $20::int4[], $21::int8[]) AS t(id, destination_id, order_key)
    WHERE (t.id IN (SELECT id FROM fresh)) IS TRUE
)
SELECT ARRAY(SELECT id FROM fresh), (SELECT count(*) FROM present) = cardinality($22::int4[])";

/// The rows that are there with the random bits that were given to them: they were committed,
/// though a synchronous standby may not have them. To lock them is a change, so this statement's
/// own commit waits until the standby has everything up to it.
const COMMITTED: &str = "
SELECT i.id FROM relay.intents i JOIN unnest($1::int8[], $2::int8[]) AS t(id, random)
    ON i.id = t.id AND i.random = t.random
FOR KEY SHARE OF i";

/// The rows of a batch.
pub struct Inserted {
    /// The rows that were recorded; the keys of the others name earlier intents.
    pub fresh: Vec<i64>,
    /// Whether all destinations were there. Otherwise nothing was recorded.
    pub has_destinations: bool,
}

/// The columns of a batch, a vector each.
#[derive(Default)]
pub struct Rows<'a> {
    ids: Vec<i64>,
    randoms: Vec<i64>,
    surfaces: Vec<i16>,
    labels: Vec<Text<'a>>,
    urls: Vec<Option<&'a str>>,
    scopes: Vec<Option<OwnerId>>,
    keys: Vec<Option<Text<'a>>>,
    request_digests: Vec<Option<&'a [u8]>>,
    metadata: Vec<Option<&'a str>>,
    headers: Vec<&'a [u8]>,
    bodies: Vec<&'a [u8]>,
    event_types: Vec<Option<Text<'a>>>,
    queries: Vec<Option<Text<'a>>>,
    unrouted: Vec<Option<i16>>,
    checksums: Vec<Checksum>,
    digests: Vec<Option<KeyDigest>>,
    expired_at: Vec<i64>,
    /// The intent, destination and ordering key of each delivery.
    deliveries: (Vec<i64>, Vec<DestinationId>, Vec<Option<OrderKey>>),
    /// The destination and ordering key of those that have one.
    lines: (Vec<DestinationId>, Vec<OrderKey>),
    /// Ad hoc origins, each once.
    origins: Vec<DestinationId>,
    now: i64,
}

impl<'a> Rows<'a> {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: now.as_millis(),
            ..Self::default()
        }
    }

    /// Adds an intent that has got its id. `known` finds its destinations, which were met.
    pub fn add(&mut self, pending: &'a PendingAccept, known: impl Fn(&str) -> Option<Known>) {
        let intent = &pending.intent;
        let id = pending.id.expect("it was given one");
        let key = intent.key.as_ref();
        self.ids.push(id.row());
        self.randoms.push(id.random());
        self.surfaces
            .push(i16::try_from(intent.surface as i64).expect("there are two"));
        self.labels.push(Text::from(&intent.label));
        self.urls.push(intent.url.as_deref());
        self.scopes.push(key.and_then(|key| key.scope));
        self.keys.push(key.map(|key| Text::from(&key.key)));
        let digest = key.and_then(|key| key.request_digest.as_ref());
        self.request_digests.push(digest.map(|digest| &digest[..]));
        self.metadata.push(intent.metadata.as_deref());
        self.headers.push(&intent.headers);
        self.bodies.push(&intent.body);
        self.event_types
            .push(intent.event_type.as_ref().map(Text::from));
        self.queries.push(intent.query.as_ref().map(Text::from));
        self.unrouted
            .push(intent.destinations.is_empty().then_some(1));
        let checksum = pending.digest.clone().in_row(IntentRow::of(id));
        self.checksums.push(checksum);
        self.digests.push(pending.key);
        let expired_at = Timestamp::from_millis(self.now).minus(intent.window);
        self.expired_at.push(expired_at.as_millis());
        for (at, name) in intent.destinations.iter().enumerate() {
            // One that was forgotten meanwhile is missing below, and the batch begins anew.
            let destination = known(name).map(|known| known.id).unwrap_or_default();
            let order_key = intent.order_key(at);
            self.deliveries.0.push(id.row());
            self.deliveries.1.push(destination);
            self.deliveries.2.push(order_key);
            if let Some(key) = order_key {
                self.lines.0.push(destination);
                self.lines.1.push(key);
            }
            // Named destinations stay; an unknown one stops the batch.
            let may_vanish = name.contains("://") || destination == DestinationId::default();
            if may_vanish && !self.origins.contains(&destination) {
                self.origins.push(destination);
            }
        }
    }

    fn params(&self) -> [Param<'_>; 22] {
        [
            &self.ids,
            &self.randoms,
            &self.surfaces,
            &self.labels,
            &self.urls,
            &self.scopes,
            &self.keys,
            &self.request_digests,
            &self.metadata,
            &self.headers,
            &self.bodies,
            &self.event_types,
            &self.queries,
            &self.unrouted,
            &self.checksums,
            &self.digests,
            &self.expired_at,
            &self.now,
            &self.deliveries.0,
            &self.deliveries.1,
            &self.deliveries.2,
            &self.origins,
        ]
    }

    /// Records the batch. If it is made again, since the connection was lost, it is looked for
    /// first: a batch is there as a whole or not at all.
    pub fn insert(&self, sql: &mut Connection, is_again: bool) -> Result<Inserted, Failure> {
        if is_again && let Some(committed) = self.committed(sql)? {
            return Ok(committed);
        }
        let params = self.params();
        let rows = if self.lines.0.is_empty() {
            sql.rows(ACCEPT, &params)?
        } else {
            let lines: [Param<'_>; 3] = [&self.lines.0, &self.lines.1, &self.now];
            let statements = [
                (line::LOCK, &[&self.lines.0 as Param<'_>][..]),
                (ACCEPT, &params),
                (line::ADVANCE, &lines),
            ];
            let mut answers = sql.transaction(&statements)?;
            answers.swap_remove(1)
        };
        let row = rows.first();
        let row = row.ok_or_else(|| Failure::unexpected("a batch has no answer".to_owned()))?;
        Ok(Inserted {
            fresh: row.try_get(0)?,
            has_destinations: row.try_get(1)?,
        })
    }

    /// Records the rows in one transaction with a statement before them.
    pub fn insert_after(&self, first: Call<'_>, sql: &mut Connection) -> Result<(), Failure> {
        let params = self.params();
        let locked: [Param<'_>; 1] = [&self.lines.0];
        let lines: [Param<'_>; 3] = [&self.lines.0, &self.lines.1, &self.now];
        sql.transaction(&[
            first,
            (line::LOCK, &locked),
            (ACCEPT, &params),
            (line::ADVANCE, &lines),
        ])?;
        Ok(())
    }

    /// Finds the intents that an earlier try committed, if it did. They are as durable as those
    /// that are inserted.
    pub fn committed(&self, sql: &mut Connection) -> Result<Option<Inserted>, Failure> {
        let rows = sql.rows(COMMITTED, &[&self.ids, &self.randoms])?;
        let fresh = rows.iter().map(|row| row.try_get(0));
        let fresh = fresh.collect::<Result<Vec<i64>, _>>()?;
        Ok((!fresh.is_empty()).then_some(Inserted {
            fresh,
            has_destinations: true,
        }))
    }
}
