//! Follows intents and attempts.

use std::sync::{Arc, Mutex};

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{TailCursor, TailPage, TailQuery};

impl Postgres {
    /// The entries of a tail since the look before. The cursor is the caller's alone.
    pub async fn tail(
        &self,
        query: TailQuery,
        cursor: Arc<Mutex<TailCursor>>,
    ) -> Result<TailPage, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The entries of a tail since the look before.
    pub fn tail(&self, query: &TailQuery, cursor: &mut TailCursor) -> Result<TailPage, StoreError> {
        Err(not_built())
    }
}
