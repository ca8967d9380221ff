//! Values of rows.

use tokio_postgres::Row;

use crate::store::postgres::columns::Number;
use crate::store::postgres::failure::Failure;
use crate::store::postgres::text::Text;

/// A text of a column that is bytes.
pub fn text(row: &Row, at: usize) -> Result<String, Failure> {
    Ok(row.try_get::<_, Text<'_>>(at)?.into())
}

/// The same, or none of NULL.
pub fn maybe_text(row: &Row, at: usize) -> Result<Option<String>, Failure> {
    Ok(row.try_get::<_, Option<Text<'_>>>(at)?.map(String::from))
}

/// Whether any of these texts is no UTF-8 any more.
pub fn is_any_damaged(row: &Row, texts: &[usize]) -> Result<bool, Failure> {
    for at in texts {
        let text: Option<&[u8]> = row.try_get(*at)?;
        if text.is_some_and(|text| str::from_utf8(text).is_err()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An integer of a column of any width.
pub fn number<T: TryFrom<i64>>(row: &Row, at: usize) -> Result<T, Failure> {
    let Number(number) = row.try_get(at)?;
    T::try_from(number).map_err(|_| out_of_range(number))
}

/// The same, or none of NULL.
pub fn maybe_number<T: TryFrom<i64>>(row: &Row, at: usize) -> Result<Option<T>, Failure> {
    let found: Option<Number> = row.try_get(at)?;
    let converted = found.map(|Number(number)| {
        let converted = T::try_from(number);
        converted.map_err(|_| out_of_range(number))
    });
    converted.transpose()
}

fn out_of_range(number: i64) -> Failure {
    Failure::unexpected(format!("the number {number} is out of its range"))
}

/// A number of rows as a parameter.
pub fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A wanted type as two parameters: the whole of it, or its beginning before a `*`.
pub fn wanted_type(wanted: Option<&str>) -> (Option<Text<'_>>, Option<Text<'_>>) {
    match wanted.map(|wanted| (wanted, wanted.strip_suffix('*'))) {
        None => (None, None),
        Some((_, Some(beginning))) => (None, Some(beginning.into())),
        Some((whole, None)) => (Some(whole.into()), None),
    }
}
