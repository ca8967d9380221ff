//! How many origins have deliveries waiting for each API key.

use std::collections::HashMap;
use std::time::Duration;

use super::{StoreError, Tx};
use crate::clock::Timestamp;

/// How many origins wait for each API key: never too few. Origins are only counted up here, and
/// counted anew once there seem to be too many.
#[derive(Default)]
pub(super) struct WaitingOrigins {
    /// There are as many as API keys are configured.
    by_owner: HashMap<i64, OriginCount>,
}

struct OriginCount {
    waiting: usize,
    counted_at: Timestamp,
}

impl Default for OriginCount {
    /// A start knows nothing: the first question counts.
    fn default() -> Self {
        Self {
            waiting: usize::MAX,
            counted_at: Timestamp::from_millis(0),
        }
    }
}

/// How often the waiting origins of a key that has too many are counted again: with 20 000 of them
/// that takes the writer some 30 ms.
const RECOUNT_EVERY: Duration = Duration::from_secs(1);

impl Tx<'_> {
    /// Whether an API key may have deliveries wait for this origin, too: at most `most` of its
    /// origins have any at a time, so that one key can't fill the dispatcher's memory.
    pub fn may_wait_for(&self, owner: i64, origin: &str, most: usize) -> Result<bool, StoreError> {
        if let Some(origin) = self.known_destination(origin)? {
            let waiting = self.first(
                "SELECT 1 FROM deliveries WHERE destination_id = ?1 AND next_attempt_at IS NOT NULL",
                [origin],
                |_| Ok(()),
            )?;
            if waiting.is_some() {
                return Ok(true);
            }
        }
        let mut origins = self.rolling()?.origins.borrow_mut();
        let counted = origins.by_owner.entry(owner).or_default();
        if counted.waiting >= most && self.now.since(counted.counted_at) >= RECOUNT_EVERY {
            let waiting: i64 = self
                .first(
                    "SELECT count(*) FROM destinations t WHERE t.owner = ?1 AND EXISTS
                         (SELECT 1 FROM deliveries d
                          WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)",
                    [owner],
                    |row| row.get(0),
                )?
                .unwrap_or(0);
            counted.waiting = usize::try_from(waiting).unwrap_or(0);
            counted.counted_at = self.now;
        }
        let may = counted.waiting < most;
        counted.waiting += usize::from(may);
        Ok(may)
    }
}
