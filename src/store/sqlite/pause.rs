use rusqlite::params;

use super::{StoreError, Tx, WriteOp};

/// Lets nothing more go to a destination until it is resumed. Events for it are still accepted, and
/// held. Returns whether it went before.
pub(crate) struct Pause {
    pub destination: String,
    pub reason: String,
}

impl WriteOp for Pause {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        // One that nothing was ever sent to can be paused too.
        let id = tx.destination(&self.destination, None)?;
        let paused = tx.execute(
            "UPDATE destinations SET paused_at = ?1, pause_reason = ?2
                 WHERE id = ?3 AND paused_at IS NULL",
            params![tx.now.as_millis(), self.reason, id],
        )?;
        Ok(paused > 0)
    }
}

/// Lets deliveries go to a destination again: a pause is over, and so is a `Retry-After`. An open
/// circuit breaker closes by itself, once an attempt succeeds. Returns whether anything kept them.
pub(crate) struct Resume(pub String);

impl WriteOp for Resume {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        let resumed: Option<i64> = tx.first(
            "UPDATE destinations
                 SET paused_at = NULL, pause_reason = NULL, held_until = NULL
                 WHERE name = ?1 AND (paused_at IS NOT NULL OR held_until > ?2)
                 RETURNING id",
            params![self.0, tx.now.as_millis()],
            |row| row.get(0),
        )?;
        if let Some(destination) = resumed {
            tx.made_due(destination);
        }
        Ok(resumed.is_some())
    }
}
