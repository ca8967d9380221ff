//! The route that accepts events.

use bytes::Bytes;
use hyper::http::request::Parts;

use crate::config::{ForwardQuery, RedeliveryAction, SourcePolicy};
use crate::http::api_error::ApiError;
use crate::http::app::App;
use crate::http::body::Body;
use crate::http::request_context::RequestContext;
use crate::http::response::Response;
use crate::http::routes::events::event_id;
use crate::http::routes::webhooks::admit::{Admitted, admit};
use crate::http::routes::webhooks::answer::answer;
use crate::http::routes::webhooks::check::EventFacts;
use crate::http::routes::webhooks::forwarded_headers::forwarded_headers;
use crate::http::routes::webhooks::forwarded_query::forwarded_query;
use crate::model::{Surface, is_name};
use crate::store::{Accept, Accepted, IdempotencyKey};

pub(in crate::http) async fn accept(
    app: &App,
    context: &RequestContext,
    name: &str,
    head: &Parts,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let source = Some(name)
        .filter(|name| is_name(name))
        .and_then(|name| app.config.source(name))
        .ok_or_else(|| {
            ApiError::not_found(
                "there is no such source: expected the name of a configured one, \
                 of 1 to 64 characters out of A-Z a-z 0-9 . _ -",
            )
        })?;
    let (facts, body) = match admit(app, context, name, source, head, body).await? {
        Admitted::Event(facts, body) => (facts, body),
        Admitted::Handshake(answer) => {
            let source = app.config.source_label(name);
            log::debug!(request_id = context.id(), source; "a handshake was answered");
            return Ok(answer);
        }
    };
    let is_unrouted = facts.destinations.is_empty();
    let op = operation(name, source, head, facts, body);
    let (id, status) = match context.wait(app.store.accept(op)).await? {
        Accepted::New(id, _) => {
            if is_unrouted {
                app.metrics.unrouted(app.config.source_label(name), 1);
            }
            (id, "accepted")
        }
        Accepted::Duplicate(duplicate) => {
            let source = app.config.source_label(name);
            let id = event_id(duplicate.id);
            if !duplicate.is_same_body && app.source_gates.may_warn_of_duplicate() {
                log::warn!(
                    event_id:% = id, request_id = context.id(), source;
                    "a request has the idempotency key of an event and other bytes: \
                     it is taken for a duplicate, and not delivered"
                );
            }
            if duplicate.replayed > 0 {
                log::info!(
                    event_id:% = id, request_id = context.id(), source,
                    deliveries = duplicate.replayed;
                    "a redelivery replays a dead-lettered event"
                );
            }
            (duplicate.id, "duplicate")
        }
        // An event's key is stored without a digest of the body, so that nothing can conflict.
        Accepted::Conflict => return Err(ApiError::conflict()),
        // Only events with an owner count towards the limit of origins, and these have none.
        Accepted::TooManyOrigins => return Err(ApiError::overloaded("too many origins wait")),
    };
    let event_id = event_id(id);
    log::debug!(
        event_id:% = event_id, request_id = context.id(), source = name, status;
        "a webhook event came in"
    );
    Ok(answer(source.answer.as_ref(), &event_id, status))
}

/// The write that records an event.
fn operation(
    name: &str,
    source: &SourcePolicy,
    head: &Parts,
    facts: EventFacts,
    body: Bytes,
) -> Accept {
    let query = match source.forward_query {
        ForwardQuery::Drop => None,
        _ => forwarded_query(head.uri.query(), &source.secret_query_fields),
    };
    let is_appended = source.forward_query == ForwardQuery::Append;
    let mut own = Vec::new();
    if let Some(query) = query.as_deref().filter(|_| !is_appended) {
        own.push(("relay-query", query));
    }
    if source.verify.is_some() {
        own.push(("relay-verified", name));
    }
    Accept {
        surface: Surface::Event,
        label: name.to_owned(),
        event_type: facts.event_type,
        url: None,
        query: query.as_deref().filter(|_| is_appended).map(str::to_owned),
        destinations: facts.destinations,
        order_keys: facts.order_keys,
        owner: None,
        headers: forwarded_headers(&head.headers, source, &own),
        metadata: None,
        key: facts.key.map(|key| {
            let replays_dead = source.on_redelivery == RedeliveryAction::ReplayDead;
            IdempotencyKey::of_event(name, key).replaying_dead(replays_dead)
        }),
        window: source.idempotency_window,
        body,
    }
}
