//! An event's state: `GET /events/{id}`. The route is public: without a valid API key it shows
//! neither what a destination answered nor where it is.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, VARY};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::offload::INLINE;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::webhooks::event_id;
use crate::model::{DeliveryState, Failure, Surface};
use crate::ops::status_text::{describe, next_retry_at};
use crate::store::{AttemptRow, DeliveryRow, IntentRow};

pub(in crate::http) async fn show(
    app: &App,
    context: &RequestContext,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::not_found("there is no event of this id");
    if !id.starts_with("evt_") {
        return Err(unknown());
    }
    let id = id.parse().map_err(|_| unknown())?;
    let mut row = context
        .wait(
            app.store
                .read(move |sql| IntentRow::find(sql, id, Some(Surface::Event))),
        )
        .await?
        .ok_or_else(unknown)?;
    // A key that isn't valid is as good as none: the route answers everybody.
    if app.api_keys.authenticate(headers).is_none() {
        row.deliveries = row.deliveries.into_iter().map(public_delivery).collect();
    }
    let (config, now) = (Arc::clone(&app.config), app.clock.now());
    let is_large = row.size() > INLINE;
    let work = move || json(StatusCode::OK, &Event::of(&row, &config, now));
    let mut response = if is_large {
        app.offload.run(context, work).await?
    } else {
        work()
    };
    // A cache must not hand out what a key has brought.
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("X-API-Key"));
    Ok(response)
}

/// The error of a delivery or an attempt whose class isn't recorded.
const UNKNOWN_CLASS: &str = "failed";

/// The delivery as anybody may see it: states, counts, times and status codes. All fields are
/// named, so that a new one can't be shown without a decision.
fn public_delivery(row: DeliveryRow) -> DeliveryRow {
    let DeliveryRow {
        destination,
        state,
        attempts,
        next_attempt_at,
        updated_at,
        last_error,
        paused,
        held_until,
        probe_at,
        history,
    } = row;
    let history: Vec<_> = history.into_iter().map(public_attempt).collect();
    let last_class = history.iter().rev().find_map(|entry| entry.error.clone());
    DeliveryRow {
        destination,
        state,
        attempts,
        next_attempt_at,
        updated_at,
        last_error: last_error.map(|_| last_class.unwrap_or_else(|| UNKNOWN_CLASS.to_owned())),
        // The reason is an operator's own text.
        paused: paused.map(|_| String::new()),
        held_until,
        probe_at,
        history,
    }
}

/// The same for one entry of the history.
fn public_attempt(row: AttemptRow) -> AttemptRow {
    let AttemptRow {
        attempt,
        started_at,
        duration_ms,
        outcome,
        status_code,
        error,
        response: _,
        failure,
        address: _,
        resolve_ms,
        connect_ms,
        first_byte_ms,
        next: _,
    } = row;
    let class = match failure.as_deref().and_then(Failure::from_name) {
        Some(failure) => failure.class(status_code),
        // An interruption has no kind.
        None if outcome == "interrupted" => outcome.to_owned(),
        None => UNKNOWN_CLASS.to_owned(),
    };
    AttemptRow {
        attempt,
        started_at,
        duration_ms,
        outcome,
        status_code,
        error: error.map(|_| class),
        response: None,
        failure,
        address: None,
        resolve_ms,
        connect_ms,
        first_byte_ms,
        next: None,
    }
}

#[derive(Serialize)]
struct Event<'a> {
    id: String,
    source: &'a str,
    status: &'static str,
    attempts: u32,
    max_attempts: u32,
    last_error: Option<&'a str>,
    next_retry_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    payload: Payload<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_encoding: Option<&'static str>,
    status_description: String,
    deliveries: Vec<Delivery<'a>>,
}

/// A body as JSON if it is some, as a string if it is text, and in base64 otherwise.
#[derive(Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Base64(String),
}

impl<'a> Payload<'a> {
    fn of(bytes: &'a [u8]) -> (Self, Option<&'static str>) {
        if let Ok(document) = serde_json::from_slice(bytes) {
            return (Self::Json(document), None);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => (Self::Text(text), None),
            Err(_) => (Self::Base64(STANDARD.encode(bytes)), Some("base64")),
        }
    }
}

#[derive(Serialize)]
struct Delivery<'a> {
    destination: &'a str,
    status: &'static str,
    attempts: u32,
    max_attempts: u32,
    last_error: Option<&'a str>,
    next_retry_at: Option<Timestamp>,
    delivered_at: Option<Timestamp>,
    history: Vec<Attempt<'a>>,
}

#[derive(Serialize)]
struct Attempt<'a> {
    #[serde(rename = "attempt")]
    number: u32,
    started_at: Timestamp,
    duration_ms: i64,
    outcome: &'static str,
    status_code: Option<u16>,
    error: Option<&'a str>,
    response: Option<String>,
}

impl<'a> Event<'a> {
    fn of(row: &'a IntentRow, config: &Config, now: Timestamp) -> Self {
        let deliveries: Vec<_> = row
            .deliveries
            .iter()
            .map(|delivery| Delivery::of(delivery, config))
            .collect();
        // The least finished one speaks for all.
        let summary = row
            .deliveries
            .iter()
            .min_by_key(|delivery| delivery.state.summary_rank());
        let (payload, payload_encoding) = Payload::of(&row.payload);
        Self {
            id: event_id(row.id),
            source: &row.label,
            status: summary.map_or("queued", |delivery| delivery.state.name()),
            attempts: deliveries.iter().map(|d| d.attempts).max().unwrap_or(0),
            max_attempts: deliveries.iter().map(|d| d.max_attempts).max().unwrap_or(0),
            last_error: row
                .deliveries
                .iter()
                .filter(|delivery| delivery.last_error.is_some())
                .min_by_key(|delivery| delivery.state.summary_rank())
                .and_then(|delivery| delivery.last_error.as_deref()),
            next_retry_at: deliveries.iter().filter_map(|d| d.next_retry_at).min(),
            created_at: row.created_at,
            updated_at: row
                .deliveries
                .iter()
                .map(|delivery| delivery.updated_at)
                .max()
                .unwrap_or(row.created_at),
            payload,
            payload_encoding,
            status_description: summary.map_or_else(
                || "It has no destination.".to_owned(),
                |delivery| describe(delivery, config, now),
            ),
            deliveries,
        }
    }
}

impl<'a> Delivery<'a> {
    fn of(row: &'a DeliveryRow, config: &Config) -> Self {
        Self {
            destination: &row.destination,
            status: row.state.name(),
            attempts: row.attempts,
            max_attempts: config.retry(&row.destination).max_attempts(),
            last_error: row.last_error.as_deref(),
            next_retry_at: next_retry_at(row),
            delivered_at: (row.state == DeliveryState::Delivered).then_some(row.updated_at),
            history: row.history.iter().map(Attempt::of).collect(),
        }
    }
}

impl<'a> Attempt<'a> {
    fn of(row: &'a AttemptRow) -> Self {
        Self {
            number: row.attempt,
            started_at: row.started_at,
            duration_ms: row.duration_ms,
            outcome: row.outcome,
            status_code: row.status_code,
            error: row.error.as_deref(),
            response: row
                .response
                .as_deref()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}
