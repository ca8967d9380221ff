//! `PRAGMA quick_check`, bounded in time.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::clock::Stopwatch;
use crate::store::error::StoreError;
use crate::store::sqlite::operator::Operator;
use crate::store::types::QuickCheck;

/// Problems that are reported: one is enough to restore a backup.
const MAX_PROBLEMS: u32 = 3;
/// Instructions of `SQLite`'s machine between two looks at the time: some microseconds.
const INSTRUCTIONS: i32 = 1_000;

fn quick_check(sql: &Connection, within: Duration) -> Result<QuickCheck, StoreError> {
    let watch = Stopwatch::start();
    sql.progress_handler(INSTRUCTIONS, Some(move || watch.elapsed() > within))?;
    let problems = problems(sql);
    sql.progress_handler(0, None::<fn() -> bool>)?;
    match problems {
        Ok(found) if found == ["ok"] => Ok(QuickCheck::Fine),
        Ok(found) => Ok(QuickCheck::Damaged(found)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(QuickCheck::Unfinished)
        }
        Err(error) => Err(error.into()),
    }
}

fn problems(sql: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = sql.prepare(&format!("PRAGMA quick_check({MAX_PROBLEMS})"))?;
    statement.query_map([], |row| row.get(0))?.collect()
}

impl Operator {
    /// Checks the structure of the database. Ends early after this time: a reader that stays keeps
    /// the WAL from being emptied.
    pub fn quick_check(&self, within: Duration) -> Result<QuickCheck, StoreError> {
        self.read(|sql| quick_check(sql, within))
    }
}
