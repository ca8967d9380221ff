//! The id of a destination by its name.

use sha2::{Digest as _, Sha256};

use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::text::Wanted;
use crate::store::types::{DestinationId, OwnerId};

const FIND: &str = "SELECT id FROM relay.destinations WHERE name = $1";

const INSERT: &str = "INSERT INTO relay.destinations (name, bucket, owner)
     SELECT $1::text, ($2::int8 & 9223372036854775807) % a.buckets, $3::int8 FROM relay.about a
     ON CONFLICT (name) DO NOTHING";

/// The id of a destination, if it exists.
pub fn find(sql: &mut Connection, name: &str) -> Result<Option<DestinationId>, Failure> {
    let found = sql.first(FIND, &[&Wanted(name)])?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

/// The id of a named destination, which is created if it doesn't exist.
pub fn ensure(sql: &mut Connection, name: &str) -> Result<DestinationId, Failure> {
    ensure_of(sql, name, None)
}

/// The same. `owner` is the API key whose relays go to an ad hoc origin.
pub fn ensure_of(
    sql: &mut Connection,
    name: &str,
    owner: Option<OwnerId>,
) -> Result<DestinationId, Failure> {
    // An insertion that conflicts would use up a number.
    if let Some(row) = sql.first(FIND, &[&name])? {
        return Ok(row.try_get(0)?);
    }
    sql.execute(INSERT, &[&name, &bits_of(name), &owner])?;
    Ok(sql.one(FIND, &[&name])?.try_get(0)?)
}

/// 64 bits of SHA-256 of a name: modulo the number of buckets they are its bucket.
fn bits_of(name: &str) -> i64 {
    let digest = <[u8; 32]>::from(Sha256::digest(name));
    i64::from_be_bytes(*digest.first_chunk().expect("32 bytes hold 8"))
}
