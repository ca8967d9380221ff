//! How values of the domain are stored: ids, times and states are integers.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Result, Row};

use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, OrderKey};
pub(in crate::store) use crate::store::types::BLOCKED;
use crate::store::types::{
    AttemptOutcome, BulkAction, BulkId, ByteText, Checksum, ClaimId, DestinationId, GonePayload,
    GoneReason, IntentRow, LearnedSecretId, OnHangup, OwnerId,
};

/// Binds and reads an id as its number.
macro_rules! stored_as_number {
    ($($id:ident),*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                i64::column_result(value).map(Self)
            }
        }
    )*};
}

stored_as_number!(
    BulkId,
    Checksum,
    ClaimId,
    DestinationId,
    IntentRow,
    LearnedSecretId,
    OwnerId
);

/// In milliseconds since the Unix epoch.
impl ToSql for Timestamp {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self::from_millis)
    }
}

/// When a delivery is due; none if it isn't waiting, or waits behind another one.
pub fn waits_until(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>> {
    let until: Option<Timestamp> = row.get(at)?;
    Ok(until.filter(|until| *until != BLOCKED))
}

impl ToSql for OrderKey {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.number().into())
    }
}

impl FromSql for OrderKey {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self::from_number)
    }
}

impl ToSql for DeliveryState {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(self.number().into())
    }
}

impl FromSql for DeliveryState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        Self::from_number(number).ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for OnHangup {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for OnHangup {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        let all = [Self::Reloads, Self::Ignored, Self::NotOurs];
        let found = all.into_iter().find(|one| *one as i64 == number);
        found.ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for GoneReason {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for GoneReason {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        let found = Self::ALL.into_iter().find(|one| *one as i64 == number);
        found.ok_or(FromSqlError::OutOfRange(number))
    }
}

impl FromSql for AttemptOutcome {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        let found = Self::ALL.into_iter().find(|one| *one as i64 == number);
        found.ok_or(FromSqlError::OutOfRange(number))
    }
}

impl ToSql for ByteText {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for ByteText {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_blob().map(|bytes| Self(bytes.to_vec()))
    }
}

impl FromSql for BulkAction {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = i64::column_result(value)?;
        Self::ALL
            .into_iter()
            .find(|action| *action as i64 == number)
            .ok_or(FromSqlError::OutOfRange(number))
    }
}

/// The id of an intent whose row is in the column `at`, and whose random bits are in the next one.
pub fn intent_id(row: &Row<'_>, at: usize) -> Result<IntentId> {
    let random: i64 = row.get(at + 1)?;
    Ok(IntentId::new(row.get(at)?, random.cast_unsigned()))
}

/// Ids as a list that is stored: separated by spaces. None: NULL.
pub fn ids_to_store(ids: &[IntentId]) -> Option<String> {
    let texts: Vec<String> = ids.iter().map(IntentId::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// The ids of a stored list.
pub fn stored_ids(row: &Row<'_>, at: usize) -> Result<Vec<IntentId>> {
    let text: Option<String> = row.get(at)?;
    let ids = text.as_deref().unwrap_or_default().split_ascii_whitespace();
    ids.map(|id| {
        let id: std::result::Result<IntentId, _> = id.parse();
        id.map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, error.into()))
    })
    .collect()
}

/// A text as it is shown. A disk may have damaged it: what is no UTF-8 any more is replaced by
/// U+FFFD, so that one row fails neither its page nor a start.
pub fn text(row: &Row<'_>, at: usize) -> Result<String> {
    match maybe_text(row, at)? {
        Some(text) => Ok(text),
        // NULL: the error names the column.
        None => row.get(at),
    }
}

/// A text as it is shown; none if there is none.
pub fn maybe_text(row: &Row<'_>, at: usize) -> Result<Option<String>> {
    match row.get_ref(at)? {
        ValueRef::Text(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        _ => row.get(at),
    }
}

/// Whether any of these texts is no UTF-8 any more.
pub fn is_any_damaged(row: &Row<'_>, texts: &[usize]) -> Result<bool> {
    for at in texts {
        if matches!(row.get_ref(*at)?, ValueRef::Text(text) if str::from_utf8(text).is_err()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Why and when a payload was deleted, from the columns `at` and the next one.
pub fn gone_payload(row: &Row<'_>, at: usize) -> Result<Option<GonePayload>> {
    let reason: Option<GoneReason> = row.get(at)?;
    let deleted_at: Option<Timestamp> = row.get(at + 1)?;
    Ok(reason
        .zip(deleted_at)
        .map(|(reason, at)| GonePayload { reason, at }))
}

/// The condition that a type is wanted: the whole of it, or its beginning before a `*`. `wanted` is
/// a parameter, and null if any type is. Bytes are compared, since a NUL ends a text for `substr`
/// and `length`.
pub fn is_of_type(own: &str, wanted: &str) -> String {
    let beginning = format!("length(CAST({wanted} AS BLOB)) - 1");
    format!(
        "({wanted} IS NULL
          OR iif(substr(CAST({wanted} AS BLOB), -1) = x'2a',
                 substr(CAST({own} AS BLOB), 1, {beginning})
                     = substr(CAST({wanted} AS BLOB), 1, {beginning}),
                 {own} = {wanted}))"
    )
}
