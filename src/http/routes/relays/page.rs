//! Reads which page of the list is asked for.

use crate::http::api_error::ApiError;
use crate::store::RelayCursor;

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;

/// A page of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub size: u32,
    /// The page begins here; none: at the first relay.
    pub after: Option<RelayCursor>,
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
            after,
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

fn parse_token(text: &str) -> Result<RelayCursor, ApiError> {
    RelayCursor::parse(text).ok_or_else(|| {
        ApiError::invalid(
            "pageToken",
            "pageToken: expected a nextPageToken of an earlier answer",
        )
    })
}

#[cfg(test)]
mod tests;
