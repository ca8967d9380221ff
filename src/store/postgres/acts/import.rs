//! Events from elsewhere.

use crate::store::error::StoreError;
use crate::store::postgres::handle::not_built;
use crate::store::postgres::operator::Operator;
use crate::store::types::{ImportTally, ImportedEvent};

impl Operator {
    /// Imports events, unless their ids are there. Without `keeps_pending` the deliveries that
    /// waited become dead letters, so that nothing is due.
    pub fn import(
        &mut self,
        events: Vec<ImportedEvent>,
        keeps_pending: bool,
    ) -> Result<ImportTally, StoreError> {
        Err(not_built())
    }
}
