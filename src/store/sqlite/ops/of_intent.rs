//! An operator's acts on the deliveries of one intent, in steps.

use crate::model::IntentId;
use crate::store::bulk::{Act, decide_on, foresee_on, with_acts};
use crate::store::error::StoreError;
use crate::store::row_budget::RowBudget;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::act::make;
use crate::store::sqlite::queries::BulkReader;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{BulkFilter, BulkTally, NewBulk, NoRouting, OfIntent, Routing};

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
            tally += make(tx, act)?;
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
        let Some((acts, _)) = self.read_blocking(|sql| {
            decide_on(&mut BulkReader(sql), (id, new), &NoRouting, (now, true))
        })?
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
        let Some((acts, of_intent)) =
            self.read(|sql| decide_on(&mut BulkReader(sql), (id, new), routing, at))?
        else {
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
            let reads = &mut BulkReader(sql);
            let decided = decide_on(reads, (id, new), routing, at)?;
            decided.map(|acts| foresee_on(reads, acts)).transpose()
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

#[cfg(test)]
impl Sqlite {
    /// Discards the dead letters of an intent; how many there were. Blocks.
    pub fn discard(&self, id: IntentId) -> Result<usize, StoreError> {
        self.act_on(id, &NewBulk::discard(BulkFilter::dead_letters()))
    }
}
