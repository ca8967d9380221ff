//! Operations as operators see them: the jobs that were created together are created and cancelled
//! together.

use super::create::{create, nonce_of};
use crate::clock::Timestamp;
use crate::store::bulk::recorded_parts_of;
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::queries::operations::{operation_named_by, read_operation};
use crate::store::postgres::retry::once;
use crate::store::types::{BulkId, Counting, NewBulk, OperationCreation, StoredOperation};

/// Ends the jobs of an operation before they are done. $1: the operation; $2: now.
const CANCEL: &str = "UPDATE relay.jobs SET ended_at = $2::int8, is_cancelled = true
     WHERE operation = $1 AND ended_at IS NULL";

/// The same for one of the jobs.
const CANCEL_JOB: &str = "UPDATE relay.jobs SET ended_at = $2::int8, is_cancelled = true
     WHERE id = $1 AND ended_at IS NULL";

/// None if the destinations, ad hoc origins, were deleted meanwhile.
fn create_operation(
    sql: &mut Connection,
    (new, nonce): (&NewBulk, &str),
    now: Timestamp,
) -> Result<Option<OperationCreation>, Failure> {
    if new.nonce.is_some()
        && let Some(before) = operation_named_by(sql, nonce)?
    {
        return Ok(Some(of_nonce(
            (new, now),
            before,
            OperationCreation::Before,
        )));
    }
    let parts = recorded_parts_of(sql, new, now, Counting::Bounded)?;
    let created = create(sql, (new, nonce), &parts, now)?;
    let Some(first) = created.first() else {
        return Ok(None);
    };
    // Another request may have taken the nonce meanwhile.
    let found = read_operation(sql, *first)?;
    Ok(found.map(|found| of_nonce((new, now), found, OperationCreation::New)))
}

/// The answer to a request whose nonce names this operation: a conflict unless it asks for it.
fn of_nonce(
    (new, now): (&NewBulk, Timestamp),
    found: StoredOperation,
    answer: fn(StoredOperation) -> OperationCreation,
) -> OperationCreation {
    if found.is_asked_for_by(new, now) {
        answer(found)
    } else {
        OperationCreation::Conflict
    }
}

fn cancel(
    sql: &mut Connection,
    id: BulkId,
    now: Timestamp,
) -> Result<Option<(bool, StoredOperation)>, Failure> {
    let Some(operation) = read_operation(sql, id)? else {
        return Ok(None);
    };
    let is_changed = sql.execute(CANCEL, &[&operation.id, &now])? > 0;
    let stored = read_operation(sql, id)?;
    Ok(stored.map(|operation| (is_changed, operation)))
}

impl Postgres {
    /// Creates an operation, unless its nonce names one. One that selects nothing has ended.
    pub async fn create_operation(&self, new: NewBulk) -> Result<OperationCreation, StoreError> {
        let (now, nonce) = (self.shared().clock.now(), nonce_of(&new));
        let created = self.change_async(move |sql| create_operation(sql, (&new, &nonce), now));
        created.await?.ok_or(StoreError::Busy)
    }

    /// Ends an operation before it is done. Returns whether it was under way, and how it stands;
    /// none if there is no such operation.
    pub async fn cancel_operation(
        &self,
        id: BulkId,
    ) -> Result<Option<(bool, StoredOperation)>, StoreError> {
        let now = self.shared().clock.now();
        let cancelling = move |sql: &mut Connection| cancel(sql, id, now);
        // That there is no such operation is certain.
        let is_made = |found: &Option<(bool, StoredOperation)>| {
            found.as_ref().is_none_or(|(is_changed, _)| *is_changed)
        };
        self.change_async(once(cancelling, is_made)).await
    }
}

impl Operator {
    /// Ends a bulk operation before it is done; whether it was under way.
    pub fn cancel_bulk(&mut self, id: BulkId) -> Result<bool, StoreError> {
        let now = self.now();
        let cancelling = |sql: &mut Connection| Ok(sql.execute(CANCEL_JOB, &[&id, &now])? > 0);
        self.change(once(cancelling, |is_changed| *is_changed))
    }
}

#[cfg(test)]
mod tests;
