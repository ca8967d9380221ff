use crate::store::error::StoreError;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;

/// Changes nothing itself: its transaction takes the count changes that commands have left. The
/// writer sends it to itself when others have written and no other change is queued.
pub struct TakeOutside;

impl WriteOp for TakeOutside {
    type Out = ();

    fn apply(&self, _tx: &Tx<'_>) -> Result<(), StoreError> {
        Ok(())
    }
}
