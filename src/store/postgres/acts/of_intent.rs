//! An operator's acts on the deliveries of one intent.

use super::making::{Made, make};
use crate::model::IntentId;
use crate::store::bulk::{decide_on, foresee_on, with_acts};
use crate::store::error::StoreError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::handle::Postgres;
use crate::store::postgres::operator::Operator;
use crate::store::postgres::retry::once;
use crate::store::types::{BulkFilter, NewBulk, NoRouting, OfIntent, Routing};

impl Postgres {
    /// Replays the dead letters of an intent; how many there were. Blocks.
    pub fn replay(&self, id: IntentId) -> Result<usize, StoreError> {
        self.act_on(id, &NewBulk::replay(BulkFilter::dead_letters()))
    }

    fn act_on(&self, id: IntentId, new: &NewBulk) -> Result<usize, StoreError> {
        let now = self.shared().clock.now();
        let decided = self.read(|sql| decide_on(sql, (id, new), &NoRouting, (now, true)))?;
        let Some((acts, _)) = decided else {
            return Ok(0);
        };
        let made = self.change(|sql| make(sql, &acts, None, (now, false)))?;
        self.tell(&made);
        Ok(usize::try_from(made.tally.done).unwrap_or(0))
    }

    /// Announces what acts have made due, and given up.
    pub(super) fn tell(&self, made: &Made) {
        let shared = self.shared();
        shared.newly_dead.note(&made.dead);
        if !made.due.is_empty() {
            (shared.on_work)(&made.due);
        }
    }
}

impl Operator {
    /// Makes an operation on the deliveries of one relay or event at once. None if there is no
    /// such one.
    pub fn act_on(
        &mut self,
        id: IntentId,
        new: &NewBulk,
        routing: &dyn Routing,
    ) -> Result<Option<OfIntent>, StoreError> {
        let (now, has_server) = (self.now(), self.has_server());
        let decided = self.read(|sql| decide_on(sql, (id, new), routing, (now, has_server)))?;
        let Some((acts, of_intent)) = decided else {
            return Ok(None);
        };
        let making = |sql: &mut Connection| make(sql, &acts, None, (now, true));
        let made = self.change(once(making, |made| made.tally.done > 0))?;
        Ok(Some(with_acts(of_intent, made.tally)))
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
            let decided = decide_on(sql, (id, new), routing, at)?;
            decided.map(|acts| foresee_on(sql, acts)).transpose()
        })
    }
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
