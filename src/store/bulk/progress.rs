//! How a bulk operation stands after a pass over its selection.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::bulk::selection::{Cursor, Selection};
use crate::store::types::BulkAction;

/// When an operation looks again for deliveries that were in flight.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long it does: most attempts have ended by then, and the operator is told of the others.
const LOOK_FOR: Duration = Duration::from_secs(30);

/// The end of a pass.
#[derive(Clone, Copy, Debug)]
pub enum PassEnd {
    /// Everything is erased: the operation ends once the bytes are in no file any more.
    Erased,
    /// Deliveries in flight come back to wait, before or behind the cursor: so an operation that
    /// takes waiting deliveries away looks again, from the beginning, until it finds nothing.
    Again {
        cursor: Cursor,
        look_again_at: Option<Timestamp>,
        look_until: Timestamp,
    },
    Ended,
}

impl PassEnd {
    /// The end of a pass that has acted on `pass_done` deliveries and left `in_flight` of them.
    /// `look_until` is set in all passes but the first.
    pub fn of(
        selection: &Selection,
        (pass_done, in_flight): (i64, i64),
        look_until: Option<Timestamp>,
        (now, is_paced): (Timestamp, bool),
    ) -> Self {
        if selection.action == BulkAction::Erase {
            return Self::Erased;
        }
        let takes_away = matches!(selection.action, BulkAction::Discard | BulkAction::Reroute);
        let may_be_more = pass_done > 0 || (is_paced && in_flight > 0);
        let until = look_until.unwrap_or(now.plus(LOOK_FOR));
        if selection.is_of_waiting() && takes_away && may_be_more && now < until {
            Self::Again {
                cursor: selection.start(),
                look_again_at: (in_flight > 0).then(|| now.plus(LOOK_AGAIN)),
                look_until: until,
            }
        } else {
            Self::Ended
        }
    }
}
