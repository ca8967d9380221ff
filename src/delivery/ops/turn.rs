use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::params;

use crate::clock::Timestamp;
use crate::model::{BreakerChange, DeliveryState, Transition};
use crate::store::{LongWrite, MAX_HISTORY, RowBudget, StoreError, Tx, WriteOp};

/// How long a delivery waits that was handed back because it couldn't be loaded.
pub(in crate::delivery) const HANDED_BACK_FOR: Duration = Duration::from_millis(250);

/// One turn of the dispatcher: finished attempts are settled, claims whose attempts never began are
/// handed back, and then new work is claimed. It takes as many transactions as its rows need; the
/// claims come last, since nothing is claimed while outcomes can't be recorded.
pub(in crate::delivery) struct Turn {
    settlements: Arc<Vec<Settlement>>,
    hand_backs: Arc<Vec<HandBack>>,
    /// Destinations that have no breaker any more, which was left open.
    unbroken: Vec<i64>,
    /// Marks what this turn claims: above zero.
    claim: i64,
    done: Progress,
    /// Where the step that was begun leads.
    next: Progress,
    claimed: Vec<Claimed>,
}

/// How far a turn is.
#[derive(Clone, Debug)]
struct Progress {
    settled: usize,
    handed_back: usize,
    closed: usize,
    /// Claims that are still to be made.
    wants: Vec<Want>,
}

impl Turn {
    /// A turn of which nothing is durable yet.
    pub fn new(
        settlements: Vec<Settlement>,
        hand_backs: Vec<HandBack>,
        unbroken: Vec<i64>,
        wants: Vec<Want>,
        claim: i64,
    ) -> Self {
        let done = Progress {
            settled: 0,
            handed_back: 0,
            closed: 0,
            wants,
        };
        Self {
            settlements: Arc::new(settlements),
            hand_backs: Arc::new(hand_backs),
            unbroken,
            claim,
            next: done.clone(),
            done,
            claimed: Vec::new(),
        }
    }

    /// The settlements and hand backs that are durable.
    pub fn durable(&self) -> (&[Settlement], &[HandBack]) {
        (
            &self.settlements[..self.done.settled],
            &self.hand_backs[..self.done.handed_back],
        )
    }

    /// What was claimed, and is durable.
    pub fn into_claimed(self) -> Vec<Claimed> {
        self.claimed
    }

    /// Of a turn that failed: the settlements and the hand backs that aren't durable. What was
    /// claimed before the failure is among the hand backs.
    pub fn into_unfinished(self) -> (Vec<Settlement>, Vec<HandBack>) {
        let settlements = Arc::unwrap_or_clone(self.settlements);
        let hand_backs = Arc::unwrap_or_clone(self.hand_backs);
        let claims = self.claimed.into_iter().map(|claimed| HandBack {
            intent: claimed.intent,
            destination: claimed.destination,
            claim: claimed.claim,
            due: Some(claimed.due),
        });
        (
            settlements.into_iter().skip(self.done.settled).collect(),
            hand_backs
                .into_iter()
                .skip(self.done.handed_back)
                .chain(claims)
                .collect(),
        )
    }
}

impl LongWrite for Turn {
    type Step = TurnStep;

    fn next_step(&mut self, rows: usize) -> Option<TurnStep> {
        let done = &self.done;
        let settlements = &self.settlements[done.settled..];
        let hand_backs = &self.hand_backs[done.handed_back..];
        let unbroken = &self.unbroken[done.closed..];
        if settlements.is_empty()
            && hand_backs.is_empty()
            && unbroken.is_empty()
            && done.wants.is_empty()
        {
            return None;
        }
        let mut budget = RowBudget::of(rows);
        let mut next = done.clone();
        next.settled += budget.spend_on(settlements, Settlement::rows);
        next.handed_back += budget.spend_on(hand_backs, |_| 1);
        next.closed += budget.spend_on(unbroken, |_| 1);
        let mut wants = Vec::new();
        next.wants.clear();
        for want in &done.wants {
            // One row for the destination.
            let fits = budget.spend(1);
            let asked = 0..want.begin + want.wait;
            let rows = asked.take_while(|_| fits && budget.spend(1)).count();
            let now = Want {
                destination: want.destination,
                begin: want.begin.min(rows),
                wait: rows - want.begin.min(rows),
            };
            let later = Want {
                destination: want.destination,
                begin: want.begin - now.begin,
                wait: want.wait - now.wait,
            };
            wants.extend((rows > 0).then_some(now));
            next.wants
                .extend((later.begin + later.wait > 0).then_some(later));
        }
        let step = TurnStep {
            settlements: Arc::clone(&self.settlements),
            settled: done.settled..next.settled,
            hand_backs: Arc::clone(&self.hand_backs),
            handed_back: done.handed_back..next.handed_back,
            unbroken: self.unbroken[done.closed..next.closed].to_vec(),
            wants,
            claim: self.claim,
        };
        self.next = next;
        Some(step)
    }

    fn committed(&mut self, claimed: Vec<Claimed>) {
        self.done = self.next.clone();
        self.claimed.extend(claimed);
    }
}

/// What of a turn one transaction does.
pub(in crate::delivery) struct TurnStep {
    settlements: Arc<Vec<Settlement>>,
    settled: Range<usize>,
    hand_backs: Arc<Vec<HandBack>>,
    handed_back: Range<usize>,
    unbroken: Vec<i64>,
    wants: Vec<Want>,
    claim: i64,
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Settlement {
    pub intent: i64,
    pub destination: i64,
    pub claim: i64,
    pub attempt: u32,
    /// Entries that its history had when it was claimed.
    pub history: u32,
    pub started_at: Timestamp,
    pub duration_ms: i64,
    pub step: Transition,
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
pub(in crate::delivery) struct HandBack {
    pub intent: i64,
    pub destination: i64,
    pub claim: i64,
    /// When it was due, and is again; none if whatever kept it from beginning takes a moment to go away.
    pub due: Option<Timestamp>,
}

/// How many of a destination's due deliveries may be claimed: to begin at once, and to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Want {
    pub destination: i64,
    pub begin: usize,
    pub wait: usize,
}

/// A delivery that is now ours to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::delivery) struct Claimed {
    pub intent: i64,
    pub destination: i64,
    /// Below zero while it waits: a crash then has interrupted nothing.
    pub claim: i64,
    /// When it was due.
    pub due: Timestamp,
    pub attempt: u32,
    pub history: u32,
}

impl WriteOp for TurnStep {
    type Out = Vec<Claimed>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Vec<Claimed>, StoreError> {
        for settlement in self.settlements() {
            settlement.apply(tx)?;
        }
        for hand_back in &self.hand_backs[self.handed_back.clone()] {
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

    fn rows(&self) -> usize {
        let settled: usize = self.settlements().iter().map(Settlement::rows).sum();
        let claimed = self.wants.iter().map(|want| 1 + want.begin + want.wait);
        settled + self.handed_back.len() + self.unbroken.len() + claimed.sum::<usize>()
    }

    fn bytes(&self) -> usize {
        self.settlements()
            .iter()
            .map(|settlement| settlement.response.as_ref().map_or(64, Vec::len))
            .sum()
    }
}

impl TurnStep {
    fn settlements(&self) -> &[Settlement] {
        &self.settlements[self.settled.clone()]
    }
}

/// The state that a step leads to from `processing`.
fn after(transition: Transition) -> Result<DeliveryState, StoreError> {
    transition
        .apply(DeliveryState::Processing)
        .ok_or_else(|| StoreError::Unexpected(format!("{transition:?} can't follow an attempt")))
}

impl Settlement {
    /// The delivery and the attempt, the oldest attempt if it gives way, and the destination if
    /// anything changes about it.
    fn rows(&self) -> usize {
        2 + usize::from(i64::from(self.history) >= MAX_HISTORY)
            + usize::from(self.hold_until.is_some())
            + usize::from(self.pause.is_some())
            + usize::from(self.breaker.is_some())
            + usize::from(self.is_proven.is_some())
    }

    /// Guarded by state and claim: a delivery that is no longer ours stays as it is.
    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        let state = after(self.step)?;
        let entry: Option<i64> = tx.first(
            "UPDATE deliveries
                 SET state = ?1, claim = NULL, next_attempt_at = ?2, updated_at = ?3,
                     history = history + 1, interruptions = 0, last_error = coalesce(?4, last_error)
                 WHERE intent_id = ?5 AND destination_id = ?6 AND state = ?7 AND claim = ?8
                 RETURNING history",
            params![
                state.number(),
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
        tx.moved(self.destination, DeliveryState::Processing, state);
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
        let state = after(Transition::Release)?;
        let handed_back = tx.execute(
            "UPDATE deliveries
                 SET state = ?1, claim = NULL, next_attempt_at = ?2, updated_at = ?3,
                     attempts = attempts - 1
                 WHERE intent_id = ?4 AND destination_id = ?5 AND state = ?6 AND claim = ?7",
            params![
                state.number(),
                due.as_millis(),
                tx.now.as_millis(),
                self.intent,
                self.destination,
                DeliveryState::Processing.number(),
                self.claim,
            ],
        )?;
        if handed_back > 0 {
            tx.moved(self.destination, DeliveryState::Processing, state);
        }
        Ok(())
    }
}

/// What of a destination is due, longest first. Reads the index `due` alone.
const SELECT_DUE: &str = "SELECT intent_id, next_attempt_at, state FROM deliveries
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
        let due: Vec<(i64, i64, i64)> =
            tx.rows(SELECT_DUE, params![self.destination, now, at_most], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let mut begun = 0;
        for (intent, due, state) in due {
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
                tx.moved(
                    self.destination,
                    DeliveryState::from_number(state),
                    DeliveryState::Processing,
                );
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
mod long;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reads_nothing_but_its_own_stretch_of_the_index() {
        let sql = rusqlite::Connection::open_in_memory().expect("a database");
        sql.execute_batch(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/schema.sql"
        )))
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
