//! The relay API: `/v1/relays`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::exchange::{Exchange, json};
use super::ingress::Key;
use super::problem::{Form, Problem};
use super::{App, Request, Response, body};
use crate::clock::Timestamp;
use crate::model::{DeliveryState, IntentId, Surface, TargetUrl};
use crate::store::{Accept, Accepted, IdempotencyKey, RelayRow, StoreError};

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// What the contract freezes, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 128;
const MAX_EVENT_TYPE: usize = 128;
const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
/// What a page token begins with, so that one of another kind is told apart.
const TOKEN_PREFIX: &str = "r1-";

/// Authenticates, takes a token, and answers; whatever the answer, it then says how the bucket
/// stands.
pub(super) async fn answer(
    app: &App,
    exchange: &Exchange,
    id: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let Some(key) = app.ingress.authenticate(request.headers()) else {
        return Err(Problem::unauthorized());
    };
    let standing = app.ingress.spend(key, request.method());
    let result = if !standing.passes {
        app.metrics.rate_limited(Surface::Relay);
        Err(Problem::rate_limited(standing.reset))
    } else if let Some(id) = id {
        show(app, exchange, id).await
    } else if *request.method() == Method::POST {
        create(app, exchange, key, request).await
    } else {
        list(app, exchange, request.uri().query()).await
    };
    let mut response = result.unwrap_or_else(|problem| problem.respond(Form::Relay, exchange.id()));
    standing.write_to(response.headers_mut());
    Ok(response)
}

async fn create(
    app: &App,
    exchange: &Exchange,
    api_key: &Key,
    request: Request,
) -> Result<Response, Problem> {
    check_content_type(request.headers())?;
    let key = idempotency_key(request.headers())?;
    let limit = app.config.server.max_body_bytes;
    let bytes = body::read(request.into_body(), limit, exchange.deadline).await?;
    let create = Create::parse(&bytes)?;
    if let Some(address) = create.url.literal_address()
        && !app.addresses.allows(address)
    {
        return Err(Problem::invalid(
            "destination.url",
            format!(
                "destination.url leads to {address}: expected a public address, or one in delivery.allow_networks"
            ),
        ));
    }
    let payload = create.payload;
    let op = Accept {
        surface: Surface::Relay,
        label: create.event_type.clone(),
        url: Some(create.url.as_str().to_owned()),
        destinations: Arc::from([create.url.origin().to_owned()]),
        headers: b"content-type: application/json\r\n".to_vec(),
        metadata: create.metadata.map(|metadata| metadata.get().to_owned()),
        body: bytes.slice_ref(payload.get().as_bytes()),
        key: key.map(|key| IdempotencyKey::of_relay(api_key.text(), key, &bytes)),
        window: app.config.api.idempotency_window,
    };
    match exchange.wait(app.store.accept(op)).await? {
        Accepted::New(id, created_at) => {
            app.metrics.accepted(Surface::Relay);
            log::debug!(event_id:% = id, request_id = exchange.id(), event_type = create.event_type.as_str(); "accepted a relay");
            Ok(created(&Relay {
                id,
                event_type: &create.event_type,
                destination: Webhook::to(create.url.as_str()),
                payload,
                metadata: create.metadata,
                status: DeliveryState::Queued.relay_name(),
                created_at,
                delivered_at: None,
                failure_reason: None,
            }))
        }
        Accepted::Duplicate(id) => {
            app.metrics.duplicate(Surface::Relay);
            log::debug!(event_id:% = id, request_id = exchange.id(); "the key names an earlier relay");
            let row = find(app, exchange, id).await?.ok_or_else(|| {
                let lost =
                    StoreError::Unexpected(format!("a key names relay {id}, which isn't there"));
                Problem::from_store(&lost, exchange.id())
            })?;
            Ok(created(&Relay::of(&row, exchange)?))
        }
        Accepted::Conflict => Err(Problem::conflict()),
    }
}

fn created(relay: &Relay<'_>) -> Response {
    let mut response = json(StatusCode::CREATED, relay);
    let location = HeaderValue::try_from(format!("/v1/relays/{}", relay.id))
        .expect("a UUID is a header's value");
    response.headers_mut().insert(LOCATION, location);
    response
}

async fn find(app: &App, exchange: &Exchange, id: IntentId) -> Result<Option<RelayRow>, Problem> {
    exchange
        .wait(app.store.read(move |sql| RelayRow::find(sql, id)))
        .await
}

async fn show(app: &App, exchange: &Exchange, id: &str) -> Result<Response, Problem> {
    let unknown = || Problem::not_found("there is no relay of this id");
    // The `evt_` form names events only.
    if id.starts_with("evt_") {
        return Err(unknown());
    }
    let id = id.parse().map_err(|_| unknown())?;
    let row = find(app, exchange, id).await?.ok_or_else(unknown)?;
    Ok(json(StatusCode::OK, &Relay::of(&row, exchange)?))
}

async fn list(app: &App, exchange: &Exchange, query: Option<&str>) -> Result<Response, Problem> {
    let Page { size, after } = Page::parse(query.unwrap_or_default())?;
    // One more than asked for tells whether there is a next page.
    let mut rows = exchange
        .wait(
            app.store
                .read(move |sql| RelayRow::page(sql, after, size + 1)),
        )
        .await?;
    let has_more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = rows
        .last()
        .filter(|_| has_more)
        .map(|last| format!("{TOKEN_PREFIX}{:015x}", last.id.row()));
    let items = rows
        .iter()
        .map(|row| Relay::of(row, exchange))
        .collect::<Result<_, _>>()?;
    Ok(json(
        StatusCode::OK,
        &List {
            items,
            next_page_token,
        },
    ))
}

/// A `Content-Type` that is there must be JSON; its parameters don't matter, since JSON is UTF-8.
fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json && values.next().is_none() {
        Ok(())
    } else {
        Err(Problem::media_type())
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() || text.len() > MAX_IDEMPOTENCY_KEY || values.next().is_some() {
        return Err(Problem::invalid(
            IDEMPOTENCY_KEY,
            "Idempotency-Key: expected one header of 1 to 128 visible ASCII characters",
        ));
    }
    Ok(Some(text.to_owned()))
}

/// A create request, checked.
struct Create<'a> {
    event_type: String,
    url: TargetUrl,
    payload: &'a RawValue,
    metadata: Option<&'a RawValue>,
}

/// The members as they stand in the body. Each is looked at by itself afterwards, so that an error
/// names it; the payload never is: it is kept byte for byte.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    destination: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationMembers<'a> {
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "as_it_stands")]
    url: Option<&'a RawValue>,
}

/// A member that is there, be it `null`.
fn as_it_stands<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Create<'a> {
    fn parse(bytes: &'a Bytes) -> Result<Self, Problem> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Problem::malformed("the body is not UTF-8: expected a JSON object"))?;
        let members: Members<'_> = object("the body", None, text)?;

        let event_type = string("eventType", members.event_type)?;
        let event_type = event_type.trim();
        let is_long = event_type.chars().count() > MAX_EVENT_TYPE;
        if event_type.is_empty() || is_long || event_type.chars().any(char::is_control) {
            return Err(Problem::invalid(
                "eventType",
                "eventType: expected 1 to 128 characters without control characters",
            ));
        }

        let destination = required("destination", members.destination)?;
        let destination: DestinationMembers<'_> =
            object("destination", Some("destination"), destination.get())?;
        if string("destination.type", destination.r#type)? != "webhook" {
            return Err(Problem::invalid(
                "destination.type",
                "destination.type: expected \"webhook\"",
            ));
        }
        let url = string("destination.url", destination.url)?
            .parse()
            .map_err(|error| {
                Problem::invalid("destination.url", format!("destination.url {error}"))
            })?;

        let payload = required("payload", members.payload)?;
        if !payload.get().starts_with('{') {
            return Err(Problem::invalid(
                "payload",
                "payload: expected a JSON object",
            ));
        }
        if let Some(metadata) = members.metadata {
            check_metadata(metadata)?;
        }
        Ok(Self {
            event_type: event_type.to_owned(),
            url,
            payload,
            metadata: members.metadata,
        })
    }
}

/// An object of known members. serde would take an array for a struct too; JSON wouldn't.
fn object<'a, T: Deserialize<'a>>(
    name: &str,
    member: Option<&str>,
    text: &'a str,
) -> Result<T, Problem> {
    let problem = |message: String| match member {
        Some(member) => Problem::invalid(member, message),
        None => Problem::malformed(message),
    };
    let blank = [' ', '\t', '\r', '\n'];
    if !text.trim_start_matches(blank).starts_with('{') {
        return Err(problem(format!("{name}: expected a JSON object")));
    }
    serde_json::from_str(text).map_err(|error| {
        // serde_json's messages name the member and the place, and nothing of ours.
        problem(format!("{name}: {error}"))
    })
}

fn required<'a>(member: &str, value: Option<&'a RawValue>) -> Result<&'a RawValue, Problem> {
    value.ok_or_else(|| Problem::invalid(member, format!("{member}: missing, and required")))
}

fn string<'a>(member: &str, value: Option<&'a RawValue>) -> Result<Cow<'a, str>, Problem> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    serde_json::from_str::<Text<'_>>(required(member, value)?.get())
        .map(|text| text.0)
        .map_err(|_| Problem::invalid(member, format!("{member}: expected a string")))
}

fn check_metadata(metadata: &RawValue) -> Result<(), Problem> {
    let all: BTreeMap<Cow<'_, str>, &RawValue> =
        object("metadata", Some("metadata"), metadata.get())?;
    for (name, value) in all {
        if !value.get().starts_with('"') {
            return Err(Problem::invalid(
                &format!("metadata.{name}"),
                format!("metadata.{name}: expected a string"),
            ));
        }
    }
    Ok(())
}

/// Which part of the list is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    size: u32,
    after: i64,
}

impl Page {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut size = None;
        let mut after = None;
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let once = |seen: bool| {
                if seen {
                    Err(Problem::invalid(name, format!("{name}: expected once")))
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
                        Problem::invalid(
                            "pageSize",
                            "pageSize: expected a whole number from 1 to 200",
                        )
                    })?);
                }
                "pageToken" => {
                    once(after.is_some())?;
                    after = Some(Self::token(value).ok_or_else(|| {
                        Problem::invalid(
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    items: Vec<Relay<'a>>,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relay<'a> {
    #[serde(serialize_with = "as_text")]
    id: IntentId,
    event_type: &'a str,
    destination: Webhook<'a>,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
    status: &'static str,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Webhook<'a> {
    r#type: &'static str,
    url: &'a str,
}

impl<'a> Webhook<'a> {
    fn to(url: &'a str) -> Self {
        Self {
            r#type: "webhook",
            url,
        }
    }
}

fn as_text<S: serde::Serializer>(id: &IntentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl<'a> Relay<'a> {
    fn of(row: &'a RelayRow, exchange: &Exchange) -> Result<Self, Problem> {
        let damaged = |what: &str| {
            let error = StoreError::Unexpected(format!("{what} of relay {} isn't JSON", row.id));
            Problem::from_store(&error, exchange.id())
        };
        Ok(Self {
            id: row.id,
            event_type: &row.event_type,
            destination: Webhook::to(&row.url),
            payload: serde_json::from_slice(&row.payload).map_err(|_| damaged("the payload"))?,
            metadata: row
                .metadata
                .as_deref()
                .map(serde_json::from_str)
                .transpose()
                .map_err(|_| damaged("the metadata"))?,
            status: row.state.relay_name(),
            created_at: row.created_at,
            delivered_at: (row.state == DeliveryState::Delivered).then_some(row.updated_at),
            failure_reason: row
                .last_error
                .as_deref()
                .filter(|_| row.state == DeliveryState::DeadLettered),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: &str) -> String {
        match Create::parse(&Bytes::copy_from_slice(body.as_bytes())) {
            Ok(_) => "fine".to_owned(),
            Err(problem) => format!("{problem:?}"),
        }
    }

    #[test]
    fn bad_requests_name_the_member() {
        let destination = r#""destination":{"type":"webhook","url":"http://example.com/"}"#;
        for (body, expected) in [
            (String::new(), "the body: expected a JSON object"),
            ("[]".to_owned(), "the body: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}}}}"#), "fine"),
            (format!(r#"{{{destination},"payload":{{}}}}"#), "eventType: missing"),
            (format!(r#"{{"eventType":5,{destination},"payload":{{}}}}"#), "eventType: expected a string"),
            (format!(r#"{{"eventType":" ",{destination},"payload":{{}}}}"#), "eventType: expected 1 to 128"),
            (format!(r#"{{"eventType":"a","eventType":"b",{destination},"payload":{{}}}}"#), "duplicate field `eventType`"),
            (format!(r#"{{"eventType":"a",{destination},"payload":[]}}"#), "payload: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination}}}"#), "payload: missing"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"extra":1}}"#), "unknown field `extra`"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}}}} x"#), "trailing characters"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":{{"k":1}}}}"#), "metadata.k: expected a string"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":[]}}"#), "metadata: expected a JSON object"),
            (format!(r#"{{"eventType":"a",{destination},"payload":{{}},"metadata":null}}"#), "metadata: expected a JSON object"),
            (r#"{"eventType":"a","destination":["webhook","http://x/"],"payload":{}}"#.to_owned(), "destination: expected a JSON object"),
            (r#"{"eventType":"a","destination":{"type":"queue","url":"http://x/"},"payload":{}}"#.to_owned(), "destination.type: expected"),
            (r#"{"eventType":"a","destination":{"type":"webhook","url":"/x"},"payload":{}}"#.to_owned(), "destination.url must be an absolute"),
            (r#"{"eventType":"a","destination":{"type":"webhook","url":"http://x/","more":1},"payload":{}}"#.to_owned(), "unknown field `more`"),
        ] {
            assert!(message(&body).contains(expected), "{body}\n{}", message(&body));
        }
    }

    #[test]
    fn deep_nesting_is_neither_a_crash_nor_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let body = format!(
            r#"{{"eventType":"a","destination":{{"type":"webhook","url":"http://x/"}},"payload":{{"a":{deep}}}}}"#
        );
        assert_eq!(message(&body), "fine");
    }

    #[test]
    fn pages_are_bounded_and_tokens_ours() {
        let page = |query: &str| Page::parse(query).ok().map(|page| (page.size, page.after));
        assert_eq!(page(""), Some((50, -1)));
        assert_eq!(page("pageSize=200&x=1"), Some((200, -1)));
        assert_eq!(page("pageToken=r1-00000000000002a"), Some((50, 42)));
        for query in [
            "pageSize=0",
            "pageSize=201",
            "pageSize=",
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
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Create::parse(&Bytes::from(body));
        }

        #[test]
        fn no_query_panics(query in ".*") {
            let _ = Page::parse(&query);
        }
    }
}
