//! The walks that find the deliveries of a list, each through one index.

use tokio_postgres::Row;

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::postgres::columns::BLOCKED;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::text::Text;
use crate::store::postgres::values::{limit, number, wanted_type};
use crate::store::types::{DestinationId, IntentRow, ListQuery};

/// How far in the future a delivery that was never attempted may be due, in milliseconds: it is due
/// when it is accepted, or 250 ms after it was released. The rest allows for the clocks of other
/// nodes.
pub const LATEST_DUE: i64 = 60_000;

/// A way to find deliveries, the newest first but for [`Self::Due`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Waiting deliveries, of all destinations: by `waiting_intent`.
    Waiting,
    /// Ended deliveries, of all destinations: by the primary key.
    Ended,
    /// Deliveries under way: by the claims.
    Claimed,
    /// Deliveries that wait for a retry, of all destinations: by `retrying`.
    Retrying,
    /// Dead letters of all destinations: by `dead_latest`.
    Dead,
    /// Those of a destination that were attempted and wait, by `waiting_listed`.
    AttemptedOf(DeliveryState),
    /// Dead letters of a destination: by `dead_listed`.
    DeadOf,
    /// Those of a destination that wait behind others in their lines: by the primary key.
    BlockedOf,
    /// Those of a destination that were never attempted, the latest due first: by the primary key.
    Due,
}

/// How far a walk has come: it goes on with what comes before.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    due: Timestamp,
    intent: IntentRow,
    destination: DestinationId,
}

impl Place {
    /// All intents before this one.
    pub const fn before(intent: IntentRow) -> Self {
        Self {
            due: BLOCKED,
            intent,
            destination: DestinationId(0),
        }
    }

    /// All that were due before.
    pub const fn due_before(due: Timestamp) -> Self {
        Self {
            due,
            intent: IntentRow(0),
            destination: DestinationId(0),
        }
    }
}

/// A delivery that a walk finds.
pub struct Found {
    pub intent: IntentRow,
    pub destination: DestinationId,
    pub state: DeliveryState,
    pub history: i64,
    /// [`BLOCKED`] of one that has ended as well.
    pub due: Timestamp,
    /// Whether its event is of the wanted source and type.
    pub is_wanted: bool,
}

pub fn read(row: &Row) -> Result<Found, Failure> {
    Ok(Found {
        intent: row.try_get(0)?,
        destination: row.try_get(1)?,
        state: row.try_get(2)?,
        history: number(row, 3)?,
        due: row.try_get(4)?,
        is_wanted: row.try_get(5)?,
    })
}

/// A statement that reads on in an index: $1 and $2 are where it goes on, $3 is the first intent
/// that is wanted, $4 the destination, $5 to $7 the source, the whole type and its beginning, $8
/// the limit, and $9 the time of the place.
macro_rules! select {
    ($table:literal, $due:literal, $where:literal, $order:literal) => {
        concat!(
            "SELECT d.intent_id, d.destination_id, d.state, d.history, ",
            $due,
            ", ($4::int IS NULL OR d.destination_id = $4)
               AND CASE WHEN $5::bytea IS NULL AND $6::bytea IS NULL AND $7::bytea IS NULL
                   THEN true
                   ELSE EXISTS (
                       SELECT 1 FROM relay.intents i CROSS JOIN LATERAL
                            (SELECT CASE WHEN i.surface = 1 THEN i.event_type ELSE i.label END
                                    AS own) y
                       WHERE i.id = d.intent_id
                         AND ($5 IS NULL OR (i.surface = 1 AND i.label = $5))
                         AND ($6 IS NULL OR y.own = $6)
                         AND ($7 IS NULL OR substring(y.own FROM 1 FOR length($7)) = $7))
                   END
             FROM ",
            $table,
            " d WHERE d.intent_id >= $3 AND $9::bigint IS NOT NULL AND ",
            $where,
            " ORDER BY ",
            $order,
            " LIMIT $8"
        )
    };
}

const WAITING: &str = select!(
    "relay.waiting",
    "d.next_attempt_at",
    "(d.intent_id, d.destination_id) < ($1, $2)",
    "d.intent_id DESC, d.destination_id DESC"
);
const ENDED: &str = select!(
    "relay.ended",
    "9223372036854775807",
    "(d.intent_id, d.destination_id) < ($1, $2)",
    "d.intent_id DESC, d.destination_id DESC"
);
// From each claim to its row: sessions have no hash join, and the other way round each row that
// waits would be compared with each claim.
const CLAIMED: &str = select!(
    "(SELECT w.* FROM (SELECT * FROM relay.claimed OFFSET 0) u CROSS JOIN LATERAL
           (SELECT * FROM relay.waiting x
            WHERE x.intent_id = u.intent_id AND x.destination_id = u.destination_id
              AND x.history = u.history OFFSET 0) w)",
    "d.next_attempt_at",
    "(d.intent_id, d.destination_id) < ($1, $2)",
    "d.intent_id DESC, d.destination_id DESC"
);
const RETRYING: &str = select!(
    "relay.waiting",
    "d.next_attempt_at",
    "d.state = 2 AND (d.intent_id, d.destination_id) < ($1, $2)",
    "d.intent_id DESC, d.destination_id DESC"
);
const DEAD: &str = select!(
    "relay.ended",
    "9223372036854775807",
    "d.state = 4 AND d.discarded_at IS NULL AND (d.intent_id, d.destination_id) < ($1, $2)",
    "d.intent_id DESC, d.destination_id DESC"
);
const RETRYING_OF: &str = select!(
    "relay.waiting",
    "d.next_attempt_at",
    "d.state = 2 AND d.destination_id = $4 AND d.intent_id < $1 AND $2::int IS NOT NULL",
    "d.intent_id DESC"
);
const ATTEMPTED_OF: &str = select!(
    "relay.waiting",
    "d.next_attempt_at",
    "d.state = 0 AND d.history > 0 AND d.destination_id = $4 AND d.intent_id < $1
     AND $2::int IS NOT NULL",
    "d.intent_id DESC"
);
const DEAD_OF: &str = select!(
    "relay.ended",
    "9223372036854775807",
    "d.state = 4 AND d.discarded_at IS NULL AND d.destination_id = $4 AND d.intent_id < $1
     AND $2::int IS NOT NULL",
    "d.intent_id DESC"
);
const BLOCKED_OF: &str = select!(
    "relay.waiting",
    "d.next_attempt_at",
    "d.destination_id = $4 AND d.next_attempt_at = 9223372036854775807 AND d.intent_id < $1
     AND $2::int IS NOT NULL",
    "d.intent_id DESC"
);
const DUE: &str = select!(
    "relay.waiting",
    "d.next_attempt_at",
    "d.destination_id = $4 AND (d.next_attempt_at, d.intent_id) < ($9, $1)
     AND d.next_attempt_at >= $3 >> 12 AND $2::int IS NOT NULL",
    "d.next_attempt_at DESC, d.intent_id DESC"
);

impl Walk {
    /// All walks that find the deliveries of a list. Those of one state to one destination are few
    /// rows of an index. A source, a type, and all deliveries to a destination have no index: these
    /// walks read from the newest delivery on until enough are found, or [`ListQuery::max_rows`]
    /// were read.
    pub fn of(query: &ListQuery) -> &'static [Self] {
        use DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
        let is_of_one = query.destination.is_some();
        let has_filter_without_index = query.source.is_some() || query.event_type.is_some();
        let is_bounded = query.max_rows.is_some() && has_filter_without_index;
        if query.is_blocked {
            return if is_of_one {
                &[Self::BlockedOf]
            } else {
                &[Self::Waiting]
            };
        }
        match (query.state, is_of_one) {
            // With a bound, a filter might never get past those that are due the latest.
            (Some(Queued), true) if !is_bounded => {
                &[Self::AttemptedOf(Queued), Self::BlockedOf, Self::Due]
            }
            (Some(Queued), _) => &[Self::Waiting],
            (Some(Processing), _) => &[Self::Claimed],
            (Some(Retrying), true) => &[Self::AttemptedOf(Retrying)],
            (Some(Retrying), false) => &[Self::Retrying],
            (Some(DeadLettered), true) => &[Self::DeadOf],
            (Some(DeadLettered), false) => &[Self::Dead],
            (Some(Delivered), _) => &[Self::Ended],
            (None, _) => &[Self::Waiting, Self::Ended],
        }
    }

    /// Whether it finds deliveries that wait, which may be claimed.
    pub const fn is_of_waiting(self) -> bool {
        !matches!(self, Self::Ended | Self::Dead | Self::DeadOf)
    }

    pub const fn select(self) -> &'static str {
        match self {
            Self::Waiting => WAITING,
            Self::Ended => ENDED,
            Self::Claimed => CLAIMED,
            Self::Retrying => RETRYING,
            Self::Dead => DEAD,
            Self::AttemptedOf(DeliveryState::Retrying) => RETRYING_OF,
            Self::AttemptedOf(_) => ATTEMPTED_OF,
            Self::DeadOf => DEAD_OF,
            Self::BlockedOf => BLOCKED_OF,
            Self::Due => DUE,
        }
    }

    /// The next rows before a place.
    pub fn rows(
        self,
        sql: &mut Connection,
        query: &ListQuery,
        (destination, first): (Option<DestinationId>, IntentRow),
        place: Place,
        most: usize,
    ) -> Result<Vec<Row>, Failure> {
        let source = query.source.as_ref().map(Text::from);
        let (whole, beginning) = wanted_type(query.event_type.as_deref());
        sql.rows(
            self.select(),
            &[
                &place.intent,
                &place.destination,
                &first,
                &destination,
                &source,
                &whole,
                &beginning,
                &limit(most),
                &place.due,
            ],
        )
    }

    /// Where it goes on after a delivery.
    pub const fn after(self, found: &Found) -> Place {
        Place {
            due: found.due,
            intent: found.intent,
            destination: found.destination,
        }
    }
}
