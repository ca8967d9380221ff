//! The hold of a restored database: nothing is sent until an operator lets it.

use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::handle::Sqlite;
use super::operator::Operator;
use super::settings;
use super::shared::Shared;
use super::tx::Tx;
use super::write_op::WriteOp;
use crate::store::error::StoreError;
use crate::store::types::Hold;

/// The hold, if the database is held. One that can't be read counts: nothing is sent by mistake.
pub fn get(sql: &Connection) -> Result<Option<Hold>, StoreError> {
    let Some(text) = settings::get::<String>(sql, settings::HELD)? else {
        return Ok(None);
    };
    let unreadable = || Hold {
        since: 0,
        restored_from: String::new(),
        taken_at: 0,
        aside: None,
    };
    Ok(Some(
        serde_json::from_str(&text).unwrap_or_else(|_| unreadable()),
    ))
}

/// Holds a database.
pub fn set(sql: &Connection, hold: &Hold) -> Result<(), StoreError> {
    let text = serde_json::to_string(hold).map_err(|error| {
        StoreError::Unexpected(format!("a hold that can't be written: {error}"))
    })?;
    Ok(settings::set(sql, settings::HELD, &text)?)
}

/// At the start: publishes whether the database is held, and says so.
pub fn begin(sql: &Connection, shared: &Shared) -> Result<(), StoreError> {
    let hold = get(sql)?;
    if let Some(hold) = &hold {
        log::warn!("{}", hold.describe());
    }
    shared.is_held.store(hold.is_some(), Ordering::Relaxed);
    Ok(())
}

/// After a commit of another process: looks whether it has lifted the hold. Nobody begins one
/// beside a server.
pub fn look(sql: &Connection, shared: &Shared) -> Result<(), StoreError> {
    if shared.is_held.load(Ordering::Relaxed) && get(sql)?.is_none() {
        shared.is_held.store(false, Ordering::Relaxed);
        log::info!("no longer held: deliveries go on");
    }
    Ok(())
}

/// Lifts the hold; whether there was one.
struct Lift;

impl WriteOp for Lift {
    type Out = bool;

    fn apply(&self, tx: &Tx<'_>) -> Result<bool, StoreError> {
        Ok(settings::remove(tx.sql, settings::HELD)?)
    }
}

impl Sqlite {
    /// Whether nothing is sent. One load of an atomic.
    pub fn is_held(&self) -> bool {
        self.shared().is_held.load(Ordering::Relaxed)
    }
}

impl Operator {
    /// The hold, if the database is held.
    pub fn hold(&self) -> Result<Option<Hold>, StoreError> {
        self.read(get)
    }

    /// Lifts the hold; whether there was one.
    pub fn lift_hold(&mut self) -> Result<bool, StoreError> {
        self.write(&Lift)
    }
}
