//! Records intents, many in one statement.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::{Accept, Accepted};

impl Postgres {
    /// Records an intent; resolves once it is durable.
    pub async fn accept(&self, intent: Accept) -> Result<Accepted, StoreError> {
        Err(not_built())
    }
}

#[cfg(test)]
impl Postgres {
    /// Records an intent. Blocks.
    pub fn accept_blocking(&self, intent: Accept) -> Result<Accepted, StoreError> {
        Err(not_built())
    }
}
