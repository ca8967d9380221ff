//! The request of an attempt.

use std::borrow::Cow;

use ureq::http::header::{HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Method, Request};

use crate::clock::Timestamp;
use crate::config::{DestinationPolicy, Secret};
use crate::delivery::attempt::Sent;
use crate::model::Surface;
use crate::model::request::{is_of_this_hop, stored_headers, without_underscores};
use crate::store::OutboundMessage;

/// Makes `webhook-signature` from secrets, id, Unix seconds and body.
pub(in crate::delivery::levels) type Sign = fn(&[Secret], &str, i64, &[u8]) -> String;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
/// The provider's id of the event, if relay's own takes its place.
const SOURCE_ID: &str = "relay-source-webhook-id";

/// Builds the request. An error says why there can be none.
pub(super) fn build<'a>(
    message: &'a OutboundMessage,
    sent: &Sent<'_>,
    now: Timestamp,
    sign: Option<Sign>,
) -> Result<Request<&'a [u8]>, String> {
    let policy = &sent.target.policy;
    let url = target_url(policy, message)?;
    let mut headers = provider_headers(&message.headers)?;
    let signing = (policy.secrets.as_slice(), sign);
    set_webhook_headers(&mut headers, (&sent.id, &message.body), signing, now)?;
    headers.insert("relay-attempt", HeaderValue::from(sent.number));
    let accepted_at = HeaderValue::from(message.created_at.as_seconds());
    headers.insert("relay-accepted-at", accepted_at);
    if let Some(event_type) = event_type(message)? {
        headers.insert("relay-event-type", event_type);
    }
    for (name, value) in &policy.headers {
        let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
        let mut value = HeaderValue::try_from(value.reveal()).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        remove_lookalikes(&mut headers, &name);
        headers.insert(name, value);
    }

    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&*url)
        .body(message.body.as_slice())
        .map_err(|error| format!("the request can't be made: {error}"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Removes a sender's headers that a receiver may take for this one of the operator's.
fn remove_lookalikes(headers: &mut HeaderMap, own: &HeaderName) {
    let read_as = without_underscores(own);
    let is_alike = |name: &&HeaderName| *name != own && without_underscores(name) == read_as;
    let alike: Vec<HeaderName> = headers.keys().filter(is_alike).cloned().collect();
    for name in alike {
        headers.remove(name);
    }
}

/// The bytes of the longest line of a request's head: ureq writes a line whole, or not at all, and
/// the last one with the end of the head.
pub(super) fn longest_line<T>(request: &Request<T>) -> usize {
    // `POST`, two spaces, the version and the end of the line.
    let path = request.uri().path_and_query();
    let first = path.map_or(1, |path| path.as_str().len()) + "POST  HTTP/1.1\r\n".len();
    let headers = request.headers().iter();
    let lines = headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n\r\n".len());
    lines.fold(first, usize::max)
}

/// Sets the headers of Standard Webhooks. Without secrets a provider's own signature stays, since
/// it still verifies downstream; relay's headers then have a prefix.
fn set_webhook_headers(
    headers: &mut HeaderMap,
    (id, body): (&str, &[u8]),
    (secrets, sign): (&[Secret], Option<Sign>),
    now: Timestamp,
) -> Result<(), String> {
    let provider_signs = [ID, TIMESTAMP, SIGNATURE]
        .iter()
        .any(|name| headers.contains_key(*name));
    let prefix = if secrets.is_empty() && provider_signs {
        "relay-"
    } else {
        // A receiver that knows the provider's events by their ids still finds them.
        if let Some(id) = headers.remove(ID) {
            headers.insert(SOURCE_ID, id);
        }
        for name in [TIMESTAMP, SIGNATURE] {
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
    let seconds = now.as_seconds();
    set(ID, id)?;
    set(TIMESTAMP, &seconds.to_string())?;
    if let Some(sign) = sign
        && !secrets.is_empty()
    {
        set(SIGNATURE, &sign(secrets, id, seconds, body))?;
    }
    Ok(())
}

/// The URL: the destination's own or the relay's, with the event's query if that is appended. The
/// configuration's check refuses a URL that has a query; one that was configured later keeps its
/// own.
fn target_url<'a>(
    policy: &'a DestinationPolicy,
    message: &'a OutboundMessage,
) -> Result<Cow<'a, str>, String> {
    let url = match (&policy.url, &message.url) {
        (Some(url), _) => url.as_str(),
        (None, Some(url)) => url,
        (None, None) => {
            return Err("there is no URL: the destination is no longer configured".to_owned());
        }
    };
    Ok(match &message.query {
        Some(query) => {
            let separator = if url.contains('?') { '&' } else { '?' };
            format!("{url}{separator}{query}").into()
        }
        None => url.into(),
    })
}

/// A relay's event type, or that of an event which has one.
fn event_type(message: &OutboundMessage) -> Result<Option<HeaderValue>, String> {
    let event_type = match message.surface {
        Surface::Relay => Some(&message.label),
        Surface::Event => message.event_type.as_ref(),
    };
    // A header's value takes any UTF-8 but control characters, which the API refuses.
    event_type
        .map(|text| HeaderValue::from_bytes(text.as_bytes()))
        .transpose()
        .map_err(|error| format!("the event type can't be a header: {error}"))
}

/// The stored headers, as far as a destination gets them.
fn provider_headers(block: &[u8]) -> Result<HeaderMap, String> {
    let stored = stored_headers(block).ok_or("the stored headers are damaged")?;
    let mut headers = HeaderMap::new();
    for (name, value) in stored {
        // An imported event may have any, and an older version stored some.
        if !is_of_this_hop(&name) {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
