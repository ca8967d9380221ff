//! Idempotency keys as the table knows them, and the rows that events get.

use std::collections::HashSet;
use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::model::IntentId;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::failure::Failure;
use crate::store::types::{IdempotencyKey, OwnerId};

/// Stands for a key: 128 bits of SHA-256. No two keys have the same, so nothing else is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 16]);

impl KeyDigest {
    /// The digest of a relay's key if it has a scope, otherwise of an event's.
    pub fn of(key: &IdempotencyKey, source: &str) -> Self {
        Self::of_parts(key.scope, source, &key.key)
    }

    /// The same from a key's parts.
    pub fn of_parts(scope: Option<OwnerId>, source: &str, key: &str) -> Self {
        Self(IdempotencyKey::whole_digest_of(scope, source, key))
    }
}

/// Keys of erased events that came with a move from a file: of each only 64 bits are left, and the
/// table has zeros after them. Read at a start, and the same on all nodes.
#[derive(Debug, Default)]
pub struct ErasedKeys(HashSet<i64>);

impl ErasedKeys {
    pub fn load(sql: &mut Connection) -> Result<Self, Failure> {
        let rows = sql.rows("SELECT digest FROM relay.erased_keys", &[])?;
        let digests = rows.iter().map(|row| Ok(row.try_get(0)?));
        Ok(Self(digests.collect::<Result<_, Failure>>()?))
    }

    /// The digest by which the table knows a key.
    pub fn digest_of(&self, key: &IdempotencyKey, source: &str) -> KeyDigest {
        if self.0.contains(&key.digest) {
            return KeyDigest(IdempotencyKey::erased_digest(key.digest));
        }
        KeyDigest::of(key, source)
    }
}

impl ToSql for KeyDigest {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

/// Bits of a row that hold the slot of the node that accepted the event.
const SLOT_BITS: u32 = 5;

/// The row to assign after `last` at the time `now_millis` on the node in `slot`: no other node
/// assigns it.
pub fn next_row(last: i64, now_millis: i64, slot: i16) -> i64 {
    let floor = IntentId::next_row(last, now_millis);
    let row = floor >> SLOT_BITS << SLOT_BITS | i64::from(slot);
    if row < floor {
        row + (1 << SLOT_BITS)
    } else {
        row
    }
}

/// The last row of a row's millisecond: the next one to assign is of the next millisecond.
pub fn end_of_millisecond(row: i64) -> i64 {
    IntentId::first_row_at(IntentId::millis_of(row) + 1) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_ascend_and_name_their_slot(
            last in 0..1_i64 << 59,
            now in 0..1_i64 << 46,
            slot in 0..32_i16,
        ) {
            let row = next_row(last, now, slot);
            prop_assert!(row > last && IntentId::millis_of(row) >= now);
            prop_assert_eq!(row & 31, i64::from(slot));
            prop_assert!(row - IntentId::next_row(last, now) < 32);
        }
    }

    #[test]
    fn parts_of_a_key_are_told_apart() {
        let digests = [
            KeyDigest::of_parts(None, "a", "bc"),
            KeyDigest::of_parts(None, "ab", "c"),
            KeyDigest::of_parts(Some(OwnerId(1)), "a", "bc"),
            KeyDigest::of_parts(Some(OwnerId(2)), "a", "bc"),
        ];
        let distinct: std::collections::HashSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
