//! A relay or event: what it waits for, its attempts, its payload, and its routes.
//!
//! - `attempts`: the history of a delivery. `bytes`: a payload as text or hex. `curl`: a command
//!   that sends it. `routing`: the routes that want it.

mod attempts;
mod bytes;
mod curl;
mod routing;

use std::sync::Arc;

use askama::Template;

use super::link;
use super::mark::Mark;
use super::page::{Frame, Tab, html};
use super::visit::{Visit, bytes as size};
use super::when::{Moment, When, with_written_times};
use crate::config::Resolved;
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::ops::status_text::{
    DISCARDED, RelayState, UNROUTED, describe_with_payload, max_attempts, payload_gone,
};
use crate::store::{GonePayload, StoredDelivery, StoredIntent};
use attempts::{Entry, entries};
use bytes::{Shown, show_hex, show_text};
use routing::Routed;

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    frame: Frame,
    parts: EventParts,
    may_operate: bool,
    operations: Vec<(&'static str, String)>,
}

/// The parts of the page that are made of the event alone.
struct EventParts {
    id: String,
    kind: &'static str,
    label: String,
    label_name: &'static str,
    event_type: Option<String>,
    url: Option<String>,
    query: Option<String>,
    accepted: Moment,
    accepted_ago: When,
    size: String,
    is_unrouted: bool,
    deliveries: Vec<Delivered>,
    payload: Shown,
    /// Why there is no payload any more.
    payload_gone: Option<String>,
    headers: Vec<(String, String)>,
    curl: String,
    routes: Vec<Routed>,
    is_final: bool,
}

/// A delivery of the event.
struct Delivered {
    anchor: String,
    destination: String,
    path: String,
    mark: Mark,
    waits_for: String,
    attempts: String,
    entries: Vec<Entry>,
}

impl EventParts {
    fn new(row: &StoredIntent, relay: RelayState<'_>, is_hex: bool) -> Self {
        let RelayState { config, now, .. } = relay;
        let deliveries = row.deliveries.iter().enumerate();
        let is_event = row.surface == Surface::Event;
        // Without its payload nobody can tell what its routes would want.
        let has_routes = is_event && !row.is_payload_gone();
        let source = config.source(&row.label).filter(|_| has_routes);
        let first = row.deliveries.first().map(|one| one.destination.as_str());
        Self {
            id: row.surface.public_id(row.id),
            kind: if is_event { "Event" } else { "Relay" },
            label: row.label.clone(),
            label_name: if is_event { "Source" } else { "Event type" },
            event_type: row.event_type.clone(),
            url: row.url.clone(),
            query: row.query.clone(),
            accepted: Moment::new(row.created_at),
            accepted_ago: When::new(row.created_at, now),
            size: size(row.payload.len() as u64),
            is_unrouted: row.is_unrouted,
            deliveries: deliveries
                .map(|(at, one)| Delivered::new((one, row.gone), at, relay))
                .collect(),
            payload: if is_hex {
                show_hex(&row.payload)
            } else {
                show_text(&row.payload)
            },
            payload_gone: gone(row),
            headers: curl::shown_headers(&row.headers),
            curl: curl::command(row, &target(first, config)),
            routes: source.map_or_else(Vec::new, |source| routing::explain(source, row)),
            is_final: row.deliveries.iter().all(|one| one.state.is_final()),
        }
    }
}

/// Why an event has no payload any more.
fn gone(row: &StoredIntent) -> Option<String> {
    let why = row.gone.map_or_else(|| DISCARDED.to_owned(), payload_gone);
    row.is_payload_gone().then_some(why)
}

/// The URL of a destination up to its path, which may be a secret.
fn target(destination: Option<&str>, config: &Resolved) -> String {
    let policy = destination.and_then(|name| config.destinations.get(name));
    let url = policy.and_then(|policy| policy.url.as_ref());
    url.map_or_else(
        || "https://destination.example/…".to_owned(),
        |url| format!("{}/…", url.origin()),
    )
}

impl Delivered {
    fn new(
        (one, gone): (&StoredDelivery, Option<GonePayload>),
        at: usize,
        relay: RelayState<'_>,
    ) -> Self {
        let most = max_attempts(one, relay.config);
        Self {
            anchor: format!("delivery-{at}"),
            path: link::destination(&one.destination),
            destination: one.destination.clone(),
            mark: Mark::of_delivery(one.state, one.discarded_at.is_some()),
            waits_for: with_written_times(&describe_with_payload(one, gone, relay)),
            attempts: format!("{} of {most}", one.attempts),
            entries: entries(&one.history, at),
        }
    }
}

pub(super) async fn show(visit: &Visit<'_>, id: &str) -> Result<Response, ApiError> {
    let (mut parameters, said) = visit.query()?;
    let is_hex = parameters.take_with("view", |text| match text {
        "hex" => Ok(true),
        "text" => Ok(false),
        _ => Err("expected text or hex".to_owned()),
    })?;
    parameters.end()?;
    let unknown = || ApiError::not_found("There is no relay or event of this id.");
    let id: IntentId = id.parse().map_err(|_| unknown())?;
    let found = visit.app.store.intent_of_any_surface(id);
    let row = visit.context.wait(found).await?.ok_or_else(unknown)?;
    let operations = operations(&row);
    let (config, now) = (Arc::clone(&visit.app.config), visit.now());
    let is_held = visit.app.store.is_held();
    let bytes = row.size();
    let make = move || {
        let relay = RelayState {
            config: &config,
            now,
            is_held,
        };
        EventParts::new(&row, relay, is_hex.unwrap_or(false))
    };
    let parts = visit.app.offload.run_if_large(visit.context, bytes, make);
    let parts = parts.await?;
    let title = format!("{} {}", parts.kind, parts.id);
    // An event that has ended changes no more, and may be large.
    let frame = visit.frame(title, Tab::Deliveries, said);
    let frame = frame.live(!parts.is_final);
    Ok(html(&EventPage {
        frame,
        parts,
        may_operate: visit.may_operate(),
        operations,
    }))
}

/// The operations that its deliveries allow.
fn operations(row: &StoredIntent) -> Vec<(&'static str, String)> {
    let is_any = |states: &[DeliveryState]| {
        let mut deliveries = row.deliveries.iter();
        deliveries.any(|one| one.discarded_at.is_none() && states.contains(&one.state))
    };
    let id = row.surface.public_id(row.id);
    let path = |kind: &str, member: Option<(&'static str, &str)>| {
        let mut pairs = vec![("kind", Some(kind)), ("ids", Some(id.as_str()))];
        pairs.extend(member.map(|(name, value)| (name, Some(value))));
        link::with("/operations/new", &pairs)
    };
    let mut links = Vec::new();
    // Without a payload there is nothing to send.
    if row.gone.is_none() {
        if row.is_unrouted {
            let by_routes = path("replay", Some(("route", "true")));
            links.push(("Send by today's routes …", by_routes));
        }
        if is_any(&[DeliveryState::DeadLettered]) {
            let replay = path("replay", Some(("status", "dead_lettered")));
            links.push(("Replay …", replay));
        } else if is_any(&[DeliveryState::Delivered]) {
            let again = path("replay", Some(("status", "delivered")));
            links.push(("Send again …", again));
        }
    }
    if is_any(&[DeliveryState::Queued, DeliveryState::Retrying]) {
        links.push(("Retry now …", path("retry", None)));
    }
    if is_any(&[DeliveryState::DeadLettered]) {
        links.push(("Discard …", path("discard", None)));
    }
    links
}
