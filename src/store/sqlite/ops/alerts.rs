//! Writes the states of alerts, with the events that tell of them.

use rusqlite::params;

use crate::clock::Timestamp;
use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::tx::Tx;
use crate::store::sqlite::write_op::WriteOp;
use crate::store::types::{AlertChange, NewlyDead, RaiseAlerts};

impl WriteOp for RaiseAlerts {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for AlertChange { state, .. } in &self.changes {
            tx.execute(
                "INSERT INTO alert_states (kind, subject, state, since) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET state = excluded.state, since = excluded.since",
                params![state.kind, state.subject, state.state, state.since],
            )?;
        }
        for event in &self.events {
            event.apply(tx)?;
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        let events = self.events.iter().map(WriteOp::rows);
        self.changes.len() + events.sum::<usize>()
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(WriteOp::bytes).sum()
    }
}

/// Changes nothing. Its commit comes after all transactions that were under way, so that no later
/// one is older than the time that it returns.
struct Now;

impl WriteOp for Now {
    type Out = Timestamp;

    fn apply(&self, tx: &Tx<'_>) -> Result<Timestamp, StoreError> {
        Ok(tx.now)
    }
}

/// Forgets states about subjects that are gone.
struct ForgetAlerts(Vec<(String, String)>);

impl WriteOp for ForgetAlerts {
    type Out = ();

    fn apply(&self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for (kind, subject) in &self.0 {
            tx.execute(
                "DELETE FROM alert_states WHERE kind = ?1 AND subject = ?2",
                [kind, subject],
            )?;
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.0.len()
    }
}

impl Sqlite {
    /// Writes states of alerts and their events. Blocks.
    pub fn raise_alerts(&self, alerts: RaiseAlerts) -> Result<(), StoreError> {
        if !alerts.events.is_empty() && self.is_low_on_space() {
            return Err(StoreError::Full);
        }
        self.write_blocking(alerts)
    }

    /// Forgets states of alerts, by kind and subject. Blocks.
    pub fn forget_alerts(&self, states: Vec<(String, String)>) -> Result<(), StoreError> {
        self.write_blocking(ForgetAlerts(states))
    }

    /// A time that no later transaction is older than. Blocks.
    pub fn settled_until(&self) -> Result<Timestamp, StoreError> {
        self.write_blocking(Now)
    }

    /// The destinations to which something was given up since the last call.
    pub fn take_newly_dead(&self) -> NewlyDead {
        self.shared().newly_dead.take()
    }
}
