//! The configuration that runs, and the deliveries that a reload touches.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::postgres::reader::Reader;
use crate::store::types::{Affected, ConfigState};

impl Postgres {
    /// The configuration that runs, and the last attempt to take one over.
    pub async fn config_state(&self) -> Result<ConfigState, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// The configuration that the server runs, and its last attempt to take one over.
    pub fn config_state(&self) -> Result<ConfigState, StoreError> {
        Err(not_built())
    }
}

impl Reader {
    /// The deliveries of these destinations that a reload touches, as far as the store knows them.
    pub fn affected(&self, names: &[String]) -> Result<Vec<Affected>, StoreError> {
        Err(not_built())
    }
}
