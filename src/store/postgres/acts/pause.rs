//! Pauses and resumes a destination.

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::postgres::handle::{Postgres, not_built};
use crate::store::postgres::operator::Operator;
use crate::store::types::{Pause, Resumed};

impl Postgres {
    /// Pauses a destination. Returns the pause that it was in before, which stays.
    pub async fn pause(
        &self,
        destination: String,
        reason: String,
    ) -> Result<Option<Pause>, StoreError> {
        Err(not_built())
    }

    /// Resumes a destination; only from the pause of `paused_at`, if given.
    pub async fn resume(
        &self,
        destination: String,
        paused_at: Option<Timestamp>,
    ) -> Result<Resumed, StoreError> {
        Err(not_built())
    }
}

impl Operator {
    /// Pauses a destination: nothing is sent to it until it is resumed. Whether it was not paused
    /// before.
    pub fn pause(&mut self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        Err(not_built())
    }

    /// Resumes a destination; whether anything kept its deliveries back.
    pub fn resume(&mut self, destination: &str) -> Result<bool, StoreError> {
        Err(not_built())
    }
}

#[cfg(test)]
impl Postgres {
    /// Pauses a destination; whether it was not paused before.
    pub fn pause_blocking(&self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        Err(not_built())
    }
}
