//! Intents and keys that retention may delete.

use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::reader::Reader;
use crate::store::types::{Cutoffs, Expired, PruneCursor};

impl Reader {
    /// The next expired intents and idempotency keys after the cursor.
    pub fn expired(&self, cutoffs: &Cutoffs, cursor: PruneCursor) -> Result<Expired, StoreError> {
        Err(not_built())
    }
}
