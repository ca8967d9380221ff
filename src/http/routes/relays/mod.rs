//! The relay API: `/v1/relays`.

mod create_request;
mod page;
mod view;

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::clock::Timestamp;
use crate::http::admission::ApiKey;
use crate::http::api_error::{ApiError, ErrorFormat};
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::offload::INLINE;
use crate::http::request_context::RequestContext;
use crate::http::response::{Response, json};
use crate::http::routes::idempotency;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::store::{
    Accept, Accepted, IdempotencyKey, MAX_WAITING_ORIGINS, Owner, RelayRow, StoreError,
};
use create_request::{Create, check_content_type};
use page::{Page, token_after};
use view::{List, Relay, Webhook};

/// Authenticates, takes a token, and answers; whatever the answer, it then says how the bucket
/// stands.
pub(in crate::http) async fn answer(
    app: &App,
    context: &RequestContext,
    id: Option<&str>,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let Some(key) = app.api_keys.authenticate(&head.headers) else {
        return Err(ApiError::unauthorized());
    };
    let rate = key.take_token(&head.method);
    let result = if !rate.is_allowed {
        app.metrics.rate_limited(Surface::Relay);
        Err(ApiError::rate_limited(rate.reset))
    } else if let Some(id) = id {
        show(app, context, id).await
    } else if head.method == Method::POST {
        create(app, context, key, &head.headers, body).await
    } else {
        list(app, context, head.uri.query()).await
    };
    let mut response =
        result.unwrap_or_else(|problem| problem.respond(ErrorFormat::Relay, context.id()));
    rate.write_to(response.headers_mut());
    Ok(response)
}

async fn create(
    app: &App,
    context: &RequestContext,
    api_key: &ApiKey,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response, ApiError> {
    check_content_type(headers)?;
    let key = idempotency::of_relay(headers)?;
    let limit = app.config.server.max_body_bytes;
    let bytes = body.read(limit, context.deadline).await?;
    let digest = key.map(|key| (api_key.text().to_owned(), key));
    let Checked { create, body, key } = if bytes.len() <= INLINE {
        check(&bytes, digest)?
    } else {
        let work = move || Ok(check(&bytes, digest)?.into_owned());
        app.offload.run(context, work).await??
    };
    if let Some(address) = create.url.literal_address()
        && !app.addresses.allows(address)
    {
        return Err(ApiError::invalid(
            "destination.url",
            format!(
                "destination.url leads to {address}: expected a public address, or one in delivery.allow_networks"
            ),
        ));
    }
    let op = Accept {
        surface: Surface::Relay,
        label: create.event_type.clone(),
        url: Some(create.url.as_str().to_owned()),
        destinations: Arc::from([create.url.origin().to_owned()]),
        owner: Some(Owner::of(api_key.text())),
        headers: b"content-type: application/json\r\n".to_vec(),
        metadata: create.metadata.as_ref().map(|text| text.get().to_owned()),
        body,
        key,
        window: app.config.api.idempotency_window,
    };
    match context.wait(app.store.accept(op)).await? {
        Accepted::New(id, created_at) => {
            log::debug!(event_id:% = id, request_id = context.id(), event_type = create.event_type.as_str(); "accepted a relay");
            if create.payload.get().len() <= INLINE {
                return Ok(new(&create, id, created_at));
            }
            let create = create.into_owned();
            let work = move || new(&create, id, created_at);
            app.offload.run(context, work).await
        }
        Accepted::Duplicate(id) => {
            log::debug!(event_id:% = id, request_id = context.id(); "the key names an earlier relay");
            let row = find(app, context, id).await?.ok_or_else(|| {
                let lost =
                    StoreError::Unexpected(format!("a key names relay {id}, which isn't there"));
                ApiError::from_store(&lost, context.id())
            })?;
            shown(app, context, row, created).await
        }
        Accepted::Conflict => Err(ApiError::conflict()),
        Accepted::TooManyOrigins => Err(ApiError::too_many_origins(MAX_WAITING_ORIGINS)),
    }
}

/// A create request whose whole body was looked at.
struct Checked<'a> {
    create: Create<'a>,
    /// The payload's bytes.
    body: Bytes,
    key: Option<IdempotencyKey>,
}

impl Checked<'_> {
    fn into_owned(self) -> Checked<'static> {
        Checked {
            create: self.create.into_owned(),
            body: self.body,
            key: self.key,
        }
    }
}

/// Checks a request's body; `key` is its API key and its idempotency key.
fn check(bytes: &Bytes, key: Option<(String, String)>) -> Result<Checked<'_>, ApiError> {
    let create = Create::parse(bytes)?;
    let body = bytes.slice_ref(create.payload.get().as_bytes());
    let key = key.map(|(api_key, key)| IdempotencyKey::of_relay(&api_key, key, bytes));
    Ok(Checked { create, body, key })
}

/// The answer to a request that made a relay.
fn new(create: &Create<'_>, id: IntentId, created_at: Timestamp) -> Response {
    created(&Relay {
        id,
        event_type: &create.event_type,
        destination: Webhook::to(create.url.as_str()),
        payload: &create.payload,
        metadata: create.metadata.as_deref(),
        status: DeliveryState::Queued.relay_name(),
        created_at,
        delivered_at: None,
        failure_reason: None,
    })
}

/// An answer with a stored relay; a large one is written on another thread.
async fn shown(
    app: &App,
    context: &RequestContext,
    row: RelayRow,
    answer: fn(&Relay<'_>) -> Response,
) -> Result<Response, ApiError> {
    let id = context.id().to_owned();
    let is_large = row.size() > INLINE;
    let work = move || Ok(answer(&Relay::of(&row, &id)?));
    if is_large {
        app.offload.run(context, work).await?
    } else {
        work()
    }
}

fn created(relay: &Relay<'_>) -> Response {
    let mut response = json(StatusCode::CREATED, relay);
    let location = HeaderValue::try_from(format!("/v1/relays/{}", relay.id))
        .expect("a UUID is a header's value");
    response.headers_mut().insert(LOCATION, location);
    response
}

async fn find(
    app: &App,
    context: &RequestContext,
    id: IntentId,
) -> Result<Option<RelayRow>, ApiError> {
    context
        .wait(app.store.read(move |sql| RelayRow::find(sql, id)))
        .await
}

async fn show(app: &App, context: &RequestContext, id: &str) -> Result<Response, ApiError> {
    let unknown = || ApiError::not_found("there is no relay of this id");
    // The `evt_` form names events only.
    if id.starts_with("evt_") {
        return Err(unknown());
    }
    let id = id.parse().map_err(|_| unknown())?;
    let row = find(app, context, id).await?.ok_or_else(unknown)?;
    shown(app, context, row, |relay| json(StatusCode::OK, relay)).await
}

async fn list(
    app: &App,
    context: &RequestContext,
    query: Option<&str>,
) -> Result<Response, ApiError> {
    let Page { size, after } = Page::parse(query.unwrap_or_default())?;
    let (rows, has_more) = context
        .wait(app.store.read(move |sql| RelayRow::page(sql, after, size)))
        .await?;
    let id = context.id().to_owned();
    let is_large = rows.iter().map(RelayRow::size).sum::<usize>() > INLINE;
    let work = move || {
        let next_page_token = rows
            .last()
            .filter(|_| has_more)
            .map(|last| token_after(last.id));
        let items = rows
            .iter()
            .map(|row| Relay::of(row, &id))
            .collect::<Result<_, _>>()?;
        let list = List {
            items,
            next_page_token,
        };
        Ok(json(StatusCode::OK, &list))
    };
    if is_large {
        app.offload.run(context, work).await?
    } else {
        work()
    }
}
