//! Work that waits for the writer: intents, and who asks for their outcomes.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Stopwatch;
use crate::model::IntentId;
use crate::store::error::StoreError;
use crate::store::postgres::keys::{ErasedKeys, KeyDigest};
use crate::store::types::{Accept, Accepted, PayloadDigest};

/// A command to the writer.
pub enum Command {
    /// A client's intent: counted in `Shared::queued` until it is received. Boxed, since the queue
    /// holds room for as many commands as may wait.
    Accept(Box<PendingAccept>),
    /// Wakes the writer, so that it looks at the request to stop.
    Wake,
}

/// An outcome.
pub struct Answer {
    pub accepted: Accepted,
    /// Whether the earlier intent's deliveries are all dead-lettered, and to be replayed.
    pub wants_replay: bool,
}

impl From<Accepted> for Answer {
    fn from(accepted: Accepted) -> Self {
        Self {
            accepted,
            wants_replay: false,
        }
    }
}

/// An intent and its waiter.
pub struct PendingAccept {
    pub intent: Accept,
    pub digest: PayloadDigest,
    /// The digest of its idempotency key.
    pub key: Option<KeyDigest>,
    /// The id under which it is recorded.
    pub id: Option<IntentId>,
    waiter: oneshot::Sender<Result<Answer, StoreError>>,
    since: Stopwatch,
}

impl PendingAccept {
    pub fn new(
        intent: Accept,
        digest: PayloadDigest,
        erased: &ErasedKeys,
        waiter: oneshot::Sender<Result<Answer, StoreError>>,
    ) -> Self {
        let key = intent.key.as_ref();
        let key = key.map(|key| erased.digest_of(key, &intent.label));
        Self {
            intent,
            digest,
            key,
            id: None,
            waiter,
            since: Stopwatch::start(),
        }
    }

    /// Rows that it writes.
    pub fn rows(&self) -> usize {
        1 + usize::from(self.key.is_some()) + self.intent.destinations.len()
    }

    /// Bytes that it sends.
    pub fn bytes(&self) -> usize {
        self.intent.body.len() + self.intent.headers.len()
    }

    /// How long it has waited.
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Answers. A client that hung up changes nothing: what was recorded stays.
    pub fn answer(self, answer: Result<Answer, StoreError>) {
        let _ = self.waiter.send(answer);
    }
}
