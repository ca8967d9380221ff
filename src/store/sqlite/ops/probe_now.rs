use rusqlite::params;

use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::end_hold::end_hold;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::DestinationId;

/// Lets an open circuit breaker of a destination probe now, and ends a `Retry-After`. A running
/// dispatcher notices it at its next look. Returns whether either kept deliveries back; none if it
/// takes another transaction.
#[derive(Clone)]
pub struct ProbeNow(pub String);

impl WriteOp for ProbeNow {
    type Out = Option<bool>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Option<bool>, StoreError> {
        if !end_hold(tx, &self.0)? {
            return Ok(None);
        }
        let probed: Option<DestinationId> = tx.first(
            "UPDATE destinations
             SET probe_at = min(probe_at, ?2), held_until = NULL
             WHERE name = ?1 AND (probe_at IS NOT NULL OR held_until > ?2)
             RETURNING id",
            params![self.0, tx.now],
            |row| row.get(0),
        )?;
        if let Some(destination) = probed {
            tx.notify_dispatcher(destination);
        }
        Ok(Some(probed.is_some()))
    }
}

impl Sqlite {
    /// Lets a breaker probe now, and ends a `Retry-After`; whether either kept deliveries back.
    pub async fn probe_now(&self, destination: String) -> Result<bool, StoreError> {
        let probe = ProbeNow(destination);
        let has_changed = loop {
            if let Some(has_changed) = self.write(probe.clone()).await? {
                break has_changed;
            }
        };
        (self.shared().on_outside_write)();
        Ok(has_changed)
    }
}

impl Operator {
    /// Lets a breaker probe now, and ends a `Retry-After`; whether either kept deliveries back.
    pub fn probe_now(&mut self, destination: &str) -> Result<bool, StoreError> {
        let probe = ProbeNow(destination.to_owned());
        loop {
            if let Some(has_changed) = self.write(&probe)? {
                return Ok(has_changed);
            }
        }
    }
}
