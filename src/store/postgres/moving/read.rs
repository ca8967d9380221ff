//! The rows of any table, as they are moved.

use tokio_postgres::Row;

use super::deliveries;
use super::side::MovedServer;
use crate::model::LatencyHistogram;
use crate::store::move_error::MoveError;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::types::{
    ColumnKind, MovedColumn, MovedRow, MovedRows, MovedTable, MovedValue, OnRows,
};

/// Bytes of bodies and headers that are read at once, but for a single event that has more.
const BYTES: i64 = 4 << 20;

/// Plans for whole tables: a session otherwise takes indexes, whatever they cost.
const WHOLE_TABLES: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on;";
const INDEXES: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off;";

/// Keys with the 128 bits of their digests, and when the intent was accepted.
const KEYS: &str = "SELECT uuid_send(k.digest), k.intent_id, i.created_at
     FROM relay.idempotency k JOIN relay.intents i ON i.id = k.intent_id";

/// Reads a table, each row once and in no order, within the transaction of the move.
pub fn read(
    server: &mut MovedServer,
    table: &MovedTable,
    each: OnRows<'_>,
) -> Result<(), MoveError> {
    let select = match table.name {
        "intents" => return read_intents(server, table, each),
        "idempotency" => KEYS.to_owned(),
        "deliveries" => deliveries::SELECT.to_owned(),
        "config_state" => format!(
            "{} ORDER BY began_at DESC, node LIMIT 1",
            select(table.columns, "config_state")
        ),
        name => select(table.columns, name),
    };
    let cursor = format!("moved_{}", table.name);
    let failed = |server: &MovedServer, failure: Failure| server.failed(&failure);
    let declared = server.sql.batch(&format!(
        "{WHOLE_TABLES} DECLARE {cursor} NO SCROLL CURSOR FOR {select}; {INDEXES}"
    ));
    declared.map_err(|failure| failed(server, failure))?;
    let fetch = format!("FETCH FORWARD 1000 FROM {cursor}");
    loop {
        let rows = fetched(&mut server.sql, &fetch, table);
        let mut rows = rows.map_err(|failure| failed(server, failure))?;
        let rows = rows.take();
        if rows.is_empty() {
            break;
        }
        each(rows)?;
    }
    let closed = server.sql.batch(&format!("CLOSE {cursor}"));
    closed.map_err(|failure| failed(server, failure))
}

fn fetched(sql: &mut Connection, fetch: &str, table: &MovedTable) -> Result<MovedRows, Failure> {
    let mut batch = MovedRows::default();
    for row in sql.rows(fetch, &[])? {
        batch.push(match table.name {
            "idempotency" => key(&row)?,
            _ => values(&row, table.columns)?,
        });
    }
    Ok(batch)
}

/// Reads events in the order of their ids, as many at once as their payloads allow. A payload's
/// length is known without reading it.
fn read_intents(
    server: &mut MovedServer,
    table: &MovedTable,
    each: OnRows<'_>,
) -> Result<(), MoveError> {
    let page = format!(
        "WITH page AS MATERIALIZED (
             SELECT id, sum(size) OVER (ORDER BY id) - size AS before
             FROM (SELECT id, octet_length(body)::int8 + octet_length(headers) AS size
                   FROM relay.intents WHERE id > $1::int8 ORDER BY id LIMIT 1000) AS next)
         {} WHERE id > $1::int8 AND id <= (SELECT max(id) FROM page WHERE before < $2::int8) ORDER BY id",
        select(table.columns, "intents")
    );
    let mut after = i64::MIN;
    loop {
        let found = server.sql.rows(&page, &[&after, &BYTES]);
        let found = found.map_err(|failure| server.failed(&failure))?;
        let rows = found.iter().map(|row| values(row, table.columns));
        let rows: Result<Vec<MovedRow>, Failure> = rows.collect();
        let rows = rows.map_err(|failure| server.failed(&failure))?;
        let Some(last) = rows.last().and_then(|row| row.first()?.number()) else {
            return Ok(());
        };
        after = last;
        each(rows)?;
    }
}

/// The statement that reads columns, each as a number or as bytes.
pub fn select(columns: &[MovedColumn], table: &str) -> String {
    let columns = columns.iter().map(|(name, kind)| match kind {
        ColumnKind::Int2 | ColumnKind::Int4 | ColumnKind::Int8 => format!("\"{name}\"::int8"),
        ColumnKind::Flag => format!("\"{name}\"::int::int8"),
        ColumnKind::Text => format!("convert_to(\"{name}\", 'UTF8')"),
        ColumnKind::Said | ColumnKind::Blob | ColumnKind::Counts => format!("\"{name}\""),
    });
    let columns: Vec<String> = columns.collect();
    format!("SELECT {} FROM relay.{table}", columns.join(", "))
}

fn values(row: &Row, columns: &[MovedColumn]) -> Result<MovedRow, Failure> {
    let values = columns.iter().enumerate();
    values
        .map(|(at, (_, kind))| value(row, at, *kind))
        .collect()
}

fn value(row: &Row, at: usize, kind: ColumnKind) -> Result<MovedValue, Failure> {
    Ok(match kind {
        ColumnKind::Int2 | ColumnKind::Int4 | ColumnKind::Int8 | ColumnKind::Flag => {
            let number: Option<i64> = row.try_get(at)?;
            number.map_or(MovedValue::Null, MovedValue::Number)
        }
        ColumnKind::Text | ColumnKind::Said | ColumnKind::Blob => bytes(row.try_get(at)?),
        ColumnKind::Counts => {
            let counts: Option<Vec<i64>> = row.try_get(at)?;
            counts.map_or(Ok(MovedValue::Null), |counts| {
                let counts = counts
                    .into_iter()
                    .map(|count| u64::try_from(count).unwrap_or(0));
                let histogram = LatencyHistogram::from_buckets(&counts.collect::<Vec<_>>());
                let histogram = histogram.ok_or_else(|| {
                    Failure::unexpected("a histogram with too many counts".to_owned())
                })?;
                Ok::<_, Failure>(MovedValue::Bytes(histogram.to_bytes()))
            })?
        }
    })
}

fn bytes(found: Option<&[u8]>) -> MovedValue {
    found.map_or(MovedValue::Null, |bytes| MovedValue::Bytes(bytes.to_vec()))
}

fn key(row: &Row) -> Result<MovedRow, Failure> {
    let whole: &[u8] = row.try_get(0)?;
    let digest = whole.first_chunk().map(|first| i64::from_be_bytes(*first));
    let digest = digest.ok_or_else(|| Failure::unexpected("a short digest".to_owned()))?;
    Ok(vec![
        MovedValue::Number(digest),
        MovedValue::Number(row.try_get(1)?),
        MovedValue::Bytes(whole.to_vec()),
        MovedValue::Number(row.try_get(2)?),
    ])
}
