//! Reads the idempotency key of a request: from a header, or from the body.

use std::borrow::Cow;

use hyper::header::HeaderMap;
use serde_json::value::RawValue;

use crate::http::api_error::ApiError;
use crate::http::raw_object::RawObject;

/// The only header for this purpose that is specified (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest key of a relay, in characters: fixed by the contract.
const MAX_RELAY_KEY: usize = 128;
/// The longest key of an event, in bytes. Providers send UUIDs and digests; the bound is there
/// because keys are stored and compared.
const MAX_EVENT_KEY: usize = 256;

/// The key of a relay, if the request has one.
pub(super) fn relay_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
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

/// The key of an event, in the header of this name.
pub(super) fn event_key_in_header(headers: &HeaderMap, name: &str) -> Result<String, ApiError> {
    in_header(headers, name, MAX_EVENT_KEY).ok_or_else(|| no_key(name))
}

/// The key of an event, at a JSON pointer (RFC 6901) into its body: the text of a string, number or
/// boolean as it was sent. A large number is not rounded.
pub(super) fn event_key_in_body(document: &RawValue, pointer: &str) -> Result<String, ApiError> {
    let text = match value_at(document.get(), pointer) {
        Some(value) if value.starts_with('"') => serde_json::from_str(value).ok(),
        Some(value) if !value.starts_with(['{', '[', 'n']) => Some(value.to_owned()),
        _ => None,
    };
    text.map(|text: String| text.trim().to_owned())
        .filter(|text| is_key(text, MAX_EVENT_KEY))
        .ok_or_else(|| no_key(&format!("the body at {pointer}")))
}

fn no_key(place: &str) -> ApiError {
    ApiError::malformed(format!(
        "there is no usable idempotency key: expected {place}, once, to name the event \
         in 1 to {MAX_EVENT_KEY} bytes without control characters"
    ))
}

fn is_key(text: &str, max: usize) -> bool {
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
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
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

fn value_at<'a>(mut value: &'a str, pointer: &str) -> Option<&'a str> {
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = if value.starts_with('{') {
            // Readers disagree about the value of a repeated member, so that it is no key.
            let object: RawObject<'_> = serde_json::from_str(value).ok()?;
            object.single(&token)?.get()
        } else if value.starts_with('[') {
            let elements: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            elements.get(token.parse::<usize>().ok()?)?.get()
        } else {
            return None;
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests;
