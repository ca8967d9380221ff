//! Plans a step of the bulk operations under way, on a reader: what each of them does next.

use rusqlite::{Connection, Row, params};

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::columns::stored_ids;
use crate::store::sqlite::limits::STEP_ROWS;
use crate::store::sqlite::ops::act::{Act, Does};
use crate::store::sqlite::ops::bulk::decide::{Decider, Decision};
use crate::store::sqlite::ops::bulk::room::{Patience, Rooms};
use crate::store::sqlite::queries::{Cursor, Selection, rows_of};
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::RowBudget;
use crate::store::types::{
    AdvanceBulk, BulkAction, BulkId, BulkTally, IntentRow, Routing, StateSet,
};

/// Deliveries of an operation that one step acts on.
const ACTS_A_STEP: usize = 100;
/// Operations that one step considers. A command may create one for each ad hoc origin; testing
/// whether a replay has to wait takes 20 µs.
const OPERATIONS_A_STEP: i64 = 64;
/// Bytes of bodies that a step reads to evaluate routes and order: four of the largest bodies of a
/// source by default.
const BYTES_A_STEP: usize = 4 << 20;

/// A step of one operation.
#[derive(Clone, Debug)]
pub struct Part {
    pub operation: BulkId,
    pub selection: Selection,
    /// Where the operation stood: another step must not have come in between.
    pub before: Cursor,
    pub after: Cursor,
    pub acts: Vec<Act>,
    pub skipped: i64,
    pub payload_gone: i64,
    /// Whether the selection has no more after these.
    pub is_at_end: bool,
    /// Whether deliveries in flight are waited for.
    pub is_paced: bool,
}

/// A planned step.
pub struct BulkStep {
    pub parts: Vec<Part>,
    /// The operation to continue after, if all considered ones have to wait and there are more.
    pub after: Option<BulkId>,
    /// Operations that have erased everything, and end once the WAL is emptied.
    pub erased: Vec<BulkId>,
}

/// An operation under way.
struct Operation {
    id: BulkId,
    selection: Selection,
    target: Option<String>,
    cursor: Cursor,
    look_again_at: Option<Timestamp>,
    /// Whether this is its first pass: only that one counts what it skips.
    is_first_pass: bool,
    /// Whether it has erased everything.
    is_erased: bool,
}

impl Operation {
    fn read(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Self> {
        let begun_at: Option<Timestamp> = row.get(9)?;
        Ok(Self {
            id: row.get(0)?,
            selection: Selection {
                action: row.get(1)?,
                destination: row.get(2)?,
                target: row.get(3)?,
                states: StateSet(row.get(4)?),
                ids: rows_of(&stored_ids(row, 17)?),
                source: row.get(5)?,
                event_type: row.get(6)?,
                reason: row.get(7)?,
                since: row.get(8)?,
                begun_at: begun_at.unwrap_or(now),
                until: row.get(10)?,
            },
            target: row.get(11)?,
            cursor: Cursor {
                at: row.get(12)?,
                intent: row.get(13)?,
                more: row.get(14)?,
            },
            look_again_at: row.get(15)?,
            is_first_pass: row.get(16)?,
            is_erased: row.get(18)?,
        })
    }
}

fn under_way(
    sql: &Connection,
    after: Option<BulkId>,
    now: Timestamp,
) -> Result<Vec<Operation>, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT j.id, j.kind, j.destination_id, j.target_id, j.states, j.source, j.event_type,
                j.reason, j.since, j.begun_at, j.until, t.name, j.cursor_at, j.cursor_intent,
                j.cursor_more, j.look_again_at, j.look_until IS NULL, j.ids,
                j.erased_at IS NOT NULL
         FROM jobs j LEFT JOIN destinations t ON t.id = j.target_id
         WHERE j.ended_at IS NULL AND j.id > ?1 ORDER BY j.id LIMIT ?2",
    )?;
    let rows = statement.query_map(
        params![after.unwrap_or(BulkId(0)), OPERATIONS_A_STEP],
        |row| Operation::read(row, now),
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Plans the next step of the operations under way.
pub fn plan(
    sql: &Connection,
    step: &AdvanceBulk<'_>,
    now: Timestamp,
) -> Result<BulkStep, StoreError> {
    let operations = under_way(sql, step.after, now)?;
    let is_full = i64::try_from(operations.len()).unwrap_or(i64::MAX) == OPERATIONS_A_STEP;
    let last = operations.last().map(|operation| operation.id);
    let mut planner = Planner {
        sql,
        routing: step.routing,
        is_paced: step.is_paced,
        rooms: Rooms::new(sql, now, step.is_paced),
        budget: RowBudget::of(STEP_ROWS),
        bytes: 0,
        is_full: false,
    };
    let (mut parts, mut erased) = (Vec::new(), Vec::new());
    for operation in operations {
        if operation.is_erased {
            erased.push(operation.id);
            continue;
        }
        if operation.look_again_at.is_some_and(|at| at > now) {
            continue;
        }
        parts.extend(planner.part(&operation)?);
        if planner.is_full {
            break;
        }
    }
    Ok(BulkStep {
        after: last.filter(|_| is_full && parts.is_empty()),
        parts,
        erased,
    })
}

struct Planner<'a> {
    sql: &'a Connection,
    routing: &'a dyn Routing,
    is_paced: bool,
    rooms: Rooms<'a>,
    budget: RowBudget,
    /// Bytes of bodies that were read.
    bytes: usize,
    is_full: bool,
}

impl Planner<'_> {
    /// The step of one operation; none if it has to wait.
    fn part(&mut self, operation: &Operation) -> Result<Option<Part>, StoreError> {
        let (selection, before) = (&operation.selection, operation.cursor);
        if !self.may_go_on(operation)? {
            return Ok(None);
        }
        let page = selection.page(self.sql, before, ACTS_A_STEP)?;
        let decider = Decider {
            sql: self.sql,
            routing: self.routing,
            selection,
            target: operation.target.as_deref(),
            has_attempts: self.is_paced,
        };
        let mut part = Part {
            operation: operation.id,
            selection: selection.clone(),
            before,
            after: before,
            acts: Vec::new(),
            skipped: 0,
            payload_gone: 0,
            is_at_end: false,
            is_paced: self.is_paced,
        };
        // The row of the operation itself is written with its first act.
        let mut rows = 1;
        for selected in &page.selected {
            if !selected.is_skipped {
                let decision = decider.decide(selected)?;
                rows += decision.rows();
                if !self.take(selection, &decision, rows)? {
                    return Ok((part.after != before).then_some(part));
                }
                rows = 0;
                part.payload_gone += decision.payload_gone;
                part.acts.extend(decision.acts);
            }
            part.skipped += i64::from(selected.is_skipped && operation.is_first_pass);
            part.after = selected.cursor;
            if self.is_full {
                return Ok(Some(part));
            }
        }
        if rows > 0 && !self.budget.spend(rows) {
            self.is_full = true;
            return Ok((part.after != before).then_some(part));
        }
        part.after = page.end;
        part.is_at_end = page.is_last;
        Ok(Some(part))
    }

    /// Whether the destination of an operation takes anything more. An operation on all of them
    /// finds out as it goes on.
    fn may_go_on(&mut self, operation: &Operation) -> Result<bool, StoreError> {
        let Selection {
            action,
            destination,
            ..
        } = operation.selection;
        // The destinations that get something new; a discard adds nothing anywhere.
        let to = match operation.selection.target {
            Some(target) => Some(target),
            None => destination.filter(|_| action.is_paced()),
        };
        to.map_or(Ok(true), |to| {
            self.rooms.has_room(to, Patience::UnlessPaused)
        })
    }

    /// Takes the rows of a decision, and a place at its destinations; false if one of them is full,
    /// or the step is.
    fn take(
        &mut self,
        selection: &Selection,
        decision: &Decision,
        rows: usize,
    ) -> Result<bool, StoreError> {
        self.bytes += decision.bytes;
        if !self.budget.spend(rows) {
            self.is_full = true;
            return Ok(false);
        }
        let patience = if selection.is_of_one() {
            Patience::UnlessPaused
        } else {
            Patience::IfActive
        };
        for act in &decision.acts {
            let has_room = match &act.does {
                Does::Erase { .. } => true,
                Does::Change { action, .. } if !action.is_paced() => true,
                Does::Change {
                    action,
                    destination,
                    key,
                    ..
                } => {
                    // Of those that wait already none goes to the end of its line.
                    let key = key.filter(|_| *action == BulkAction::Replay);
                    self.rooms.take(*destination, key, patience)?
                }
                Does::Create { to, key } | Does::Move { to, key, .. } => {
                    self.rooms.take_by_name(to, *key, patience)?
                }
            };
            if !has_room {
                return Ok(false);
            }
        }
        // The bodies that were read are used; the next step reads on.
        self.is_full |= self.bytes >= BYTES_A_STEP;
        Ok(true)
    }
}

impl Part {
    /// Makes its acts, in the writer's transaction, up to one that has to wait for an attempt: the
    /// intent of that one.
    pub fn act(&self, tx: &Tx<'_>) -> Result<(BulkTally, Option<IntentRow>), StoreError> {
        let mut tally = BulkTally {
            skipped: self.skipped,
            payload_gone: self.payload_gone,
            ..BulkTally::default()
        };
        for act in &self.acts {
            tally += act.apply(tx)?;
            if tally.in_flight > 0 {
                return Ok((tally, Some(act.intent)));
            }
        }
        Ok((tally, None))
    }
}
