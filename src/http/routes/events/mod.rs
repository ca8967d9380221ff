//! An event's state: `GET /events/{id}`.
//!
//! - `redaction`: removes from it what only holders of an API key may see.
//! - `view`: an event as the route shows it.

mod redaction;
mod view;

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, VARY};

use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::ops::status_text::RelayState;
use redaction::redact;
use view::EventView;

pub(super) use view::event_id;

/// The route is public. Without a valid API key it shows neither a destination's answers nor its
/// addresses.
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
        .wait(app.store.event(id))
        .await?
        .ok_or_else(unknown)?;
    // An invalid key is treated as none, because the route is public.
    if app.api_keys.authenticate(headers).is_none() {
        row.deliveries = row.deliveries.into_iter().map(redact).collect();
    }
    let (config, now, is_held) = (
        Arc::clone(&app.config),
        app.clock.now(),
        app.store.is_held(),
    );
    let bytes = row.size();
    let work = move || {
        let relay = RelayState {
            config: &config,
            now,
            is_held,
        };
        json(StatusCode::OK, &EventView::new(&row, relay))
    };
    let mut response = app.offload.run_if_large(context, bytes, work).await?;
    // A cache must not give a response for a key to a client without one.
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("X-API-Key"));
    Ok(response)
}
