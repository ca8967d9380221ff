//! The rows of any table, as they are moved.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::keys;
use crate::model::LatencyHistogram;
use crate::store::move_error::MoveError;
use crate::store::types::{
    ColumnKind, MovedColumn, MovedRow, MovedRows, MovedTable, MovedValue, OnRows,
};

/// Reads a table, each row once and in no order.
pub fn read(
    sql: &Connection,
    name: &str,
    table: &MovedTable,
    each: OnRows<'_>,
) -> Result<(), MoveError> {
    if table.name == "idempotency" {
        return keys::read(sql, name, each);
    }
    let failed = |source: rusqlite::Error| MoveError::of(name, source.to_string());
    let mut statement = sql.prepare(&select(table)).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut batch = MovedRows::default();
    while let Some(row) = rows.next().map_err(failed)? {
        batch.push(values(row, table.columns).map_err(failed)?);
        if batch.is_full() {
            each(batch.take())?;
        }
    }
    let rest = batch.take();
    if rest.is_empty() { Ok(()) } else { each(rest) }
}

/// Reads a row of these columns.
pub fn values(row: &Row<'_>, columns: &[MovedColumn]) -> rusqlite::Result<MovedRow> {
    let values = columns.iter().enumerate();
    values
        .map(|(at, (_, kind))| Ok(value(row.get_ref(at)?, *kind)))
        .collect()
}

fn value(stored: ValueRef<'_>, kind: ColumnKind) -> MovedValue {
    match stored {
        ValueRef::Integer(number) => MovedValue::Number(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) if kind == ColumnKind::Counts => {
            // One way to write a histogram: an older version may have kept empty buckets.
            let histogram = LatencyHistogram::from_bytes(bytes).unwrap_or_default();
            MovedValue::Bytes(histogram.to_bytes())
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => MovedValue::Bytes(bytes.to_vec()),
        // A strict table has no numbers with fractions.
        ValueRef::Null | ValueRef::Real(_) => MovedValue::Null,
    }
}

/// The statement that reads a table. A claim is moved as its sign, and the configuration's row only
/// if a server has written it.
fn select(table: &MovedTable) -> String {
    let columns = table
        .columns
        .iter()
        .map(|(name, _)| match (table.name, *name) {
            ("deliveries", "claim") => "iif(claim < 0, -1, iif(claim IS NULL, NULL, 1))".to_owned(),
            (_, name) => quoted(name),
        });
    let columns: Vec<String> = columns.collect();
    let condition = match table.name {
        "config_state" => " WHERE attempts > 0",
        _ => "",
    };
    format!(
        "SELECT {} FROM {}{condition}",
        columns.join(", "),
        table.name
    )
}

/// Inserts rows.
pub fn write(
    sql: &Connection,
    name: &str,
    table: &MovedTable,
    rows: &[MovedRow],
) -> Result<(), MoveError> {
    let failed = |source: rusqlite::Error| MoveError::of(name, format!("{}: {source}", table.name));
    let mut statement = sql.prepare_cached(&insert(table)).map_err(failed)?;
    for row in rows {
        let values = row.iter().zip(table.columns);
        let values: Result<Vec<Stored<'_>>, MoveError> = values
            .map(|(value, (column, kind))| {
                stored(value, *kind).ok_or_else(|| {
                    let problem = format!("{}.{column}: expected UTF-8", table.name);
                    MoveError::of(name, problem)
                })
            })
            .collect();
        statement
            .execute(params_from_iter(values?))
            .map_err(failed)?;
    }
    Ok(())
}

fn insert(table: &MovedTable) -> String {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let columns = columns.join(", ");
    match table.name {
        // The schema has made its only row.
        "config_state" => {
            format!("INSERT OR REPLACE INTO config_state (id, {columns}) VALUES (1, {places})")
        }
        name => format!("INSERT INTO {name} ({columns}) VALUES ({places})"),
    }
}

/// Some are words of SQL's.
fn quoted(column: &str) -> String {
    format!("\"{column}\"")
}

/// A value to be bound.
struct Stored<'a>(ValueRef<'a>);

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// The value of a column of this kind; none if it is text that is not UTF-8.
fn stored(value: &MovedValue, kind: ColumnKind) -> Option<Stored<'_>> {
    let value = match value {
        MovedValue::Null => ValueRef::Null,
        MovedValue::Number(number) => ValueRef::Integer(*number),
        MovedValue::Bytes(bytes) if matches!(kind, ColumnKind::Text | ColumnKind::Said) => {
            str::from_utf8(bytes).ok()?;
            ValueRef::Text(bytes)
        }
        MovedValue::Bytes(bytes) => ValueRef::Blob(bytes),
    };
    Some(Stored(value))
}
