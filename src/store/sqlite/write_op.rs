//! The traits of a change: one that fits into a transaction, and one that is made in steps.

use super::tx::Tx;
use crate::ops::metrics::Metrics;
use crate::store::error::StoreError;

/// A change to the database. `apply` may be called more than once: when another operation of the
/// same transaction fails, the rest is rolled back and applied anew. So it changes nothing but
/// `tx`.
pub(crate) trait WriteOp: Send + 'static {
    /// The answer to the waiter, once the change is durable.
    type Out: Send + 'static;

    /// Applies the change. An error undoes this operation alone.
    fn apply(&self, tx: &Tx<'_>) -> Result<Self::Out, StoreError>;

    /// Counts the durable change, whether or not anybody still waits for it.
    fn count(&self, _out: &Self::Out, _metrics: &Metrics) {}

    /// Rows that it writes at most, for the bound on a batch. An operation that may write more than
    /// a batch takes is a [`LongWrite`].
    fn rows(&self) -> usize {
        1
    }

    /// The approximate memory that it holds, for the bound on a batch.
    fn bytes(&self) -> usize {
        0
    }
}

/// A change that may take several transactions, each durable by itself. Between two of its steps
/// the writer takes other queued operations, so that nobody waits for the whole change. A step that
/// fails leaves the steps before it done, and the change as it was: it can be continued later.
pub(crate) trait LongWrite {
    /// One transaction's share.
    type Step: WriteOp;

    /// The next step, of at most `rows` rows unless it can't be divided; none once all are done.
    /// The same step again until it is [`Self::committed`]. A change that rests between its steps
    /// may have a bound of its own.
    fn next_step(&mut self, rows: usize) -> Option<Self::Step>;

    /// Whether no more than `rows` rows are left. A change that doesn't know counts as a large one.
    fn has_at_most(&self, _rows: usize) -> bool {
        false
    }

    /// The step is durable.
    fn committed(&mut self, out: <Self::Step as WriteOp>::Out);
}

#[cfg(test)]
mod tests;
