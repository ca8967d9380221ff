//! Lets a circuit breaker probe now.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;

impl Postgres {
    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub async fn probe_now(&self, destination: String) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// Lets a destination's circuit breaker probe now, and ends a `Retry-After`; whether either
    /// kept deliveries back.
    pub fn probe_now(&mut self, destination: &str) -> Result<bool, StoreError> {
        Err(not_built())
    }
}
