//! Inserts rows with one statement, an array for each column.

use tokio_postgres::types::ToSql;

use crate::model::LatencyHistogram;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::failure::Failure;
use crate::store::types::{ColumnKind, MovedColumn, MovedRow};

/// A column that is the same in all rows: its name, its expression, and the parameter after those
/// of the other columns.
pub type SameColumn<'a> = (&'static str, String, Param<'a>);

/// Inserts rows of these columns.
pub fn insert(
    sql: &mut Connection,
    table: &str,
    columns: &[MovedColumn],
    rows: &[MovedRow],
    same: &[SameColumn<'_>],
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let (mut arrays, mut expressions, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (name, kind)) in columns.iter().enumerate() {
        let (expression, array) = column(rows, at, name, *kind)?;
        let array_type = match kind {
            ColumnKind::Text | ColumnKind::Said | ColumnKind::Blob => "bytea[]",
            ColumnKind::Counts => "text[]",
            _ => "int8[]",
        };
        types.push(format!("${}::{array_type}", at + 1));
        expressions.push(expression);
        arrays.push(array);
    }
    let quoted = columns.iter().map(|(name, _)| format!("\"{name}\""));
    let quoted: Vec<String> = quoted.collect();
    let mut into = quoted.clone();
    for (name, expression, _) in same {
        into.push((*name).to_owned());
        expressions.push(expression.clone());
    }
    let statement = format!(
        "INSERT INTO relay.{table} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS u({})",
        into.join(", "),
        expressions.join(", "),
        types.join(", "),
        quoted.join(", ")
    );
    let mut params: Vec<Param<'_>> = arrays.iter().map(|array| &**array as Param<'_>).collect();
    params.extend(same.iter().map(|(_, _, param)| *param));
    sql.execute(&statement, &params)?;
    Ok(())
}

type Array<'a> = Box<dyn ToSql + Sync + 'a>;

/// The expression of a column, and its values.
fn column<'a>(
    rows: &'a [MovedRow],
    at: usize,
    name: &str,
    kind: ColumnKind,
) -> Result<(String, Array<'a>), Failure> {
    let own = format!("u.\"{name}\"");
    Ok(match kind {
        ColumnKind::Int8 => (own, Box::new(numbers(rows, at))),
        ColumnKind::Int4 => (format!("{own}::int4"), Box::new(numbers(rows, at))),
        ColumnKind::Int2 => (format!("{own}::int2"), Box::new(numbers(rows, at))),
        ColumnKind::Flag => (format!("{own} <> 0"), Box::new(numbers(rows, at))),
        ColumnKind::Said | ColumnKind::Blob => (own, Box::new(bytes(rows, at))),
        ColumnKind::Text => (
            format!("convert_from({own}, 'UTF8')"),
            Box::new(bytes(rows, at)),
        ),
        ColumnKind::Counts => (format!("{own}::int8[]"), Box::new(counts(rows, at)?)),
    })
}

pub fn numbers(rows: &[MovedRow], at: usize) -> Vec<Option<i64>> {
    rows.iter().map(|row| row[at].number()).collect()
}

pub fn bytes(rows: &[MovedRow], at: usize) -> Vec<Option<&[u8]>> {
    rows.iter().map(|row| row[at].bytes()).collect()
}

/// Histograms as arrays of SQL, without the empty counts at the end.
fn counts(rows: &[MovedRow], at: usize) -> Result<Vec<Option<String>>, Failure> {
    let arrays = rows.iter().map(|row| {
        let Some(bytes) = row[at].bytes() else {
            return Ok(None);
        };
        let histogram = LatencyHistogram::from_bytes(bytes)
            .ok_or_else(|| Failure::unexpected("bytes that are no histogram".to_owned()))?;
        let counts = histogram.buckets();
        let used = counts.iter().rposition(|&count| count > 0);
        let used = used.map_or(0, |last| last + 1);
        let counts: Vec<String> = counts[..used].iter().map(u64::to_string).collect();
        Ok(Some(format!("{{{}}}", counts.join(","))))
    });
    arrays.collect()
}
