//! The commands in the writer's queue.

use tokio::sync::oneshot;

use crate::ops::metrics::Metrics;
use crate::store::error::StoreError;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;

/// A command to the writer.
pub enum Command {
    /// A client's change: counted in `Shared::queued` until it is received.
    ClientWrite(Box<dyn ErasedWrite>),
    /// A change of relay's own.
    OwnWrite(Box<dyn ErasedWrite>),
    /// Empties the WAL once everything sent before is durable; answers whether it did.
    EmptyWal(oneshot::Sender<bool>),
    /// Wakes the writer, so that it looks at the request to stop.
    Wake,
}

/// A change and its waiter.
pub struct PendingWrite<W: WriteOp> {
    op: W,
    out: Option<W::Out>,
    waiter: oneshot::Sender<Result<W::Out, StoreError>>,
}

impl<W: WriteOp> PendingWrite<W> {
    pub fn boxed(
        op: W,
        waiter: oneshot::Sender<Result<W::Out, StoreError>>,
    ) -> Box<dyn ErasedWrite> {
        Box::new(Self {
            op,
            out: None,
            waiter,
        })
    }

    /// A change of the writer's own: nobody waits for its answer.
    pub fn of_writer(op: W) -> Box<dyn ErasedWrite> {
        Self::boxed(op, oneshot::channel().0)
    }
}

/// [`PendingWrite`] without the type of its change.
pub trait ErasedWrite: Send {
    fn apply(&mut self, tx: &Tx<'_>) -> Result<(), StoreError>;
    fn rows(&self) -> usize;
    fn bytes(&self) -> usize;
    /// Answers after the commit.
    fn done(self: Box<Self>, metrics: &Metrics);
    /// Answers with the failure.
    fn failed(self: Box<Self>, error: StoreError);
}

impl<W: WriteOp> ErasedWrite for PendingWrite<W> {
    fn apply(&mut self, tx: &Tx<'_>) -> Result<(), StoreError> {
        self.out = Some(self.op.apply(tx)?);
        Ok(())
    }

    fn rows(&self) -> usize {
        self.op.rows()
    }

    fn bytes(&self) -> usize {
        self.op.bytes()
    }

    // A waiter that has gone away (a client that hung up) changes nothing: the commit stays.
    fn done(self: Box<Self>, metrics: &Metrics) {
        let out = self.out.expect("done comes after apply");
        self.op.count(&out, metrics);
        let _ = self.waiter.send(Ok(out));
    }

    fn failed(self: Box<Self>, error: StoreError) {
        let _ = self.waiter.send(Err(error));
    }
}
