//! Dead letters that block the deliveries behind them.

use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::reader::Reader;
use crate::store::types::{BlockingPart, DeadLetterCursor, DestinationId};

impl Reader {
    /// The next dead letters of a destination that block the deliveries behind them.
    pub fn blocking_letters(
        &self,
        destination: DestinationId,
        after: DeadLetterCursor,
    ) -> Result<BlockingPart, StoreError> {
        Err(not_built())
    }
}
