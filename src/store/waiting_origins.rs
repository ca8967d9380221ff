//! How many origins have deliveries waiting for each API key.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::types::OwnerId;

/// An upper bound on the waiting origins of each API key. Admitting an origin counts up; nothing
/// counts down. A key that seems to have too many is counted anew.
#[derive(Default)]
pub struct WaitingOrigins {
    /// Bounded by the configured API keys.
    by_owner: HashMap<OwnerId, OriginCount>,
}

struct OriginCount {
    waiting: usize,
    counted_at: Timestamp,
}

impl Default for OriginCount {
    /// Unknown after a start: the first question counts.
    fn default() -> Self {
        Self {
            waiting: usize::MAX,
            counted_at: Timestamp::from_millis(0),
        }
    }
}

/// How often the waiting origins of a key with too many are counted anew: with 20 000 of them that
/// takes the writer some 30 ms.
const RECOUNT_EVERY: Duration = Duration::from_secs(1);

impl WaitingOrigins {
    /// Whether one more origin of an API key may wait, beside at most `most` others. `count` counts
    /// those that wait now.
    pub fn admit(
        &mut self,
        owner: OwnerId,
        most: usize,
        now: Timestamp,
        count: impl FnOnce() -> Result<usize, StoreError>,
    ) -> Result<bool, StoreError> {
        let counted = self.by_owner.entry(owner).or_default();
        if counted.waiting >= most && now.since(counted.counted_at) >= RECOUNT_EVERY {
            counted.waiting = count()?;
            counted.counted_at = now;
        }
        let is_admitted = counted.waiting < most;
        counted.waiting += usize::from(is_admitted);
        Ok(is_admitted)
    }
}
