//! The parts of accepting that every engine has: payloads are hashed away from the writer, and
//! outcomes counted.

use super::error::StoreError;
use super::types::{Accept, Accepted, PayloadDigest};
use crate::ops::metrics::Metrics;

/// Bytes that are hashed in place, in some 0.3 ms: about as long as passing them to another thread
/// and back takes. More would keep the other connections of an event loop waiting.
const MAX_HASHED_INLINE: usize = 256 * 1024;

/// The digest of an intent's payload; a large one is hashed on a thread that may block.
pub async fn digest_of(intent: &Accept) -> Result<PayloadDigest, StoreError> {
    // A caller on a thread that may block has no runtime, and waits for nobody.
    let is_large = intent.headers.len() + intent.body.len() > MAX_HASHED_INLINE;
    let runtime = is_large.then(tokio::runtime::Handle::try_current);
    match runtime.and_then(Result::ok) {
        None => Ok(PayloadDigest::of(&intent.headers, &intent.body)),
        Some(runtime) => {
            let (headers, body) = (intent.headers.clone(), intent.body.clone());
            let hashed = runtime.spawn_blocking(move || PayloadDigest::of(&headers, &body));
            let panicked = |panic| StoreError::Unexpected(format!("hashing panicked: {panic}"));
            hashed.await.map_err(panicked)
        }
    }
}

impl Accept {
    /// Counts the outcome.
    pub fn count_outcome(&self, out: &Accepted, metrics: &Metrics) {
        match out {
            Accepted::New(..) => {
                metrics.accepted(self.surface);
                metrics.rollups.accepted(self.surface, &self.label);
            }
            Accepted::Duplicate(duplicate) => {
                metrics.duplicate(self.surface, duplicate.is_same_body);
                metrics.rollups.duplicate(self.surface, &self.label);
            }
            Accepted::Conflict | Accepted::TooManyOrigins => {}
        }
    }
}
