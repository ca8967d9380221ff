use super::{StoreError, Tx, WriteOp};

/// Writes a page, and changes nothing that it says: its commit shows that the disk takes writes
/// again. The writer sends it to itself, while it refuses and nobody else writes.
pub(super) struct Probe;

impl WriteOp for Probe {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        // There and back, since SQLite doesn't write a page that an UPDATE leaves as it was.
        tx.execute("UPDATE key_sweep SET swept_to = swept_to + 1", [])?;
        tx.execute("UPDATE key_sweep SET swept_to = swept_to - 1", [])?;
        Ok(())
    }
}
