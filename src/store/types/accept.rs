//! An intent to record, and the outcome.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::ids::OwnerId;
use crate::clock::Timestamp;
use crate::model::{IntentId, OrderKey, Surface};

/// An intent to record, with its deliveries and its idempotency key.
pub(crate) struct Accept {
    pub surface: Surface,
    /// A relay's event type, an event's source.
    pub label: String,
    /// An event's type; a relay's is its label.
    pub event_type: Option<String>,
    /// A relay's URL.
    pub url: Option<String>,
    /// An event's query string, if it is to be appended to the destinations' URLs.
    pub query: Option<String>,
    /// Names of named destinations, or origins of ad hoc URLs. Empty for an event that no route
    /// wants.
    pub destinations: Arc<[String]>,
    /// The ordering keys, each with the index of its destination. A delivery to any other is
    /// unordered.
    pub order_keys: Vec<(usize, OrderKey)>,
    /// The API key that ad hoc origins belong to; none for named destinations.
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

impl Accept {
    /// The ordering key of the delivery to the destination of this index.
    pub(in crate::store) fn order_key(&self, destination: usize) -> Option<OrderKey> {
        let mut keys = self.order_keys.iter();
        keys.find(|(at, _)| *at == destination).map(|(_, key)| *key)
    }
}

/// An API key, as the store knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(in crate::store) id: OwnerId,
    /// Origins that may have deliveries waiting for it at a time.
    pub max_waiting_origins: usize,
}

impl Owner {
    /// The owner of relays that come with this API key.
    pub fn of(api_key: &str) -> Self {
        Self {
            id: OwnerId(first(digest(&[b"api key", api_key.as_bytes()]))),
            max_waiting_origins: MAX_WAITING_ORIGINS,
        }
    }
}

/// Origins that may have deliveries waiting for one API key at a time. The dispatcher keeps some
/// 200 bytes of each in memory, and this many hanging origins delay no named destination (the
/// benchmark `scenarios` has half of them).
pub(crate) const MAX_WAITING_ORIGINS: usize = 20_000;

/// An idempotency key and its scope.
pub(crate) struct IdempotencyKey {
    /// The API key of a relay's key; none for an event's key, whose source is the intent's label.
    pub(in crate::store) scope: Option<OwnerId>,
    pub(in crate::store) key: String,
    /// Another request digest under the same key is a conflict; none accepts any body as the same.
    pub(in crate::store) request_digest: Option<[u8; 32]>,
    pub(in crate::store) digest: i64,
    /// Whether a duplicate replays an event of which every delivery is dead-lettered.
    pub(in crate::store) replays_dead: bool,
}

impl IdempotencyKey {
    /// A relay's key, scoped to the API key, for a request of exactly these bytes.
    pub fn of_relay(api_key: &str, key: String, request: &[u8]) -> Self {
        let scope = Some(Owner::of(api_key).id);
        Self {
            scope,
            digest: Self::digest_of(scope, "", &key),
            key,
            request_digest: Some(Sha256::digest(request).into()),
            replays_dead: false,
        }
    }

    /// An event's key, scoped to its source, whatever the body.
    pub fn of_event(source: &str, key: String) -> Self {
        Self {
            scope: None,
            digest: Self::digest_of(None, source, &key),
            key,
            request_digest: None,
            replays_dead: false,
        }
    }

    /// The same key; a duplicate replays an event of which every delivery is dead-lettered.
    pub fn replaying_dead(self, replays_dead: bool) -> Self {
        Self {
            replays_dead,
            ..self
        }
    }

    /// The digest that stands for a key in an index: of a relay's key if there is a scope,
    /// otherwise of an event's.
    pub(in crate::store) fn digest_of(scope: Option<OwnerId>, source: &str, key: &str) -> i64 {
        first(Self::whole_digest_of(scope, source, key))
    }

    /// The same with 128 bits, which no two keys have in common.
    pub(in crate::store) fn whole_digest_of(
        scope: Option<OwnerId>,
        source: &str,
        key: &str,
    ) -> [u8; 16] {
        match scope {
            Some(OwnerId(scope)) => digest(&[b"relay", &scope.to_be_bytes(), key.as_bytes()]),
            None => digest(&[b"event", source.as_bytes(), key.as_bytes()]),
        }
    }

    /// Stands for the 128 bits of the key of an erased event, of which [`Self::digest_of`] is left.
    pub(in crate::store) fn erased_digest(digest: i64) -> [u8; 16] {
        (u128::from(digest.cast_unsigned()) << 64).to_be_bytes()
    }
}

/// The first 64 bits.
fn first(digest: [u8; 16]) -> i64 {
    i64::from_be_bytes(*digest.first_chunk().expect("16 bytes hold 8"))
}

/// 128 bits of SHA-256 over the parts, each preceded by its length.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let whole = <[u8; 32]>::from(hash.finalize());
    *whole.first_chunk().expect("32 bytes hold 16")
}

/// The outcome of an [`Accept`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Recorded now.
    New(IntentId, Timestamp),
    /// The key names an earlier intent.
    Duplicate(Duplicate),
    /// The key names an earlier intent that came with other bytes.
    Conflict,
    /// [`MAX_WAITING_ORIGINS`] origins of this API key have deliveries waiting, and this origin is
    /// not one of them.
    TooManyOrigins,
}

/// The earlier intent of a duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    pub id: IntentId,
    /// Whether the body has the same bytes.
    pub is_same_body: bool,
    /// Dead letters that were replayed for it.
    pub replayed: usize,
}

#[cfg(test)]
impl Duplicate {
    /// A duplicate that replays nothing.
    pub fn of_same_body(id: IntentId) -> Self {
        Self {
            id,
            is_same_body: true,
            replayed: 0,
        }
    }
}
