//! What `/metrics` says about the backlog. It costs as much as there are destinations for which
//! something waits, however much waits for each.

use rusqlite::Connection;

use super::counts::{COUNTED, Counts};
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::model::DeliveryState;

/// Why the deliveries of a destination are kept back. The first reason that holds is the one that is
/// told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepReason {
    /// It is no longer configured: there is no URL to send to.
    UnknownDestination,
    /// An operator, or a 410, has paused it.
    Paused,
    /// It asked to be left alone until then (`Retry-After`).
    Held(Timestamp),
    /// Its circuit breaker is open: nothing but a probe goes out, the next one then.
    BreakerOpen(Timestamp),
}

/// What is stored about a destination that may keep its deliveries back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Obstacles {
    pub is_paused: bool,
    pub held_until: Option<Timestamp>,
    pub probe_at: Option<Timestamp>,
}

impl Obstacles {
    /// Why nothing goes out at `now`; none if it should.
    pub fn reason(self, is_deliverable: bool, now: Timestamp) -> Option<KeepReason> {
        if !is_deliverable {
            return Some(KeepReason::UnknownDestination);
        }
        if self.is_paused {
            return Some(KeepReason::Paused);
        }
        let held_until = self.held_until.filter(|&until| until > now);
        held_until
            .map(KeepReason::Held)
            .or_else(|| self.probe_at.map(KeepReason::BreakerOpen))
    }
}

/// The reasons' names in the metrics, in the order in which they are looked at.
const REASONS: [&str; 4] = ["unknown_destination", "paused", "held", "breaker_open"];

impl KeepReason {
    /// Its place in [`REASONS`].
    const fn place(self) -> usize {
        match self {
            Self::UnknownDestination => 0,
            Self::Paused => 1,
            Self::Held(_) => 2,
            Self::BreakerOpen(_) => 3,
        }
    }
}

/// What waits, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// When the longest-waiting of the deliveries was due that should be going out.
    pub oldest_due: Option<Timestamp>,
    /// How many are kept back, due or not, by the name of the reason; none until they are counted.
    pub kept: Option<[(&'static str, i64); REASONS.len()]>,
}

/// The destinations for which something waits, from one to the next in the index, what may keep it,
/// and when the first of it is due.
const SELECT_WAITING: &str = "WITH RECURSIVE waiting(id) AS (
         SELECT min(destination_id) FROM deliveries WHERE next_attempt_at IS NOT NULL
         UNION ALL
         SELECT (SELECT min(destination_id) FROM deliveries
                 WHERE next_attempt_at IS NOT NULL AND destination_id > waiting.id)
         FROM waiting WHERE waiting.id IS NOT NULL
     )
     SELECT t.id, t.name, t.paused_at IS NOT NULL, t.held_until, t.probe_at,
            (SELECT min(d.next_attempt_at) FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL)
     FROM waiting CROSS JOIN destinations t ON t.id = waiting.id";

impl Backlog {
    fn read(
        sql: &Connection,
        counts: &Counts,
        now: Timestamp,
        is_deliverable: impl Fn(&str) -> bool,
    ) -> Result<Self, StoreError> {
        let mut statement = sql.prepare_cached(SELECT_WAITING)?;
        let mut rows = statement.query([])?;
        let mut oldest_due: Option<Timestamp> = None;
        let mut kept = REASONS.map(|name| (name, 0));
        let mut is_counted = counts.is_complete();
        while let Some(row) = rows.next()? {
            let time = |at| -> rusqlite::Result<Option<Timestamp>> {
                Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_millis))
            };
            let obstacles = Obstacles {
                is_paused: row.get(2)?,
                held_until: time(3)?,
                probe_at: time(4)?,
            };
            let name: String = row.get(1)?;
            if let Some(reason) = obstacles.reason(is_deliverable(&name), now) {
                let waiting = counts.waiting(row.get(0)?);
                kept[reason.place()].1 += waiting.unwrap_or(0);
                is_counted &= waiting.is_some();
            } else {
                oldest_due = oldest_due.into_iter().chain(time(5)?).min();
            }
        }
        Ok(Self {
            oldest_due,
            kept: is_counted.then_some(kept),
        })
    }
}

impl Store {
    /// How many deliveries there are in each state but delivered; none until they are counted, soon
    /// after a start. Asks no reader.
    pub fn deliveries(&self) -> Option<[(DeliveryState, i64); COUNTED.len()]> {
        self.inner.shared.counts.totals()
    }

    /// How many wait for a destination; none until they are counted.
    #[cfg(test)]
    pub fn waiting(&self, destination: i64) -> Option<i64> {
        self.inner.shared.counts.waiting(destination)
    }

    /// What waits. `is_deliverable` tells whether a name of a destination can be delivered to.
    pub async fn backlog(
        &self,
        is_deliverable: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Backlog, StoreError> {
        let shared = self.inner.shared.clone();
        self.read(move |sql| Backlog::read(sql, &shared.counts, shared.clock.now(), is_deliverable))
            .await
    }
}

#[cfg(test)]
mod tests;
