//! Inserts rows of any table.

use super::deliveries;
use super::insert::{bytes, insert, numbers};
use super::side::MovedServer;
use crate::store::postgres::connection::{Connection, Param};
use crate::store::postgres::destinations::bucket_of;
use crate::store::postgres::failure::Failure;
use crate::store::types::{ColumnKind, IdempotencyKey, MovedRow, MovedTable, MovedValue};

const KEYS: &str = "INSERT INTO relay.idempotency (digest, intent_id, created_at)
     SELECT encode(u.whole, 'hex')::uuid, u.intent_id, u.created_at
     FROM unnest($1::int8[], $2::bytea[], $3::int8[]) AS u(intent_id, whole, created_at)";

const ERASED: &str = "INSERT INTO relay.erased_keys (digest) SELECT unnest($1::int8[])
     ON CONFLICT DO NOTHING";

/// The digest of a key of which only 64 bits are left.
fn erased_key(row: &MovedRow) -> Option<i64> {
    let digest = row[0].number()?;
    let whole = IdempotencyKey::erased_digest(digest);
    (row[2].bytes() == Some(&whole[..])).then_some(digest)
}

/// Inserts rows, within the transaction of the move.
pub fn write(
    server: &mut MovedServer,
    table: &MovedTable,
    rows: &[MovedRow],
) -> Result<(), Failure> {
    match table.name {
        "deliveries" => deliveries::write(server, rows),
        "idempotency" => write_keys(&mut server.sql, rows),
        "destinations" => write_destinations(&mut server.sql, table, rows),
        "config_state" => {
            let node = server.node.clone();
            let extra = [("node", "$10::text".to_owned(), &node as Param<'_>)];
            insert(&mut server.sql, table.name, table.columns, rows, &extra)
        }
        name => insert(&mut server.sql, name, table.columns, rows, &[]),
    }
}

fn write_destinations(
    sql: &mut Connection,
    table: &MovedTable,
    rows: &[MovedRow],
) -> Result<(), Failure> {
    let at = table
        .columns
        .iter()
        .position(|(column, _)| *column == "name");
    let names = rows.iter().map(|row| {
        let name = at.and_then(|at| row[at].bytes()).unwrap_or_default();
        let name = str::from_utf8(name);
        name.map_err(|_| Failure::unexpected("a name that is not UTF-8".to_owned()))
    });
    let with_buckets = rows.iter().zip(names).map(|(row, name)| {
        let mut row = row.clone();
        row.push(MovedValue::Number(bucket_of(name?).into()));
        Ok(row)
    });
    let rows: Vec<MovedRow> = with_buckets.collect::<Result<_, Failure>>()?;
    let columns = [table.columns, &[("bucket", ColumnKind::Int2)]].concat();
    insert(sql, table.name, &columns, &rows, &[])
}

fn write_keys(sql: &mut Connection, rows: &[MovedRow]) -> Result<(), Failure> {
    let (intents, whole, created_at) = (numbers(rows, 1), bytes(rows, 2), numbers(rows, 3));
    sql.execute(KEYS, &[&intents, &whole, &created_at])?;
    let erased: Vec<i64> = rows.iter().filter_map(erased_key).collect();
    if !erased.is_empty() {
        sql.execute(ERASED, &[&erased])?;
    }
    Ok(())
}
