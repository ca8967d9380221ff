//! Makes an operator's acts on single deliveries.
//!
//! - `again`: replays and retries. `discard`: gives up for good. `elsewhere`: creates and moves
//!   deliveries. `erase`: deletes all that an event says. `entry`: the entry in the history.

mod again;
mod discard;
mod elsewhere;
mod entry;
mod erase;

pub use again::replay;
pub use entry::{Entry, Found, due, insert_entry};

use again::retry;
use discard::discard;
use elsewhere::{create, reroute};
pub use erase::erase;

use crate::store::bulk::{Act, Does, PAYLOAD_GONE, done};
use crate::store::error::StoreError;
use crate::store::sqlite::ops::payload;
use crate::store::sqlite::tx::Tx;
use crate::store::types::{BulkAction, BulkTally};

/// Makes an act.
pub fn make(tx: &Tx<'_>, act: &Act) -> Result<BulkTally, StoreError> {
    let intent = act.intent;
    match &act.does {
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
