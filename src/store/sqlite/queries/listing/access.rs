//! The ways in which the deliveries of a list are found.

use crate::model::DeliveryState;
use crate::store::sqlite::columns::is_of_type;

/// How the deliveries of a state are found. The parameter ?1 is the destination; ?2 and ?5 are the
/// first and the last intent that were accepted in the wanted time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// In the index `listed`, a destination at a time, the newest first.
    Attempted(DeliveryState),
    /// In the index `due`, a destination at a time, the latest due first. ?3 is the latest time to
    /// look at.
    Waiting,
    /// In the index `due`, a destination at a time, the newest first: those that wait behind others
    /// in their lines. ?3 is the time that marks them.
    Blocked,
    /// In the index `claimed`, which never holds more than nine rows for each worker.
    Claimed,
    /// From the newest delivery on, until enough are found; of one destination if ?1 isn't null.
    Walk(Option<DeliveryState>),
}

/// How far in the future a delivery that was never attempted may be due: it is due when it is
/// accepted, or 250 ms after it was released. The rest allows for a command's clock that is behind
/// the server's.
pub(super) const LATEST_DUE_MILLIS: i64 = 60_000;

/// The condition of the index `listed`, as schema.sql has it.
const ATTEMPTED: &str = "d.discarded_at IS NULL
     AND (d.state IN (2, 4) OR (d.state = 0 AND d.history > 0))";

impl Access {
    /// All ways in which the deliveries of a state are found. Deliveries that wait are found in the
    /// order in which they become due: with a bound on the rows to read, a filter on their intents
    /// might never get past those that are due the latest.
    pub fn of(state: Option<DeliveryState>, is_bounded: bool) -> &'static [Self] {
        use DeliveryState::{DeadLettered, Delivered, Processing, Queued, Retrying};
        match state {
            Some(Queued) if is_bounded => &[Self::Walk(Some(Queued))],
            Some(Queued) => &[Self::Attempted(Queued), Self::Waiting, Self::Blocked],
            Some(Processing) => &[Self::Claimed],
            Some(Retrying) => &[Self::Attempted(Retrying)],
            Some(DeadLettered) => &[Self::Attempted(DeadLettered)],
            Some(Delivered) => &[Self::Walk(Some(Delivered))],
            None => &[Self::Walk(None)],
        }
    }

    /// Selects the deliveries: intent, destination, in [`Access::Waiting`] when each is due, and
    /// whether the delivery is wanted. ?4 and ?6 are the source and the type of the wanted events,
    /// or null. With a bound on the rows to read, those are selected, too, that SQLite would pass
    /// over: any number of deliveries may wait for a retry that is due.
    pub fn select(self, is_bounded: bool) -> String {
        let (index, condition, due, wanted, order) = match self {
            Self::Attempted(state) => (
                "INDEXED BY listed",
                format!(
                    "{ATTEMPTED} AND d.state = {} AND d.destination_id = ?1",
                    state.number()
                ),
                "NULL",
                "1".to_owned(),
                "d.intent_id DESC",
            ),
            Self::Waiting => {
                let (condition, wanted) = waiting(is_bounded);
                let (due, order) = ("d.next_attempt_at", "d.next_attempt_at DESC");
                ("INDEXED BY due", condition, due, wanted, order)
            }
            Self::Blocked => (
                "INDEXED BY due",
                "d.destination_id = ?1 AND d.next_attempt_at = ?3 AND d.state = 0".to_owned(),
                "NULL",
                "1".to_owned(),
                "d.intent_id DESC",
            ),
            Self::Claimed => (
                "INDEXED BY claimed",
                "d.claim IS NOT NULL AND (?1 IS NULL OR d.destination_id = ?1)".to_owned(),
                "NULL",
                "1".to_owned(),
                "d.intent_id DESC, d.destination_id",
            ),
            Self::Walk(state) => (
                "",
                "1".to_owned(),
                "NULL",
                format!(
                    "(?1 IS NULL OR d.destination_id = ?1) AND {}",
                    state.map_or_else(
                        || "1".to_owned(),
                        |state| format!("d.state = {}", state.number())
                    )
                ),
                "d.intent_id DESC, d.destination_id",
            ),
        };
        let of_type = is_of_type("iif(i.surface = 1, i.event_type, i.label)", "?6");
        format!(
            "SELECT d.intent_id, d.destination_id, {due}, {wanted} AND
                    ((?4 IS NULL AND ?6 IS NULL) OR EXISTS (SELECT 1 FROM intents i
                     WHERE i.id = d.intent_id
                       AND (?4 IS NULL OR (i.surface = 1 AND i.label = ?4))
                       AND {of_type}))
             FROM deliveries d {index}
             WHERE {condition} AND d.intent_id >= ?2 AND d.intent_id <= ?5
             ORDER BY {order}"
        )
    }

    /// Selects the destinations that have such deliveries, from one to the next in the index; none
    /// if the deliveries of all are found at once.
    pub fn destinations(self) -> Option<String> {
        let (index, condition) = match self {
            Self::Attempted(state) => (
                "listed",
                format!("{ATTEMPTED} AND d.state = {}", state.number()),
            ),
            Self::Waiting | Self::Blocked => ("due", "d.next_attempt_at IS NOT NULL".to_owned()),
            Self::Claimed | Self::Walk(_) => return None,
        };
        Some(format!(
            "WITH RECURSIVE found(id) AS (
                 SELECT min(d.destination_id) FROM deliveries d INDEXED BY {index}
                 WHERE {condition}
                 UNION ALL
                 SELECT (SELECT min(d.destination_id) FROM deliveries d INDEXED BY {index}
                         WHERE {condition} AND d.destination_id > found.id)
                 FROM found WHERE found.id IS NOT NULL
             )
             SELECT id FROM found WHERE id IS NOT NULL"
        ))
    }
}

/// The condition of the index `due`, and whether a delivery that it holds waits for no retry.
fn waiting(is_bounded: bool) -> (String, String) {
    let of_time = "d.destination_id = ?1 AND d.next_attempt_at >= (?2 >> 12)
                   AND d.next_attempt_at <= ?3";
    let is_queued = "d.state = 0";
    if is_bounded {
        (of_time.to_owned(), is_queued.to_owned())
    } else {
        (format!("{of_time} AND {is_queued}"), "1".to_owned())
    }
}
