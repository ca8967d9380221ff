//! Sheds finished events to make room, in steps.

use crate::clock::Timestamp;
use crate::ops::metrics::Metrics;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::ops::payload;
use crate::store::sqlite::ops::prune::delete_intent;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::{LongWrite, WriteOp};
use crate::store::types::{IntentRow, Shed, ShedEvent};

impl LongWrite for Shed {
    type Step = ShedStep;

    fn next_step(&mut self, _rows: usize) -> Option<ShedStep> {
        self.next_events().map(ShedStep)
    }

    fn committed(&mut self, shed: usize) {
        Self::committed(self, shed);
    }
}

/// One transaction's share of a [`Shed`]. Returns how many events were shed.
pub struct ShedStep(Vec<ShedEvent>);

impl WriteOp for ShedStep {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let mut shed = 0;
        for event in &self.0 {
            if !is_finished(tx, event.intent)? {
                continue;
            }
            if event.is_over {
                let any_time = Timestamp::from_millis(i64::MAX);
                shed += usize::from(delete_intent(event.intent, any_time, tx)?);
            } else {
                payload::shed(tx, event.intent)?;
                shed += 1;
            }
        }
        Ok(shed)
    }

    fn count(&self, shed: &usize, metrics: &Metrics) {
        metrics.space.shed(*shed as u64);
    }

    fn rows(&self) -> usize {
        self.0.iter().map(|event| event.rows).sum()
    }
}

/// Whether nothing of an event waits, and no delivery of it is a dead letter: one may have been
/// replayed since the event was found.
fn is_finished(tx: &Tx<'_>, intent: IntentRow) -> Result<bool, StoreError> {
    let unfinished = tx.first(
        "SELECT 1 FROM deliveries
         WHERE intent_id = ?1 AND (state < 3 OR place IS NOT NULL
                                   OR (state = 4 AND discarded_at IS NULL))",
        [intent],
        |_| Ok(()),
    )?;
    Ok(unfinished.is_none())
}

impl Sqlite {
    /// Sheds the next part of the events that were found; false if none is left. Blocks.
    pub fn shed(&self, shed: &mut Shed) -> Result<bool, StoreError> {
        self.write_step(shed)
    }
}
