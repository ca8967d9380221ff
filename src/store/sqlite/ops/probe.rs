use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;

/// Writes a page without changing its contents: its commit shows that the disk takes writes again.
/// The writer sends it to itself while writes are refused and no other change is queued, and the
/// heartbeat sends it before each beat.
pub struct Probe;

impl WriteOp for Probe {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        // There and back, since SQLite doesn't write a page that an UPDATE leaves as it was.
        tx.execute("UPDATE key_sweep SET swept_to = swept_to + 1", [])?;
        tx.execute("UPDATE key_sweep SET swept_to = swept_to - 1", [])?;
        Ok(())
    }
}

impl Sqlite {
    /// Commits a change that leaves everything as it was. Blocks.
    pub fn commit_probe(&self) -> Result<(), StoreError> {
        self.write_blocking(Probe)
    }
}
