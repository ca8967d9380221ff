//! How values of the domain are stored: ids, times and states are integers. Each fits in a column
//! of two, four or eight bytes that is wide enough for it.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, OrderKey};
use crate::store::postgres::failure::Failure;
pub(in crate::store) use crate::store::types::BLOCKED;
use crate::store::types::{
    AttemptOutcome, BulkAction, BulkId, Checksum, ClaimId, DestinationId, GonePayload, GoneReason,
    IntentRow, LearnedSecretId, OnHangup, OwnerId,
};

type Stored<T> = Result<T, Box<dyn Error + Sync + Send>>;

/// An integer of a column of any width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub i64);

fn is_integer(ty: &Type) -> bool {
    [Type::INT2, Type::INT4, Type::INT8].contains(ty)
}

fn write(number: i64, ty: &Type, out: &mut BytesMut) -> Stored<IsNull> {
    match *ty {
        Type::INT2 => i16::try_from(number)?.to_sql(ty, out),
        Type::INT4 => i32::try_from(number)?.to_sql(ty, out),
        _ => number.to_sql(ty, out),
    }
}

fn read(ty: &Type, raw: &[u8]) -> Stored<i64> {
    match *ty {
        Type::INT2 => i16::from_sql(ty, raw).map(i64::from),
        Type::INT4 => i32::from_sql(ty, raw).map(i64::from),
        _ => i64::from_sql(ty, raw),
    }
}

/// Stores a type as an integer, by a function each way.
macro_rules! stored_as_integer {
    ($($type:ty: $write:expr, $read:expr;)*) => {$(
        impl ToSql for $type {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Stored<IsNull> {
                let number: fn(&$type) -> i64 = $write;
                write(number(self), ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                is_integer(ty)
            }

            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $type {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Stored<Self> {
                let number = read(ty, raw)?;
                let value: fn(i64) -> Option<$type> = $read;
                value(number).ok_or_else(|| {
                    format!("{number} is no {}", stringify!($type)).into()
                })
            }

            fn accepts(ty: &Type) -> bool {
                is_integer(ty)
            }
        }
    )*};
}

stored_as_integer! {
    Number: |it| it.0, |number| Some(Self(number));
    BulkId: |it| it.0, |number| Some(Self(number));
    Checksum: |it| it.0, |number| Some(Self(number));
    ClaimId: |it| it.0, |number| Some(Self(number));
    DestinationId: |it| it.0, |number| Some(Self(number));
    IntentRow: |it| it.0, |number| Some(Self(number));
    LearnedSecretId: |it| it.0, |number| Some(Self(number));
    OwnerId: |it| it.0, |number| Some(Self(number));
    // In milliseconds since the Unix epoch.
    Timestamp: |it| it.as_millis(), |number| Some(Self::from_millis(number));
    OrderKey: |it| it.number(), |number| Some(Self::from_number(number));
    DeliveryState: |it| it.number(), Self::from_number;
    OnHangup: |it| *it as i64, |number| {
        let all = [Self::Reloads, Self::Ignored, Self::NotOurs];
        all.into_iter().find(|one| *one as i64 == number)
    };
    GoneReason: |it| *it as i64, |number| {
        Self::ALL.into_iter().find(|one| *one as i64 == number)
    };
    AttemptOutcome: |it| *it as i64, |number| {
        Self::ALL.into_iter().find(|one| *one as i64 == number)
    };
    BulkAction: |it| *it as i64, |number| {
        Self::ALL.into_iter().find(|one| *one as i64 == number)
    };
}

/// When a delivery is due; none if it isn't waiting, or waits behind another one.
pub fn waits_until(row: &Row, at: usize) -> Result<Option<Timestamp>, Failure> {
    let until: Option<Timestamp> = row.try_get(at)?;
    Ok(until.filter(|until| *until != BLOCKED))
}

/// The id of an intent whose row is in the column `at`, and whose random bits are in the next one.
pub fn intent_id(row: &Row, at: usize) -> Result<IntentId, Failure> {
    let random: i64 = row.try_get(at + 1)?;
    Ok(IntentId::new(row.try_get(at)?, random.cast_unsigned()))
}

/// Why and when a payload was deleted, from the columns `at` and the next one.
pub fn gone_payload(row: &Row, at: usize) -> Result<Option<GonePayload>, Failure> {
    let reason: Option<GoneReason> = row.try_get(at)?;
    let deleted_at: Option<Timestamp> = row.try_get(at + 1)?;
    Ok(reason
        .zip(deleted_at)
        .map(|(reason, at)| GonePayload { reason, at }))
}
