//! Paging through the list.

use crate::http::api_error::ApiError;
use crate::http::router::percent_decoded;
use crate::model::IntentId;

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// What a page token begins with, so that one of another kind is told apart.
const TOKEN_PREFIX: &str = "r1-";

/// The token of the page after the relay `last`.
pub(super) fn token_after(last: IntentId) -> String {
    format!("{TOKEN_PREFIX}{:015x}", last.row())
}

/// Which part of the list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub size: u32,
    /// The row after which it begins.
    pub after: i64,
}

impl Page {
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let mut size = None;
        let mut after = None;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (&*percent_decoded(name), &*percent_decoded(value));
            let once = |seen: bool| {
                if seen {
                    Err(ApiError::invalid(name, format!("{name}: expected once")))
                } else {
                    Ok(())
                }
            };
            match name {
                "pageSize" => {
                    once(size.is_some())?;
                    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                    let number = value.parse().ok().filter(|n| (1..=MAX_PAGE).contains(n));
                    size = Some(number.filter(|_| is_number).ok_or_else(|| {
                        ApiError::invalid(
                            "pageSize",
                            "pageSize: expected a whole number from 1 to 200",
                        )
                    })?);
                }
                "pageToken" => {
                    once(after.is_some())?;
                    after = Some(Self::token(value).ok_or_else(|| {
                        ApiError::invalid(
                            "pageToken",
                            "pageToken: expected a nextPageToken of an earlier answer",
                        )
                    })?);
                }
                // Others are somebody's cache busters and trackers.
                _ => {}
            }
        }
        Ok(Self {
            size: size.unwrap_or(DEFAULT_PAGE),
            after: after.unwrap_or(-1),
        })
    }

    fn token(text: &str) -> Option<i64> {
        let hex = text.strip_prefix(TOKEN_PREFIX)?;
        let is_ours = hex.len() == 15
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        is_ours.then(|| i64::from_str_radix(hex, 16).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_are_bounded_and_tokens_ours() {
        let page = |query: &str| Page::parse(query).ok().map(|page| (page.size, page.after));
        assert_eq!(page(""), Some((50, -1)));
        assert_eq!(page("pageSize=200&x=1"), Some((200, -1)));
        assert_eq!(page("pageSize=%35&x"), Some((5, -1)));
        assert_eq!(page("pageToken=r1-00000000000002a"), Some((50, 42)));
        for query in [
            "pageSize=0",
            "pageSize=201",
            "pageSize=",
            "pageSize",
            "pageSize=5&pageSize",
            "page%53ize=x",
            "pageSize=%FF",
            "pageToken",
            "pageSize=+5",
            "pageSize=5&pageSize=5",
            "pageSize=99999999999999999999",
            "pageToken=",
            "pageToken=42",
            "pageToken=r1-00000000000002A",
            "pageToken=r1--0000000000002a",
        ] {
            assert_eq!(page(query), None, "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".*") {
            let _ = Page::parse(&query);
        }
    }
}
