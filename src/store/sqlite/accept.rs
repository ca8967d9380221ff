use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::params;
use sha2::{Digest as _, Sha256};

use super::{StoreError, Tx, WriteOp};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::ops::metrics::Metrics;

/// Records an intent, its deliveries and its idempotency key, in one go.
pub(crate) struct Accept {
    pub surface: Surface,
    /// A relay's event type, an event's source.
    pub label: String,
    /// A relay's URL.
    pub url: Option<String>,
    /// Names or origins.
    pub destinations: Arc<[String]>,
    /// Whose origins they are; none if they are named in the configuration.
    pub owner: Option<Owner>,
    /// `name: value\r\n` each.
    pub headers: Vec<u8>,
    /// JSON.
    pub metadata: Option<String>,
    pub body: Bytes,
    pub key: Option<IdempotencyKey>,
    /// How long the key names this intent.
    pub window: Duration,
}

/// An API key, as the database knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    id: i64,
    /// Origins that may have deliveries waiting for it at a time.
    pub max_waiting_origins: usize,
}

impl Owner {
    /// The owner of relays that come with this API key.
    pub fn of(api_key: &str) -> Self {
        Self {
            id: digest(&[b"api key", api_key.as_bytes()]),
            max_waiting_origins: MAX_WAITING_ORIGINS,
        }
    }
}

/// Origins that may have deliveries waiting for one API key at a time. The dispatcher keeps some 200
/// bytes of each in memory; and as many hanging ones are known to delay no named destination (the
/// benchmark `scenarios` has half of them).
pub(crate) const MAX_WAITING_ORIGINS: usize = 20_000;

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
        let scope = Some(Owner::of(api_key).id);
        Self {
            scope,
            digest: Self::digest_of(scope, "", &key),
            key,
            request_digest: Some(Sha256::digest(request).into()),
        }
    }

    /// An event's key, scoped to its source, whatever the body says.
    pub fn of_event(source: &str, key: String) -> Self {
        Self {
            scope: None,
            digest: Self::digest_of(None, source, &key),
            key,
            request_digest: None,
        }
    }

    /// What stands for a key in the table: of a relay, if there is a scope, or else of an event.
    pub(super) fn digest_of(scope: Option<i64>, source: &str, key: &str) -> i64 {
        match scope {
            Some(scope) => digest(&[b"relay", &scope.to_be_bytes(), key.as_bytes()]),
            None => digest(&[b"event", source.as_bytes(), key.as_bytes()]),
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
    /// [`MAX_WAITING_ORIGINS`] of this API key have deliveries waiting, and this one isn't among them.
    TooManyOrigins,
}

impl WriteOp for Accept {
    type Out = Accepted;

    fn apply(&self, tx: &Tx<'_>) -> Result<Accepted, StoreError> {
        if let Some(key) = &self.key
            && let Some(earlier) = self.earlier(key, tx)?
        {
            return Ok(earlier);
        }
        if let Some(owner) = self.owner {
            for origin in self.destinations.iter() {
                if !tx.may_wait_for(owner.id, origin, owner.max_waiting_origins)? {
                    return Ok(Accepted::TooManyOrigins);
                }
            }
        }
        let owner = self.owner.map(|owner| owner.id);
        let id = tx.next_id()?;
        tx.execute(
            "INSERT INTO intents (id, random, surface, created_at, label, url, scope,
                                      idempotency_key, request_digest, metadata, headers, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
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
            ],
        )?;
        if let Some(key) = &self.key {
            tx.add_key(key.digest, id.row());
        }
        for name in self.destinations.iter() {
            let destination = tx.destination(name, owner)?;
            tx.execute("INSERT INTO deliveries (intent_id, destination_id, state, next_attempt_at, updated_at)
                     VALUES (?1, ?2, ?3, ?4, ?4)", params![
                    id.row(),
                    destination,
                    DeliveryState::Queued.number(),
                    tx.now.as_millis(),
                ])?;
            tx.moved(destination, None, DeliveryState::Queued);
            tx.made_due(destination);
        }
        Ok(Accepted::New(id, tx.now))
    }

    fn count(&self, out: &Accepted, metrics: &Metrics) {
        match out {
            Accepted::New(..) => metrics.accepted(self.surface),
            Accepted::Duplicate(_) => metrics.duplicate(self.surface),
            Accepted::Conflict | Accepted::TooManyOrigins => {}
        }
    }

    fn rows(&self) -> usize {
        1 + self.destinations.len()
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.headers.len()
    }
}

impl Accept {
    /// The intent that the key names, if any does within the window. The digest finds candidates;
    /// the key itself decides. One past its window makes room for a new one.
    fn earlier(&self, key: &IdempotencyKey, tx: &Tx<'_>) -> Result<Option<Accepted>, StoreError> {
        for row in tx.candidates(key.digest)? {
            let found: Option<(i64, i64, Option<[u8; 32]>)> = tx.first(
                "SELECT random, created_at, request_digest FROM intents
                 WHERE id = ?1 AND surface = ?2 AND idempotency_key = ?3
                   AND scope IS ?4 AND (?4 IS NOT NULL OR label = ?5)",
                params![row, self.surface as i64, key.key, key.scope, self.label],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            let Some((random, created_at, request_digest)) = found else {
                continue;
            };
            if Timestamp::from_millis(created_at).plus(self.window) <= tx.now {
                tx.forget_key(key.digest, row)?;
                continue;
            }
            if request_digest != key.request_digest {
                return Ok(Some(Accepted::Conflict));
            }
            let id = IntentId::new(row, random.cast_unsigned());
            return Ok(Some(Accepted::Duplicate(id)));
        }
        Ok(None)
    }
}
