//! Reads the idempotency key of a relay, and the syntax of keys.

use std::borrow::Cow;

use hyper::header::HeaderMap;

use crate::http::api_error::ApiError;

/// The only header for this purpose that is specified (draft-ietf-httpapi-idempotency-key-header).
pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest key of a relay, in characters: fixed by the contract.
const MAX_RELAY_KEY: usize = 128;
/// The longest key of an event, in bytes. Providers send UUIDs and digests; the bound is there
/// because keys are stored and compared.
pub(super) const MAX_EVENT_KEY: usize = 256;

/// The key of a relay or of an operator's request, if it has one.
pub(in crate::http) fn relay_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(None);
    }
    in_header(headers, IDEMPOTENCY_KEY, MAX_RELAY_KEY)
        .map(Some)
        .ok_or_else(|| {
            ApiError::invalid(
                IDEMPOTENCY_KEY,
                format!(
                    "{IDEMPOTENCY_KEY}: expected one header of 1 to {MAX_RELAY_KEY} printable \
                     ASCII characters, bare or in double quotes"
                ),
            )
        })
}

pub(super) fn is_key(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn in_header(headers: &HeaderMap, name: &str, max: usize) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let text = values.next()?.to_str().ok()?.trim();
    // Two keys name two requests, and nothing says which of them is meant.
    if values.next().is_some() {
        return None;
    }
    let key = if name.eq_ignore_ascii_case(IDEMPOTENCY_KEY) {
        unquoted(text)?
    } else {
        text.into()
    };
    is_key(&key, max).then(|| key.into_owned())
}

/// The draft has the key as a structured field, in double quotes (RFC 8941, 3.3.3); most clients
/// send it bare. Both forms are the same key.
pub(super) fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(text.into());
    };
    let inner = rest.strip_suffix('"')?;
    let mut key = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        key.push(match character {
            '\\' => characters.next().filter(|c| matches!(c, '"' | '\\'))?,
            '"' => return None,
            other => other,
        });
    }
    Some(key.into())
}

#[cfg(test)]
mod tests;
