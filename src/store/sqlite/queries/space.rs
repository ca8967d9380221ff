//! The space that the database uses, and used.

use rusqlite::Connection;

use crate::store::error::StoreError;
use crate::store::sqlite::limits::PAGE;
use crate::store::sqlite::operator::Operator;
use crate::store::sqlite::readers::Reader;
use crate::store::types::SpaceSample;

/// Events without a checksum that are counted: the number says enough.
const COUNTED: i64 = 10_000;

/// Bytes of the pages that hold something.
pub fn used_pages(sql: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| sql.query_row(pragma, [], |row| row.get::<_, u32>(0));
    let used = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
    Ok(u64::from(used) * u64::from(PAGE))
}

fn samples(sql: &Connection) -> Result<Vec<SpaceSample>, StoreError> {
    let mut statement = sql.prepare_cached("SELECT at, used FROM space_samples ORDER BY at")?;
    let rows = statement.query_map([], |row| {
        Ok(SpaceSample {
            at: row.get(0)?,
            used: row.get(1).map(i64::cast_unsigned)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Events that were accepted before payloads had checksums, up to [`COUNTED`]. Found by their ids
/// alone: the checksum itself stands behind the body.
fn unchecked(sql: &Connection) -> Result<i64, StoreError> {
    let mut statement = sql.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM intents
         WHERE id <= (SELECT value FROM settings WHERE name = 'unchecked_to') LIMIT ?1)",
    )?;
    Ok(statement.query_row([COUNTED], |row| row.get(0))?)
}

impl Reader {
    /// Bytes of the database without its free pages.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        self.read(|sql| Ok(used_pages(sql)?))
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        self.read(samples)
    }
}

impl Operator {
    /// Bytes of the database without its free pages.
    pub fn used_pages(&self) -> Result<u64, StoreError> {
        self.read(|sql| Ok(used_pages(sql)?))
    }

    /// The samples of the space that was used, oldest first.
    pub fn space_samples(&self) -> Result<Vec<SpaceSample>, StoreError> {
        self.read(samples)
    }

    /// Events that were accepted before payloads had checksums; more than 10 000 are not counted.
    pub fn count_unchecked(&self) -> Result<i64, StoreError> {
        self.read(unchecked)
    }
}
