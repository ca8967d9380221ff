//! The configuration that the server runs, and the deliveries that a reload touches.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::store::error::StoreError;
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::readers::Reader;
use crate::store::types::{Affected, ConfigAttempt, ConfigState};

/// Counts a bounded number of rows of each kind. ?1 is the name, ?2 the bound.
const SELECT_AFFECTED: &str = "SELECT t.paused_at IS NOT NULL,
            (SELECT count(*) FROM (SELECT 1 FROM deliveries d
             WHERE d.destination_id = t.id AND d.next_attempt_at IS NOT NULL LIMIT ?2)),
            (SELECT count(*) FROM deliveries d INDEXED BY claimed
             WHERE d.claim IS NOT NULL AND d.destination_id = t.id)
     FROM destinations t WHERE t.name = ?1";

fn affected(sql: &Connection, name: &str) -> Result<Option<Affected>, StoreError> {
    let mut statement = sql.prepare_cached(SELECT_AFFECTED)?;
    let found = statement.query_row(params![name, Affected::MAX_COUNTED], |row| {
        let (waiting, claimed): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(Affected {
            name: name.to_owned(),
            pending: (waiting + claimed).min(Affected::MAX_COUNTED),
            is_paused: row.get(0)?,
        })
    });
    Ok(found.optional()?)
}

fn config_state(sql: &Connection) -> Result<ConfigState, StoreError> {
    let state = sql.query_row(
        "SELECT attempts, began_at, is_dry_run, generation, fingerprint, report, error,
                process, on_hangup
         FROM config_state",
        [],
        |row| {
            let error: Option<String> = row.get(6)?;
            let report: Option<String> = row.get(5)?;
            Ok(ConfigState {
                attempts: unsigned(row.get(0)?),
                last: ConfigAttempt {
                    began_at: row.get(1)?,
                    is_dry_run: row.get(2)?,
                    generation: unsigned(row.get(3)?),
                    fingerprint: row.get(4)?,
                    report: error.map_or(Ok(report.unwrap_or_default()), Err),
                    process: row.get(7)?,
                    on_hangup: row.get(8)?,
                },
            })
        },
    )?;
    Ok(state)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Reader {
    /// The deliveries of these destinations, as far as the database knows them. Blocks.
    pub fn affected(&self, names: &[String]) -> Result<Vec<Affected>, StoreError> {
        self.read(|sql| {
            let found = names.iter().map(|name| affected(sql, name));
            let found: Result<Vec<_>, _> = found.collect();
            Ok(found?.into_iter().flatten().collect())
        })
    }
}

impl Sqlite {
    /// The configuration that the server runs, and its last attempt to take one over.
    pub async fn config_state(&self) -> Result<ConfigState, StoreError> {
        self.read(config_state).await
    }

    /// None: commands signal the server of a file.
    #[expect(clippy::unused_self, reason = "as other engines")]
    pub fn take_reload(&self) -> Option<bool> {
        None
    }
}

impl Operator {
    /// The configuration that the server runs, and its last attempt to take one over.
    pub fn config_state(&self) -> Result<ConfigState, StoreError> {
        self.read(config_state)
    }

    /// The same: a file has one server.
    pub fn config_state_of(&self, _node: &str) -> Result<ConfigState, StoreError> {
        self.config_state()
    }

    /// Never: a signal asks the server of a file.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as other engines"
    )]
    pub fn ask_to_reload(&self, _node: &str, _is_dry_run: bool) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    /// None: nobody was asked.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as other engines"
    )]
    pub fn reload_answer(
        &self,
        _node: &str,
        _number: i64,
        _is_dry_run: bool,
    ) -> Result<Option<ConfigAttempt>, StoreError> {
        Ok(None)
    }
}
