//! An operator's acts on the deliveries of one intent, in steps.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId};
use crate::store::error::StoreError;
use crate::store::sqlite::columns::BLOCKED;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::limits::MAX_HISTORY;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::act::Act;
use crate::store::sqlite::ops::bulk::Decider;
use crate::store::sqlite::ops::foresee::foresee;
use crate::store::sqlite::queries::{Cursor, Selected, destination_id, selection_of};
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, RowBudget, WriteOp};
use crate::store::types::{
    BulkAction, BulkFilter, BulkTally, DestinationId, IntentRow, NewBulk, NoRouting, OfIntent,
    Routing,
};

/// The deliveries of an intent that an operation selects, and what it does with them. None if there
/// is no such intent. Of a filter the states and the destination count: the id says the rest.
fn decide(
    sql: &Connection,
    id: IntentId,
    new: &NewBulk,
    routing: &dyn Routing,
    (now, has_attempts): (Timestamp, bool),
) -> Result<Option<(Vec<Act>, OfIntent)>, StoreError> {
    let bytes: Option<u32> = sql
        .prepare_cached(
            "SELECT length(headers) + length(body) FROM intents WHERE id = ?1 AND random = ?2",
        )?
        .query_row(params![id.row(), id.random()], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let mut found = OfIntent::default();
    let selection = selection_of(new, None, None, now);
    let decider = Decider {
        sql,
        routing,
        selection: &selection,
        target: new.target.as_deref(),
        has_attempts,
    };
    let mut acts = Vec::new();
    let destination = match &new.filter.destination {
        Some(name) => match destination_id(sql, name)? {
            Some(id) => Some(id),
            None => return Ok(Some((acts, found))),
        },
        None => None,
    };
    let deliveries = deliveries(sql, IntentRow::of(id), destination, (bytes, now))?;
    if new.action.is_of_events() {
        let states = new.filter.states;
        let is_asked_for =
            !new.filter.is_of_deliveries() || deliveries.iter().any(|one| states.holds(one.state));
        if is_asked_for {
            let decision = decider.decide(&an_event(IntentRow::of(id), bytes))?;
            found.tally.payload_gone += decision.payload_gone;
            acts = decision.acts;
        }
        return Ok(Some((acts, found)));
    }
    for selected in deliveries {
        if selected.state == DeliveryState::Processing && new.action.is_of_waiting(&new.filter) {
            found.in_flight += 1;
        } else if !new.filter.states.holds(selected.state) {
        } else if new.action == BulkAction::Retry && selected.is_skipped {
            // Due already, or behind another in its line.
            found.tally.skipped += 1;
        } else {
            acts.extend(decider.decide(&selected)?.acts);
        }
    }
    Ok(Some((acts, found)))
}

/// The deliveries of an intent that were not discarded.
fn deliveries(
    sql: &Connection,
    intent: IntentRow,
    destination: Option<DestinationId>,
    (bytes, now): (u32, Timestamp),
) -> Result<Vec<Selected>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT destination_id, state, updated_at, min(history, ?3),
                (next_attempt_at <= ?4 OR next_attempt_at = ?5) IS TRUE
         FROM deliveries
         WHERE intent_id = ?1 AND (?2 IS NULL OR destination_id = ?2) AND discarded_at IS NULL
         ORDER BY destination_id",
    )?;
    let rows = statement.query_map(
        params![intent, destination, MAX_HISTORY, now, BLOCKED],
        |row| {
            Ok(Selected {
                destination: Some(row.get(0)?),
                state: row.get(1)?,
                updated_at: row.get(2)?,
                history: row.get(3)?,
                is_skipped: row.get(4)?,
                ..an_event(intent, bytes)
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn an_event(intent: IntentRow, bytes: u32) -> Selected {
    Selected {
        intent,
        destination: None,
        state: DeliveryState::Queued,
        updated_at: Timestamp::from_millis(0),
        history: 0,
        bytes,
        line: None,
        is_skipped: false,
        cursor: Cursor::default(),
    }
}

/// Makes acts that are decided, in steps.
struct MakeActs {
    acts: Vec<Act>,
    made: usize,
    next: usize,
    tally: BulkTally,
}

impl MakeActs {
    fn new(acts: Vec<Act>) -> Self {
        Self {
            acts,
            made: 0,
            next: 0,
            tally: BulkTally::default(),
        }
    }
}

impl LongWrite for MakeActs {
    type Step = ActsStep;

    fn next_step(&mut self, rows: usize) -> Option<ActsStep> {
        let rest = &self.acts[self.made..];
        let count = RowBudget::of(rows).spend_on(rest, |act| act.rows);
        self.next = self.made + count;
        (count > 0).then(|| ActsStep(rest[..count].to_vec()))
    }

    fn committed(&mut self, tally: BulkTally) {
        self.made = self.next;
        self.tally += tally;
    }
}

/// One transaction's share of a [`MakeActs`].
struct ActsStep(Vec<Act>);

impl WriteOp for ActsStep {
    type Out = BulkTally;

    fn apply(&self, tx: &Tx<'_>) -> Result<BulkTally, StoreError> {
        let mut tally = BulkTally::default();
        for act in &self.0 {
            tally += act.apply(tx)?;
        }
        Ok(tally)
    }

    fn rows(&self) -> usize {
        self.0.iter().map(|act| act.rows).sum()
    }
}

impl Sqlite {
    /// Replays the dead letters of an intent; how many there were. Blocks.
    pub fn replay(&self, id: IntentId) -> Result<usize, StoreError> {
        self.act_on(id, &NewBulk::replay(BulkFilter::dead_letters()))
    }

    fn act_on(&self, id: IntentId, new: &NewBulk) -> Result<usize, StoreError> {
        self.refuse_if_stopping()?;
        let now = self.shared().clock.now();
        let Some((acts, _)) =
            self.read_blocking(|sql| decide(sql, id, new, &NoRouting, (now, true)))?
        else {
            return Ok(0);
        };
        let mut making = MakeActs::new(acts);
        self.write_steps(&mut making)?;
        Ok(usize::try_from(making.tally.done).unwrap_or(0))
    }
}

impl Operator {
    /// Makes an operation on the deliveries of one intent at once. None if there is no such intent.
    pub fn act_on(
        &mut self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        let at = (self.now(), self.has_server());
        let Some((acts, of_intent)) = self.read(|sql| decide(sql, id, new, routing, at))? else {
            return Ok(None);
        };
        let mut making = MakeActs::new(acts);
        self.write_steps(&mut making)?;
        Ok(Some(with_acts(of_intent, making.tally)))
    }

    /// Tells what an operation would do on the deliveries of one intent, and does nothing. None if
    /// there is no such intent.
    pub fn preview_on(
        &self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        let at = (self.now(), self.has_server());
        self.read(|sql| {
            let Some((acts, of_intent)) = decide(sql, id, new, routing, at)? else {
                return Ok(None);
            };
            let mut foreseen = BulkTally::default();
            for act in &acts {
                foreseen += foresee(sql, act)?;
            }
            Ok(Some(with_acts(of_intent, foreseen)))
        })
    }
}

/// The result of an operation whose acts have this tally. Acts that wait for an attempt are told as
/// deliveries in flight.
fn with_acts(mut of_intent: OfIntent, acts: BulkTally) -> OfIntent {
    of_intent.in_flight += usize::try_from(acts.in_flight).unwrap_or(0);
    of_intent.tally += acts;
    of_intent.tally.in_flight = 0;
    of_intent
}

#[cfg(test)]
impl Operator {
    /// Replays the dead letters of an intent; how many there were.
    pub fn replay(&mut self, id: IntentId) -> Result<usize, StoreError> {
        self.of_dead_letters(id, NewBulk::replay)
    }

    /// Discards the dead letters of an intent; how many there were.
    pub fn discard(&mut self, id: IntentId) -> Result<usize, StoreError> {
        self.of_dead_letters(id, NewBulk::discard)
    }

    fn of_dead_letters(
        &mut self,
        id: IntentId,
        new: fn(BulkFilter) -> NewBulk,
    ) -> Result<usize, StoreError> {
        let done = self.act_on(id, &new(BulkFilter::dead_letters()), &NoRouting)?;
        let done = done.unwrap_or_default().tally.done;
        Ok(usize::try_from(done).unwrap_or(0))
    }
}

#[cfg(test)]
impl Sqlite {
    /// Discards the dead letters of an intent; how many there were. Blocks.
    pub fn discard(&self, id: IntentId) -> Result<usize, StoreError> {
        self.act_on(id, &NewBulk::discard(BulkFilter::dead_letters()))
    }
}
