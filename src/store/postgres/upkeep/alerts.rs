//! States of alerts, and their events.

use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::types::RaiseAlerts;

impl Postgres {
    /// Writes states of alerts, with the events that tell of them. Blocks.
    pub fn raise_alerts(&self, alerts: RaiseAlerts) -> Result<(), StoreError> {
        Err(not_built())
    }

    /// Forgets states of alerts, by kind and subject. Blocks.
    pub fn forget_alerts(&self, states: Vec<(String, String)>) -> Result<(), StoreError> {
        Err(not_built())
    }
}
