use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::{BreakerChange, DeliveryState, Step};
use crate::store::{StoreError, Tx, WriteOp};

/// Entries of a delivery's history that are kept; the oldest give way. Enough for five schedules
/// of the default length.
const MAX_HISTORY: i64 = 50;

/// How long a delivery waits that was handed back because it couldn't be loaded.
pub(in super::super) const HANDED_BACK_FOR: Duration = Duration::from_millis(250);

/// One turn of the dispatcher, in one transaction: what workers have done is settled, what never
/// began is handed back, and then new work is claimed.
pub(in super::super) struct Turn {
    /// Shared with the dispatcher, which keeps them until they are durable.
    pub settlements: Arc<Vec<Settlement>>,
    pub hand_backs: Arc<Vec<HandBack>>,
    /// Destinations that have no breaker any more, which was left open.
    pub unbroken: Vec<i64>,
    pub wants: Vec<Want>,
    /// Marks what this turn claims: above zero.
    pub claim: i64,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub(in super::super) struct Settlement {
    pub intent: i64,
    pub destination: i64,
    pub claim: i64,
    pub attempt: u32,
    pub started_at: Timestamp,
    pub duration_ms: i64,
    pub step: Step,
    pub next_attempt_at: Option<Timestamp>,
    pub hold_until: Option<Timestamp>,
    /// Why nothing more goes to the destination until somebody resumes it.
    pub pause: Option<&'static str>,
    /// What the attempt changed about the destination's breaker.
    pub breaker: Option<BreakerChange>,
    /// Whether the destination is known to answer, if that is new.
    pub is_proven: Option<bool>,
    /// Its number in `attempts.outcome`.
    pub outcome: i64,
    pub status_code: Option<u16>,
    pub failure: Option<&'static str>,
    pub error: Option<String>,
    pub response: Option<Vec<u8>>,
    pub address: Option<String>,
    pub resolve_ms: Option<i64>,
    pub connect_ms: Option<i64>,
    pub first_byte_ms: Option<i64>,
    /// What follows and why.
    pub next: String,
}

/// A claim that is given up without an attempt.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct HandBack {
    pub intent: i64,
    pub destination: i64,
    pub claim: i64,
    /// When it was due, and is again; none if whatever kept it from beginning takes a moment to go away.
    pub due: Option<Timestamp>,
}

/// How many of a destination's due deliveries may be claimed: to begin at once, and to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Want {
    pub destination: i64,
    pub begin: usize,
    pub wait: usize,
}

/// A delivery that is now ours to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Claimed {
    pub intent: i64,
    pub destination: i64,
    /// Below zero while it waits: a crash then has interrupted nothing.
    pub claim: i64,
    /// When it was due.
    pub due: Timestamp,
    pub attempt: u32,
    pub history: u32,
}

impl WriteOp for Turn {
    type Out = Vec<Claimed>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Claimed>, StoreError> {
        for settlement in self.settlements.iter() {
            settlement.apply(tx)?;
        }
        for hand_back in self.hand_backs.iter() {
            hand_back.apply(tx)?;
        }
        for destination in &self.unbroken {
            remember_breaker(*destination, BreakerChange::Closed, tx)?;
        }
        let mut claimed = Vec::new();
        for want in &self.wants {
            want.claim(self.claim, &mut claimed, tx)?;
        }
        Ok(claimed)
    }

    fn bytes(&self) -> usize {
        self.settlements
            .iter()
            .map(|settlement| settlement.response.as_ref().map_or(64, Vec::len))
            .sum()
    }
}

/// The state that a step leads to from `processing`.
fn after(step: Step) -> Result<i64, StoreError> {
    DeliveryState::Processing
        .after(step)
        .map(DeliveryState::number)
        .ok_or_else(|| StoreError::Unexpected(format!("{step:?} can't follow an attempt")))
}

impl Settlement {
    /// Guarded by state and claim: a delivery that is no longer ours stays as it is.
    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let entry: Option<i64> = tx.first(
            "UPDATE deliveries
                 SET state = ?1, claim = NULL, next_attempt_at = ?2, updated_at = ?3,
                     history = history + 1, interruptions = 0, last_error = coalesce(?4, last_error)
                 WHERE intent_id = ?5 AND destination_id = ?6 AND state = ?7 AND claim = ?8
                 RETURNING history",
            params![
                after(self.step)?,
                self.next_attempt_at.map(Timestamp::as_millis),
                tx.now.as_millis(),
                self.error,
                self.intent,
                self.destination,
                DeliveryState::Processing.number(),
                self.claim,
            ],
            |row| row.get(0),
        )?;
        let Some(entry) = entry else {
            log::warn!(intent = self.intent, destination = self.destination; "an attempt ended whose delivery was no longer claimed by it");
            return Ok(());
        };
        tx.execute(
            "INSERT INTO attempts (intent_id, destination_id, entry, attempt, started_at,
                                       duration_ms, outcome, status_code, error, response, failure,
                                       address, resolve_ms, connect_ms, first_byte_ms, next)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            params![
                self.intent,
                self.destination,
                entry,
                self.attempt,
                self.started_at.as_millis(),
                self.duration_ms,
                self.outcome,
                self.status_code,
                self.error,
                self.response,
                self.failure,
                self.address,
                self.resolve_ms,
                self.connect_ms,
                self.first_byte_ms,
                self.next,
            ],
        )?;
        if entry > MAX_HISTORY {
            tx.execute(
                "DELETE FROM attempts WHERE intent_id = ?1 AND destination_id = ?2 AND entry <= ?3",
                params![self.intent, self.destination, entry - MAX_HISTORY],
            )?;
        }
        if let Some(until) = self.hold_until {
            tx.execute(
                "UPDATE destinations SET held_until = max(coalesce(held_until, 0), ?1)
                 WHERE id = ?2",
                params![until.as_millis(), self.destination],
            )?;
        }
        if let Some(reason) = self.pause {
            tx.execute(
                "UPDATE destinations SET paused_at = ?1, pause_reason = ?2
                     WHERE id = ?3 AND paused_at IS NULL",
                params![tx.now.as_millis(), reason, self.destination],
            )?;
        }
        if let Some(change) = self.breaker {
            remember_breaker(self.destination, change, tx)?;
        }
        if let Some(is_proven) = self.is_proven {
            tx.execute(
                "UPDATE destinations SET proven_at = ?1 WHERE id = ?2",
                params![is_proven.then_some(tx.now.as_millis()), self.destination],
            )?;
        }
        Ok(())
    }
}

/// Keeps a breaker's state for the next process.
fn remember_breaker(
    destination: i64,
    change: BreakerChange,
    tx: &Tx<'_>,
) -> Result<(), StoreError> {
    let wait = match change {
        BreakerChange::Open(wait) => Some(wait),
        BreakerChange::Closed => None,
    };
    tx.execute(
        "UPDATE destinations SET probe_at = ?1, probe_wait = ?2 WHERE id = ?3",
        params![
            wait.map(|wait| tx.now.plus(wait).as_millis()),
            wait.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)),
            destination
        ],
    )?;
    Ok(())
}

impl HandBack {
    /// The claim counted an attempt, which is given back: none was made, or none is known to have
    /// failed.
    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let due = self.due.unwrap_or_else(|| tx.now.plus(HANDED_BACK_FOR));
        tx.execute(
            "UPDATE deliveries
                 SET state = ?1, claim = NULL, next_attempt_at = ?2, updated_at = ?3,
                     attempts = attempts - 1
                 WHERE intent_id = ?4 AND destination_id = ?5 AND state = ?6 AND claim = ?7",
            params![
                after(Step::HandBack)?,
                due.as_millis(),
                tx.now.as_millis(),
                self.intent,
                self.destination,
                DeliveryState::Processing.number(),
                self.claim,
            ],
        )?;
        Ok(())
    }
}

/// What of a destination is due, longest first. Reads the index `due` alone.
const SELECT_DUE: &str = "SELECT intent_id, next_attempt_at FROM deliveries
     WHERE destination_id = ?1 AND next_attempt_at <= ?2
     ORDER BY next_attempt_at LIMIT ?3";

impl Want {
    fn claim(&self, claim: i64, claimed: &mut Vec<Claimed>, tx: &Tx<'_>) -> Result<(), StoreError> {
        // A hold or a pause that this very turn, or another process, has written counts already.
        let may_go = tx.first(
            "SELECT 1 FROM destinations
             WHERE id = ?1 AND paused_at IS NULL AND (held_until IS NULL OR held_until <= ?2)",
            params![self.destination, tx.now.as_millis()],
            |_| Ok(()),
        )?;
        if may_go.is_none() {
            return Ok(());
        }
        // Read first, then update row by row: the update moves rows out of the very index that is
        // being read.
        let at_most = i64::try_from(self.begin + self.wait).unwrap_or(i64::MAX);
        let now = tx.now.as_millis();
        let due: Vec<(i64, i64)> =
            tx.rows(SELECT_DUE, params![self.destination, now, at_most], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let mut begun = 0;
        for (intent, due) in due {
            let claim = if begun < self.begin { claim } else { -claim };
            let counted = tx.first(
                "UPDATE deliveries
                 SET state = ?1, claim = ?2, next_attempt_at = NULL, updated_at = ?3, attempts = attempts + 1
                 WHERE intent_id = ?4 AND destination_id = ?5 AND next_attempt_at IS NOT NULL
                 RETURNING attempts, history",
                params![
                    DeliveryState::Processing.number(),
                    claim,
                    now,
                    intent,
                    self.destination,
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if let Some((attempt, history)) = counted {
                begun += usize::from(claim > 0);
                claimed.push(Claimed {
                    intent,
                    destination: self.destination,
                    claim,
                    due: Timestamp::from_millis(due),
                    attempt,
                    history,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reads_nothing_but_its_own_stretch_of_the_index() {
        let sql = rusqlite::Connection::open_in_memory().expect("a database");
        sql.execute_batch(include_str!("../../../schema.sql"))
            .expect("the schema");
        let plan: String = sql
            .query_row(
                &format!("EXPLAIN QUERY PLAN {SELECT_DUE}"),
                params![1, 1, 1],
                |row| row.get(3),
            )
            .expect("one step");
        assert_eq!(
            plan,
            "SEARCH deliveries USING COVERING INDEX due (destination_id=? AND next_attempt_at<?)"
        );
    }
}
