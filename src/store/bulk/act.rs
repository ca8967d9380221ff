//! An operator's acts on single deliveries and events, decided and not yet made. Each is guarded by
//! the state that it was decided for, and leaves one entry in the delivery's history.

use crate::clock::Timestamp;
use crate::model::{DeliveryState, OrderKey};
use crate::store::types::{BulkAction, BulkTally, DestinationId, IntentRow};

/// Bytes of a payload that are written as one page, in SQLite's files: they count as a row.
const PAGE: u32 = 4096;

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

/// The tally of an act that was made, or not.
pub fn done(is_done: bool) -> BulkTally {
    BulkTally {
        done: i64::from(is_done),
        ..NOTHING
    }
}

const NOTHING: BulkTally = BulkTally {
    done: 0,
    skipped: 0,
    payload_gone: 0,
    in_flight: 0,
};

/// There is nothing to do.
pub const SKIPPED: BulkTally = BulkTally {
    skipped: 1,
    ..NOTHING
};

/// There is no payload to send.
pub const PAYLOAD_GONE: BulkTally = BulkTally {
    payload_gone: 1,
    ..NOTHING
};

/// The attempt of an event is waited for.
pub const IN_FLIGHT: BulkTally = BulkTally {
    in_flight: 1,
    ..NOTHING
};
