use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::{StoreError, Tx, WriteOp};
use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::model::{DeliveryState, IntentId, Surface};

/// Records an intent, its deliveries and its idempotency key, in one go.
pub(crate) struct Accept {
    pub surface: Surface,
    /// A relay's event type, an event's source.
    pub label: String,
    /// A relay's URL.
    pub url: Option<String>,
    /// Names or origins.
    pub destinations: Arc<[String]>,
    /// `name: value\r\n` each.
    pub headers: Vec<u8>,
    /// JSON.
    pub metadata: Option<String>,
    pub body: Bytes,
    pub key: Option<IdempotencyKey>,
    /// How long the key names this intent.
    pub window: Duration,
}

/// An idempotency key and whose it is.
pub(crate) struct IdempotencyKey {
    /// Within a surface; a source's name stands in the intent's label.
    scope: Option<i64>,
    key: String,
    /// Another digest under the same key is a conflict; none means that any body is the same.
    request_digest: Option<[u8; 32]>,
    digest: i64,
}

impl IdempotencyKey {
    /// A relay's key, scoped to the API key, for a request of just these bytes.
    pub fn of_relay(api_key: &str, key: String, request: &[u8]) -> Self {
        let scope = digest(&[b"api key", api_key.as_bytes()]);
        Self {
            scope: Some(scope),
            digest: digest(&[b"relay", &scope.to_be_bytes(), key.as_bytes()]),
            key,
            request_digest: Some(Sha256::digest(request).into()),
        }
    }

    /// An event's key, scoped to its source, whatever the body says.
    pub fn of_event(source: &str, key: String) -> Self {
        Self {
            scope: None,
            digest: digest(&[b"event", source.as_bytes(), key.as_bytes()]),
            key,
            request_digest: None,
        }
    }
}

/// 64 bits of SHA-256 over the parts, each preceded by its length.
fn digest(parts: &[&[u8]]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole = <[u8; 32]>::from(hash.finalize());
    i64::from_be_bytes(*whole.first_chunk().expect("32 bytes hold 8"))
}

/// What became of an intent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Recorded now.
    New(IntentId, Timestamp),
    /// The key names this earlier one.
    Duplicate(IntentId),
    /// The key names an earlier one that came with other bytes.
    Conflict,
}

impl WriteOp for Accept {
    type Out = Accepted;

    fn apply(&self, tx: &Tx<'_>) -> Result<Accepted, StoreError> {
        if let Some(key) = &self.key
            && let Some(earlier) = self.earlier(key, tx)?
        {
            return Ok(earlier);
        }
        let id = tx.next_id()?;
        tx.sql
            .prepare_cached(
                "INSERT INTO intents (id, random, surface, created_at, label, url, scope,
                                      idempotency_key, request_digest, metadata, headers, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                id.row(),
                id.random(),
                self.surface as i64,
                tx.now.as_millis(),
                self.label,
                self.url,
                self.key.as_ref().and_then(|key| key.scope),
                self.key.as_ref().map(|key| &key.key),
                self.key.as_ref().and_then(|key| key.request_digest),
                self.metadata,
                self.headers,
                &self.body[..],
            ])?;
        if let Some(key) = &self.key {
            tx.sql
                .prepare_cached("INSERT INTO idempotency (digest, intent_id) VALUES (?1, ?2)")?
                .execute(params![key.digest, id.row()])?;
        }
        for name in self.destinations.iter() {
            tx.sql
                .prepare_cached(
                    "INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?4)",
                )?
                .execute(params![
                    id.row(),
                    destination_id(tx, name)?,
                    DeliveryState::Queued.number(),
                    tx.now.as_millis(),
                ])?;
        }
        tx.made_due();
        Ok(Accepted::New(id, tx.now))
    }

    fn count(&self, out: &Accepted, metrics: &Metrics) {
        match out {
            Accepted::New(..) => metrics.accepted(self.surface),
            Accepted::Duplicate(_) => metrics.duplicate(self.surface),
            Accepted::Conflict => {}
        }
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.headers.len()
    }
}

impl Accept {
    /// The intent that the key names, if any does within the window. The digest finds candidates;
    /// the key itself decides. One past its window loses its row, which makes room for a new one.
    fn earlier(&self, key: &IdempotencyKey, tx: &Tx<'_>) -> Result<Option<Accepted>, StoreError> {
        let mut candidates = tx.sql.prepare_cached(
            "SELECT i.id, i.random, i.created_at, i.request_digest
             FROM idempotency k JOIN intents i ON i.id = k.intent_id
             WHERE k.digest = ?1 AND i.surface = ?2 AND i.idempotency_key = ?3
               AND i.scope IS ?4 AND (?4 IS NOT NULL OR i.label = ?5)",
        )?;
        let found: Option<(i64, i64, i64, Option<[u8; 32]>)> = candidates
            .query_row(
                params![
                    key.digest,
                    self.surface as i64,
                    key.key,
                    key.scope,
                    self.label
                ],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .optional()?;
        let Some((row, random, created_at, request_digest)) = found else {
            return Ok(None);
        };
        if Timestamp::from_millis(created_at).plus(self.window) <= tx.now {
            tx.sql
                .prepare_cached("DELETE FROM idempotency WHERE digest = ?1 AND intent_id = ?2")?
                .execute(params![key.digest, row])?;
            return Ok(None);
        }
        if request_digest != key.request_digest {
            return Ok(Some(Accepted::Conflict));
        }
        let id = IntentId::new(row, random.cast_unsigned());
        Ok(Some(Accepted::Duplicate(id)))
    }
}

pub(super) fn destination_id(tx: &Tx<'_>, name: &str) -> Result<i64, StoreError> {
    let known = tx
        .sql
        .prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    tx.sql
        .prepare_cached("INSERT INTO destinations (name) VALUES (?1)")?
        .execute([name])?;
    Ok(tx.sql.last_insert_rowid())
}
