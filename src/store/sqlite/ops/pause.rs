use rusqlite::params;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::ops::end_hold::end_hold;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{DestinationId, Pause, Resumed};

/// Pauses a destination: nothing is sent to it until it is resumed. Events for it are still
/// accepted and kept. Returns the pause that it was in before, which stays.
pub struct PauseDestination {
    pub destination: String,
    pub reason: String,
}

impl WriteOp for PauseDestination {
    type Out = Option<Pause>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Option<Pause>, StoreError> {
        // A destination that nothing was ever sent to can be paused too.
        let id = tx.destination(&self.destination, None)?;
        let paused = tx.execute(
            "UPDATE destinations SET paused_at = ?1, pause_reason = ?2
             WHERE id = ?3 AND paused_at IS NULL",
            params![tx.now, self.reason, id],
        )?;
        if paused > 0 {
            return Ok(None);
        }
        pause_of(tx, &self.destination)
    }
}

/// The pause that a destination is in.
fn pause_of(tx: &Tx<'_>, destination: &str) -> Result<Option<Pause>, StoreError> {
    tx.first(
        "SELECT paused_at, pause_reason FROM destinations
         WHERE name = ?1 AND paused_at IS NOT NULL",
        [destination],
        |row| {
            Ok(Pause {
                at: row.get(0)?,
                reason: row.get(1)?,
            })
        },
    )
}

/// Resumes a destination: ends a pause, and a `Retry-After`. An open circuit breaker closes by
/// itself, once an attempt succeeds. None if that takes another transaction.
#[derive(Clone)]
pub struct Resume {
    pub destination: String,
    /// Ends no pause but the one of this time, if given.
    pub paused_at: Option<Timestamp>,
}

impl WriteOp for Resume {
    type Out = Option<Resumed>;

    fn apply(&self, tx: &Tx<'_>) -> Result<Option<Resumed>, StoreError> {
        if let Some(seen) = self.paused_at
            && let Some(pause) = pause_of(tx, &self.destination)?
            && pause.at != seen
        {
            return Ok(Some(Resumed::PausedSince(pause)));
        }
        if !end_hold(tx, &self.destination)? {
            return Ok(None);
        }
        let resumed: Option<DestinationId> = tx.first(
            "UPDATE destinations
             SET paused_at = NULL, pause_reason = NULL, held_until = NULL
             WHERE name = ?1 AND (paused_at IS NOT NULL OR held_until > ?2)
             RETURNING id",
            params![self.destination, tx.now],
            |row| row.get(0),
        )?;
        let Some(destination) = resumed else {
            return Ok(Some(Resumed::Already));
        };
        tx.notify_dispatcher(destination);
        Ok(Some(Resumed::Now))
    }
}

impl Sqlite {
    /// Pauses a destination. Returns the pause that it was in before, which stays.
    pub async fn pause(
        &self,
        destination: String,
        reason: String,
    ) -> Result<Option<Pause>, StoreError> {
        let pausing = self.write(PauseDestination {
            destination,
            reason,
        });
        let before = pausing.await?;
        (self.shared().on_outside_write)();
        Ok(before)
    }

    /// Resumes a destination; only from the pause of `paused_at`, if given.
    pub async fn resume(
        &self,
        destination: String,
        paused_at: Option<Timestamp>,
    ) -> Result<Resumed, StoreError> {
        let resume = Resume {
            destination,
            paused_at,
        };
        let resumed = loop {
            if let Some(resumed) = self.write(resume.clone()).await? {
                break resumed;
            }
        };
        (self.shared().on_outside_write)();
        Ok(resumed)
    }
}

impl Operator {
    /// Pauses a destination; whether it was not paused before.
    pub fn pause(&mut self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        let before = self.write(&PauseDestination {
            destination: destination.to_owned(),
            reason: reason.to_owned(),
        })?;
        Ok(before.is_none())
    }

    /// Resumes a destination; whether anything kept its deliveries back.
    pub fn resume(&mut self, destination: &str) -> Result<bool, StoreError> {
        let resume = Resume {
            destination: destination.to_owned(),
            paused_at: None,
        };
        loop {
            if let Some(resumed) = self.write(&resume)? {
                return Ok(resumed == Resumed::Now);
            }
        }
    }
}

#[cfg(test)]
impl Sqlite {
    /// Pauses a destination.
    pub fn pause_blocking(&self, destination: &str, reason: &str) -> Result<bool, StoreError> {
        let before = self.write_blocking(PauseDestination {
            destination: destination.to_owned(),
            reason: reason.to_owned(),
        })?;
        Ok(before.is_none())
    }
}
