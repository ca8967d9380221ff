use rusqlite::params;

use crate::store::error::StoreError;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::DestinationId;

/// Pauses a destination: nothing is sent to it until it is resumed. Events for it are still
/// accepted and kept. Returns whether it was not paused before.
pub struct Pause {
    pub destination: String,
    pub reason: String,
}

impl WriteOp for Pause {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        // A destination that nothing was ever sent to can be paused too.
        let id = tx.destination(&self.destination, None)?;
        let paused = tx.execute(
            "UPDATE destinations SET paused_at = ?1, pause_reason = ?2
             WHERE id = ?3 AND paused_at IS NULL",
            params![tx.now, self.reason, id],
        )?;
        Ok(paused > 0)
    }
}

/// Resumes a destination: ends a pause, and a `Retry-After`. An open circuit breaker closes by
/// itself, once an attempt succeeds. Returns whether anything kept its deliveries back.
pub struct Resume(pub String);

impl WriteOp for Resume {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let resumed: Option<DestinationId> = tx.first(
            "UPDATE destinations
             SET paused_at = NULL, pause_reason = NULL, held_until = NULL
             WHERE name = ?1 AND (paused_at IS NOT NULL OR held_until > ?2)
             RETURNING id",
            params![self.0, tx.now],
            |row| row.get(0),
        )?;
        if let Some(destination) = resumed {
            tx.notify_dispatcher(destination);
        }
        Ok(resumed.is_some())
    }
}

impl Operator {
    /// Pauses a destination; whether it was not paused before.
    pub fn pause(&mut self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        self.write(&Pause {
            destination: destination.to_owned(),
            reason: reason.to_owned(),
        })
    }

    /// Resumes a destination; whether anything kept its deliveries back.
    pub fn resume(&mut self, destination: &str) -> Result<bool, StoreError> {
        self.write(&Resume(destination.to_owned()))
    }
}

#[cfg(test)]
impl crate::store::sqlite::Sqlite {
    /// Pauses a destination.
    pub fn pause(&self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        self.write_blocking(Pause {
            destination: destination.to_owned(),
            reason: reason.to_owned(),
        })
    }
}
