//! Forgets ad hoc origins that no delivery names any more.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::reader::Reader;
use crate::store::types::{OriginsPassStep, UnusedOrigins};

impl Postgres {
    /// Makes the next step of forgetting ad hoc origins that no delivery names any more. After an
    /// error it can be called again. Blocks.
    pub fn forget_unused_origins(
        &self,
        pass: &mut UnusedOrigins,
        reader: &Reader,
        now: Timestamp,
    ) -> Result<OriginsPassStep, StoreError> {
        Err(not_built())
    }
}
