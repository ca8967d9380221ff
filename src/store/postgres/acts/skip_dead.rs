//! Dead letters that no longer block the deliveries behind them.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::BlockingLetters;

impl Postgres {
    /// Lets dead letters no longer block the deliveries behind them. Blocks.
    pub fn skip_dead(&self, letters: BlockingLetters) -> Result<(), StoreError> {
        Err(not_built())
    }
}
