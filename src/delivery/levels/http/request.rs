//! The request of an attempt.

use ureq::http::header::{HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Method, Request};

use crate::clock::Timestamp;
use crate::config::Secret;
use crate::delivery::attempt::Attempt;
use crate::model::Surface;
use crate::store::OutboundMessage;

/// Makes `webhook-signature` from secrets, id, Unix seconds and body.
pub(in crate::delivery::levels) type Sign = fn(&[Secret], &str, i64, &[u8]) -> String;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// Builds the request. An error says why there can be none.
pub(super) fn build<'a>(
    message: &'a OutboundMessage,
    attempt: &Attempt,
    now: Timestamp,
    sign: Option<Sign>,
) -> Result<Request<&'a [u8]>, String> {
    let policy = &attempt.target.policy;
    let url = match &policy.url {
        Some(url) => url.as_str(),
        None => message
            .url
            .as_deref()
            .ok_or("there is no URL: the destination is no longer configured")?,
    };
    let mut headers = provider_headers(&message.headers)?;
    set_webhook_headers(&mut headers, message, &policy.secrets, now, sign)?;
    headers.insert("relay-attempt", HeaderValue::from(attempt.number));
    if message.surface == Surface::Relay {
        // A header's value takes any UTF-8 but control characters, which the API refuses.
        let value = HeaderValue::from_bytes(message.label.as_bytes())
            .map_err(|error| format!("the event type can't be a header: {error}"))?;
        headers.insert("relay-event-type", value);
    }
    for (name, value) in &policy.headers {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::try_from(value.reveal()).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }

    let mut request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .body(message.body.as_slice())
        .map_err(|error| format!("the request can't be made: {error}"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Sets the headers of Standard Webhooks. Without secrets a provider's own signature stays, since
/// it still verifies downstream; relay's headers then have a prefix.
fn set_webhook_headers(
    headers: &mut HeaderMap,
    message: &OutboundMessage,
    secrets: &[Secret],
    now: Timestamp,
    sign: Option<Sign>,
) -> Result<(), String> {
    let provider_signs = [ID, TIMESTAMP, SIGNATURE]
        .iter()
        .any(|name| headers.contains_key(*name));
    let prefix = if secrets.is_empty() && provider_signs {
        "relay-"
    } else {
        for name in [ID, TIMESTAMP, SIGNATURE] {
            headers.remove(name);
        }
        ""
    };
    let mut set = |name: &str, value: &str| -> Result<(), String> {
        let name = HeaderName::try_from(format!("{prefix}{name}")).map_err(|e| e.to_string())?;
        let value = HeaderValue::try_from(value).map_err(|e| e.to_string())?;
        headers.insert(name, value);
        Ok(())
    };
    let id = message.public_id();
    let seconds = now.as_seconds();
    set(ID, &id)?;
    set(TIMESTAMP, &seconds.to_string())?;
    if let Some(sign) = sign
        && !secrets.is_empty()
    {
        set(SIGNATURE, &sign(secrets, &id, seconds, &message.body))?;
    }
    Ok(())
}

/// Parses stored headers: `name: value\r\n` each, values byte for byte.
fn provider_headers(block: &[u8]) -> Result<HeaderMap, String> {
    let damaged = || "the stored headers are damaged".to_owned();
    let mut headers = HeaderMap::new();
    let mut rest = block;
    while !rest.is_empty() {
        let end = rest
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .ok_or_else(damaged)?;
        let line = &rest[..end];
        let colon = line
            .windows(2)
            .position(|pair| pair == b": ")
            .ok_or_else(damaged)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| damaged())?;
        let value = HeaderValue::from_bytes(&line[colon + 2..]).map_err(|_| damaged())?;
        headers.append(name, value);
        rest = &rest[end + 2..];
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
