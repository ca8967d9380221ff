//! `GET /api/deliveries`.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::http::admin::api::call::Call;
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::response::{Response, json as json_response};
use crate::model::DeliveryState;
use crate::ops::views::{listed_delivery, unrouted_event};
use crate::store::{DeliveryCursor, ListQuery, UnroutedQuery};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
/// Rows that a page without an index looks at, so that it costs the same however many are stored:
/// some 10 ms. Then the page is short, and the next one continues.
const MAX_ROWS: usize = 10_000;

pub(super) async fn list(call: &Call<'_>) -> Result<Response, ApiError> {
    let mut parameters = Parameters::parse(call.head.uri.query());
    let limit = parameters.number("limit", DEFAULT_LIMIT, (1, MAX_LIMIT))?;
    let (_, wanted) = Wanted::read(&mut parameters, call.app.clock.now(), limit)?;
    parameters.end()?;
    match wanted {
        Wanted::Deliveries(query) => list_deliveries(call, query).await,
        Wanted::Unrouted(query) => list_unrouted(call, query).await,
    }
}

async fn list_deliveries(call: &Call<'_>, query: ListQuery) -> Result<Response, ApiError> {
    let listing = call
        .context
        .wait(call.app.store.deliveries_page(query))
        .await?;
    let config = Arc::clone(&call.app.config);
    let items = listing
        .found
        .iter()
        .map(|row| listed_delivery(row, &config));
    Ok(page(items, listing.next, listing.searched_to))
}

/// The events that no route wanted: they have no delivery.
async fn list_unrouted(call: &Call<'_>, query: UnroutedQuery) -> Result<Response, ApiError> {
    let found = call.app.store.unrouted_page(query);
    let found = call.context.wait(found).await?;
    let items = found.found.iter().map(unrouted_event);
    Ok(page(items, found.next, found.searched_to))
}

fn page(
    items: impl Iterator<Item = Value>,
    next: Option<DeliveryCursor>,
    searched_to: Option<Timestamp>,
) -> Response {
    let page = json!({
        "items": items.collect::<Vec<Value>>(),
        "next": next.map(|next| next.to_string()),
        "searched_to": searched_to,
    });
    json_response(StatusCode::OK, &page)
}

/// The rows of a list.
pub(in crate::http::admin) enum Wanted {
    Deliveries(ListQuery),
    Unrouted(UnroutedQuery),
}

impl Wanted {
    /// Reads the filters of a list of so many rows a page, and the status among them.
    pub fn read(
        parameters: &mut Parameters,
        now: Timestamp,
        limit: u32,
    ) -> Result<(Option<Status>, Self), ApiError> {
        let status = parameters.take_with("status", Status::parse)?;
        let query = ListQuery {
            state: status.and_then(Status::state),
            is_blocked: status == Some(Status::Blocked),
            destination: parameters.take("destination")?,
            source: parameters.take("source")?,
            event_type: parameters.take("type")?,
            since: parameters.time("since", now)?,
            until: parameters.time("until", now)?,
            after: parameters.take_with("after", |text| {
                let cursor = DeliveryCursor::parse(text);
                cursor.ok_or_else(|| "expected the next of an earlier page".to_owned())
            })?,
            limit,
            max_rows: Some(MAX_ROWS),
        };
        if status != Some(Status::Unrouted) {
            return Ok((status, Self::Deliveries(query)));
        }
        if query.destination.is_some() {
            return Err(ApiError::invalid(
                "destination",
                "destination: expected none with the status unrouted, since no destination wanted \
                 them",
            ));
        }
        let query = UnroutedQuery {
            source: query.source,
            event_type: query.event_type,
            since: query.since,
            until: query.until,
            after: query.after,
            limit,
            max_rows: query.max_rows,
        };
        Ok((status, Self::Unrouted(query)))
    }
}

/// The status of the wanted rows: deliveries in a state, or behind others in their order, or events
/// without any delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::http::admin) enum Status {
    State(DeliveryState),
    Blocked,
    Unrouted,
}

impl Status {
    /// The state of the deliveries; none of those that are blocked, nor of events without any.
    pub fn state(self) -> Option<DeliveryState> {
        match self {
            Self::State(state) => Some(state),
            Self::Blocked | Self::Unrouted => None,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "blocked" => Ok(Self::Blocked),
            "unrouted" => Ok(Self::Unrouted),
            _ => DeliveryState::parse(text, &["blocked", "unrouted"]).map(Self::State),
        }
    }
}
