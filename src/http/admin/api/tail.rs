//! `GET /api/tail`: events and attempts as they happen, as server-sent events.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::admin::tails::MAX_QUEUED;
use crate::http::api_error::ApiError;
use crate::http::event_stream::EventStream;
use crate::http::response::{AdminBody, AdminResponse};
use crate::http::server::connection_slots::ConnectionState;
use crate::model::DeliveryState;
use crate::store::TailQuery;

/// Tells a proxy in front to pass each event on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) fn follow(
    call: &Call<'_>,
    connection: Arc<ConnectionState>,
) -> Result<AdminResponse, ApiError> {
    let (app, token) = (call.app, call.caller.token);
    let follower = app.tails.open(&app.store, query(call)?, token)?;
    let body = if call.head.method == Method::HEAD {
        AdminBody::from(Bytes::new())
    } else {
        let (to, stream) = EventStream::new(connection, MAX_QUEUED);
        tokio::spawn(follower.run(to));
        AdminBody::Stream(stream)
    };
    let mut response = AdminResponse::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn query(call: &Call<'_>) -> Result<TailQuery, ApiError> {
    let now = call.app.clock.now();
    let mut parameters = Parameters::parse(call.head.uri.query());
    let query = TailQuery {
        destination: parameters.take("destination")?,
        source: parameters.take("source")?,
        event_type: parameters.take("type")?,
        status: parameters.take_with("status", |text| DeliveryState::parse(text, &[]))?,
        since: parameters.time("since", now)?,
    };
    parameters.end()?;
    Ok(query)
}
