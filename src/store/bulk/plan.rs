//! Plans a step of the bulk operations under way, on a reader: what each of them does next.

use crate::clock::Timestamp;
use crate::store::bulk::act::{Act, Does};
use crate::store::bulk::decide::{Decider, Decision};
use crate::store::bulk::reads::{BulkReads, UnderWay};
use crate::store::bulk::room::{Patience, Rooms};
use crate::store::bulk::selection::{Cursor, Selection};
use crate::store::limits::STEP_ROWS;
use crate::store::row_budget::RowBudget;
use crate::store::types::{AdvanceBulk, BulkAction, BulkId, Routing};

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
pub struct PlannedPart {
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
pub struct BulkPlan {
    pub parts: Vec<PlannedPart>,
    /// The operation to continue after, if all considered ones have to wait and there are more.
    pub after: Option<BulkId>,
    /// Operations that have erased everything, and end once no file holds the bytes any more.
    pub erased: Vec<BulkId>,
}

/// Plans the next step of the operations under way.
pub fn plan<R: BulkReads>(
    reads: &mut R,
    step: &AdvanceBulk<'_>,
    now: Timestamp,
) -> Result<BulkPlan, R::Error> {
    let operations = reads.under_way(step.after, OPERATIONS_A_STEP, now)?;
    let is_full = i64::try_from(operations.len()).unwrap_or(i64::MAX) == OPERATIONS_A_STEP;
    let last = operations.last().map(|operation| operation.id);
    let mut planner = Planner {
        reads,
        routing: step.routing,
        is_paced: step.is_paced,
        rooms: Rooms::new(now, step),
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
    Ok(BulkPlan {
        after: last.filter(|_| is_full && parts.is_empty()),
        parts,
        erased,
    })
}

struct Planner<'a, R> {
    reads: &'a mut R,
    routing: &'a dyn Routing,
    is_paced: bool,
    rooms: Rooms<'a>,
    budget: RowBudget,
    /// Bytes of bodies that were read.
    bytes: usize,
    is_full: bool,
}

impl<R: BulkReads> Planner<'_, R> {
    /// The step of one operation; none if it has to wait.
    fn part(&mut self, operation: &UnderWay) -> Result<Option<PlannedPart>, R::Error> {
        let (selection, before) = (&operation.selection, operation.cursor);
        if !self.may_go_on(operation)? {
            return Ok(None);
        }
        let page = self.reads.page(selection, before, ACTS_A_STEP)?;
        let decider = Decider {
            routing: self.routing,
            selection,
            target: operation.target.as_deref(),
            has_attempts: self.is_paced,
        };
        let mut part = PlannedPart {
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
                let decision = decider.decide(self.reads, selected)?;
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
    fn may_go_on(&mut self, operation: &UnderWay) -> Result<bool, R::Error> {
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
            self.rooms.has_room(self.reads, to, Patience::UnlessStopped)
        })
    }

    /// Takes the rows of a decision, and a place at its destinations; false if one of them is full,
    /// or the step is.
    fn take(
        &mut self,
        selection: &Selection,
        decision: &Decision,
        rows: usize,
    ) -> Result<bool, R::Error> {
        self.bytes += decision.bytes;
        if !self.budget.spend(rows) {
            self.is_full = true;
            return Ok(false);
        }
        let patience = if selection.is_of_one() {
            Patience::UnlessStopped
        } else {
            Patience::IfActive
        };
        let rooms = &mut self.rooms;
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
                    rooms.take(self.reads, (*destination, key), patience)?
                }
                Does::Create { to, key } | Does::Move { to, key, .. } => {
                    rooms.take_by_name(self.reads, (to, *key), patience)?
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
