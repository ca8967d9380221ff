//! An operator's acts on single deliveries. Each is guarded by the state that it was decided for,
//! and leaves one entry in the delivery's history.
//!
//! - `again`: replays and retries. `discard`: gives up for good. `elsewhere`: creates and moves
//!   deliveries. `erase`: deletes all that an event says. `entry`: the entry in the history.

mod again;
mod discard;
mod elsewhere;
mod entry;
mod erase;

pub use again::replay;
pub use entry::{Entry, Found, insert_entry};

use again::retry;
use discard::discard;
use elsewhere::{create, reroute};
use entry::{PAYLOAD_GONE, done};
pub use erase::erase;

use crate::clock::Timestamp;
use crate::model::{DeliveryState, OrderKey};
use crate::store::error::StoreError;
use crate::store::sqlite::limits::PAGE;
use crate::store::sqlite::ops::payload;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{BulkAction, BulkTally, DestinationId, IntentRow};

/// An act that is decided and not yet made.
#[derive(Clone, Debug)]
pub struct Act {
    pub intent: IntentRow,
    pub does: Does,
    /// Rows, and pages of a payload, that it writes at most.
    pub rows: usize,
}

/// An act's kind, and on what.
#[derive(Clone, Debug)]
pub enum Does {
    /// Replays, discards or retries a delivery in this state, unless it has changed since then.
    Change {
        action: BulkAction,
        destination: DestinationId,
        state: DeliveryState,
        updated_at: Timestamp,
        /// The line to whose end it goes.
        key: Option<OrderKey>,
    },
    /// Creates a delivery, unless the event has one there.
    Create { to: String, key: Option<OrderKey> },
    /// Erases an event. If `waits` is set, an attempt under way ends before.
    Erase { waits: bool },
    /// Moves a waiting delivery, unless the event has one there.
    Move {
        from: DestinationId,
        to: String,
        key: Option<OrderKey>,
    },
}

/// The rows that an act writes, if the delivery's history has this many entries and its intent this
/// many bytes.
pub fn rows_of(action: BulkAction, history: u32, bytes: u32) -> usize {
    let rows = match action {
        // The delivery, and an entry in its history.
        BulkAction::Replay | BulkAction::Retry => 2,
        // Without its answers; and the intent without its payload, which is written anew.
        BulkAction::Discard => 3 + history + bytes / PAGE,
        // The event, its key and the record of it; its deliveries are added by the caller.
        BulkAction::Erase => 3 + 2 * history + bytes / PAGE,
        // The intent of an event that no route wanted is written anew.
        BulkAction::SendTo | BulkAction::Route => 3 + bytes / PAGE,
        // The old one and the new one, and the history, which is read and written.
        BulkAction::Reroute => 3 + 2 * history,
    };
    rows as usize
}

impl Act {
    /// Makes it.
    pub fn apply(&self, tx: &Tx<'_>) -> Result<BulkTally, StoreError> {
        let intent = self.intent;
        match &self.does {
            Does::Change {
                action,
                destination,
                state,
                updated_at,
                ..
            } => {
                if *action == BulkAction::Replay && payload::is_gone(tx, intent)? {
                    return Ok(PAYLOAD_GONE);
                }
                let found = Found {
                    intent,
                    destination: *destination,
                    state: *state,
                    updated_at: Some(*updated_at),
                };
                let is_done = match action {
                    BulkAction::Discard => discard(tx, &found)?,
                    BulkAction::Retry => retry(tx, &found)?,
                    _ => replay(tx, &found)?,
                };
                Ok(done(is_done))
            }
            Does::Create { to, key } => create(tx, intent, to, *key),
            Does::Erase { waits } => erase(tx, intent, *waits),
            Does::Move { from, to, key } => reroute(tx, intent, (*from, to), *key),
        }
    }
}
