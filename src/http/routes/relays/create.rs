//! `POST /v1/relays`.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};

use crate::clock::Timestamp;
use crate::http::admission::ApiKey;
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::offload::MAX_INLINE_BYTES;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::idempotency;
use crate::http::routes::relays::create_request::{CreateRequest, check_content_type};
use crate::http::routes::relays::show::{find, respond};
use crate::http::routes::relays::view::{RelayView, WebhookDestination};
use crate::model::{DeliveryState, IntentId, Surface};
use crate::store::{
    Accept, Accepted, Duplicate, IdempotencyKey, MAX_WAITING_ORIGINS, Owner, StoreError,
};

pub(super) async fn create(
    app: &App,
    context: &RequestContext,
    api_key: &ApiKey,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response, ApiError> {
    check_content_type(headers)?;
    let key = idempotency::relay_key(headers)?;
    let limit = app.config.server.max_body_bytes;
    let bytes = body.read(limit, context.deadline).await?;
    let key = key.map(|key| (api_key.text().to_owned(), key));
    let checked = if bytes.len() <= MAX_INLINE_BYTES {
        check(&bytes, key)?
    } else {
        let work = move || Ok(check(&bytes, key)?.into_owned());
        app.offload.run(context, work).await??
    };
    check_address(app, &checked.request)?;
    accept(app, context, api_key, stored_headers(headers), checked).await
}

/// The headers that a relay is delivered with: its type, and the client's place in a distributed
/// trace (W3C Trace Context), as it was sent.
fn stored_headers(headers: &HeaderMap) -> Vec<u8> {
    let mut stored = b"content-type: application/json\r\n".to_vec();
    for name in ["traceparent", "tracestate"] {
        for value in headers.get_all(name) {
            stored.extend_from_slice(name.as_bytes());
            stored.extend_from_slice(b": ");
            stored.extend_from_slice(value.as_bytes());
            stored.extend_from_slice(b"\r\n");
        }
    }
    stored
}

/// A create request after its whole body was checked.
struct CheckedRequest<'a> {
    request: CreateRequest<'a>,
    /// The payload's bytes.
    payload: Bytes,
    key: Option<IdempotencyKey>,
}

impl CheckedRequest<'_> {
    fn into_owned(self) -> CheckedRequest<'static> {
        CheckedRequest {
            request: self.request.into_owned(),
            payload: self.payload,
            key: self.key,
        }
    }
}

/// Checks a request's body; `key` is its API key and its idempotency key.
fn check(bytes: &Bytes, key: Option<(String, String)>) -> Result<CheckedRequest<'_>, ApiError> {
    let request = CreateRequest::parse(bytes)?;
    let payload = bytes.slice_ref(request.payload.get().as_bytes());
    let key = key.map(|(api_key, key)| IdempotencyKey::of_relay(&api_key, key, bytes));
    Ok(CheckedRequest {
        request,
        payload,
        key,
    })
}

/// Refuses a URL with a literal address that may not be dialled. A host name is checked when it is
/// resolved.
fn check_address(app: &App, request: &CreateRequest<'_>) -> Result<(), ApiError> {
    match request.url.literal_address() {
        Some(address) if !app.addresses.allows(address) => Err(ApiError::invalid(
            "destination.url",
            format!(
                "destination.url leads to {address}: expected a public address, \
                 or one in delivery.allow_networks"
            ),
        )),
        _ => Ok(()),
    }
}

/// Has the relay stored, and answers once it is durable.
async fn accept(
    app: &App,
    context: &RequestContext,
    api_key: &ApiKey,
    headers: Vec<u8>,
    checked: CheckedRequest<'_>,
) -> Result<Response, ApiError> {
    let CheckedRequest {
        request,
        payload,
        key,
    } = checked;
    let op = Accept {
        surface: Surface::Relay,
        label: request.event_type.clone(),
        url: Some(request.url.as_str().to_owned()),
        event_type: None,
        query: None,
        destinations: Arc::from([request.url.origin().to_owned()]),
        order_keys: Vec::new(),
        owner: Some(Owner::of(api_key.text())),
        headers,
        metadata: request.metadata.as_ref().map(|text| text.get().to_owned()),
        body: payload,
        key,
        window: app.config.api.idempotency_window,
    };
    match context.wait(app.store.accept(op)).await? {
        Accepted::New(id, created_at) => {
            let event_type = request.event_type.as_str();
            log::debug!(
                event_id:% = id, request_id = context.id(), event_type;
                "accepted a relay"
            );
            if request.payload.get().len() <= MAX_INLINE_BYTES {
                return Ok(new(&request, id, created_at));
            }
            let request = request.into_owned();
            let work = move || new(&request, id, created_at);
            app.offload.run(context, work).await
        }
        Accepted::Duplicate(Duplicate { id, .. }) => {
            log::debug!(
                event_id:% = id, request_id = context.id();
                "the key names an earlier relay"
            );
            let row = find(app, context, id).await?.ok_or_else(|| {
                let lost =
                    StoreError::Unexpected(format!("a key names relay {id}, which isn't there"));
                ApiError::from_store(&lost, context.id())
            })?;
            respond(app, context, row, created).await
        }
        Accepted::Conflict => Err(ApiError::conflict()),
        Accepted::TooManyOrigins => Err(ApiError::too_many_origins(MAX_WAITING_ORIGINS)),
    }
}

/// The response to a request that made a new relay.
fn new(request: &CreateRequest<'_>, id: IntentId, created_at: Timestamp) -> Response {
    created(&RelayView {
        id,
        event_type: &request.event_type,
        destination: WebhookDestination::to(request.url.as_str()),
        payload: &request.payload,
        metadata: request.metadata.as_deref(),
        status: DeliveryState::Queued.relay_name(),
        created_at,
        delivered_at: None,
        failure_reason: None,
    })
}

fn created(relay: &RelayView<'_>) -> Response {
    let mut response = json(StatusCode::CREATED, relay);
    let location = HeaderValue::try_from(format!("/v1/relays/{}", relay.id))
        .expect("a UUID is a header's value");
    response.headers_mut().insert(LOCATION, location);
    response
}
