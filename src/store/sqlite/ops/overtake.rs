//! Another owner of the database acts on claimed deliveries, for tests.

use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::testing::Overtake;

impl WriteOp for Overtake {
    type Out = usize;

    fn apply(&self, tx: &Tx<'_>) -> Result<usize, StoreError> {
        let change = match self {
            Self::Deliver => "state = 3, claim = NULL",
            Self::DeadLetter => "state = 4, claim = NULL, last_error = 'x'",
            Self::Claim => "claim = claim + 1",
        };
        Ok(tx.sql.execute(
            &format!("UPDATE deliveries SET {change} WHERE claim IS NOT NULL"),
            [],
        )?)
    }
}

impl Sqlite {
    /// Finishes or claims all claimed deliveries; how many.
    pub fn overtake(&self, how: Overtake) -> Result<usize, StoreError> {
        self.write_blocking(how)
    }
}
