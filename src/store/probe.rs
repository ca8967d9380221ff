use rusqlite::Connection;

use super::{StoreError, Tx, WriteOp};

/// Changes nothing, and so costs no sync; that it is answered shows that the writer lives.
pub(crate) struct Probe;

impl WriteOp for Probe {
    type Out = ();

    fn apply(&self, _tx: &Tx<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Probe {
    /// The same for a reader.
    pub fn read(sql: &Connection) -> Result<(), StoreError> {
        Ok(sql.query_row("SELECT 1", [], |_| Ok(()))?)
    }
}
