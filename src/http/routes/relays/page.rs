//! Reads which page of the list is asked for.

use crate::http::api_error::ApiError;
use crate::model::IntentId;

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// The prefix of a page token. Tokens of another kind will have another one.
const TOKEN_PREFIX: &str = "r1-";

/// The token of the page after the relay `last`.
pub(super) fn token_after(last: IntentId) -> String {
    format!("{TOKEN_PREFIX}{:015x}", last.row())
}

/// A page of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub size: u32,
    /// The page begins after this row.
    pub after: i64,
}

impl Page {
    /// Reads a query. Unknown parameters are ignored: caches and trackers add some.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let mut size = None;
        let mut after = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "pageSize" => set_once(&mut size, &name, || parse_size(&value))?,
                "pageToken" => set_once(&mut after, &name, || parse_token(&value))?,
                _ => {}
            }
        }
        Ok(Self {
            size: size.unwrap_or(DEFAULT_PAGE),
            after: after.unwrap_or(-1),
        })
    }
}

fn set_once<T>(
    parameter: &mut Option<T>,
    name: &str,
    parse: impl FnOnce() -> Result<T, ApiError>,
) -> Result<(), ApiError> {
    if parameter.is_some() {
        return Err(ApiError::invalid(name, format!("{name}: expected once")));
    }
    *parameter = Some(parse()?);
    Ok(())
}

fn parse_size(text: &str) -> Result<u32, ApiError> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| (1..=MAX_PAGE).contains(n));
    number.filter(|_| is_number).ok_or_else(|| {
        ApiError::invalid(
            "pageSize",
            "pageSize: expected a whole number from 1 to 200",
        )
    })
}

fn parse_token(text: &str) -> Result<i64, ApiError> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let digits = text
        .strip_prefix(TOKEN_PREFIX)
        .filter(|digits| digits.len() == 15 && digits.bytes().all(is_digit));
    digits
        .and_then(|digits| i64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| {
            ApiError::invalid(
                "pageToken",
                "pageToken: expected a nextPageToken of an earlier answer",
            )
        })
}

#[cfg(test)]
mod tests;
