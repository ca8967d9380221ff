//! The list of deliveries, and of the events that no route wanted.
//!
//! - `filter`: the fields of the form, and the links that keep them. `rows`: the rows of the list.
//! - A column: a field in `rows`, a head and a cell in `templates/deliveries.html`; if nobody reads
//!   the fact yet, also the store's `ListedDelivery` and `queries/listing`.

mod filter;
mod rows;

use askama::Template;

use super::link;
use super::page::{Frame, Tab, html, see_other};
use super::visit::{Visit, grouped};
use super::when::Moment;
use crate::clock::Timestamp;
use crate::http::admin::api::deliveries::{Status, Wanted};
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::model::{IntentId, Surface};
use crate::store::{DeliveryCount, DeliveryCursor, ListQuery, UnroutedQuery};
use filter::{Filter, OperationLink, StatusOption};
use rows::{Row, UnroutedRow};

/// Rows on a page.
const A_PAGE: u32 = 50;
/// The most that are counted: the number says enough, and a page costs the same however many there
/// are.
const MAX_COUNT: usize = 10_000;
/// Names that the fields suggest.
const SUGGESTED: usize = 200;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct Deliveries {
    frame: Frame,
    filter: Filter,
    statuses: Vec<StatusOption>,
    destinations: Vec<String>,
    sources: Vec<String>,
    count: String,
    is_unrouted: bool,
    rows: Rows,
    next: Option<String>,
    /// The first page, if this is another one.
    first: Option<String>,
    searched_to: Option<Moment>,
    operations: Vec<OperationLink>,
    /// Whether these lack times of the filter.
    leaves_times_out: bool,
}

/// The rows of a page; one of the two lists is empty.
#[derive(Default)]
struct Rows {
    deliveries: Vec<Row>,
    unrouted: Vec<UnroutedRow>,
}

/// A page of a list.
struct Found {
    rows: Rows,
    count: DeliveryCount,
    next: Option<DeliveryCursor>,
    searched_to: Option<Timestamp>,
}

pub(super) async fn list(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let (mut parameters, said) = visit.query()?;
    let filter = Filter::read(&parameters)?;
    let (status, wanted) = Wanted::read(&mut parameters, visit.now(), A_PAGE)?;
    parameters.end()?;
    let is_first = match &wanted {
        Wanted::Deliveries(query) => query.after.is_none(),
        Wanted::Unrouted(query) => query.after.is_none(),
    };
    let found = match wanted {
        Wanted::Deliveries(query) => deliveries(visit, query).await?,
        Wanted::Unrouted(query) => unrouted(visit, query).await?,
    };
    let config = &visit.app.config;
    let names = |all: Vec<&String>| all.into_iter().take(SUGGESTED).cloned().collect();
    let is_unrouted = status == Some(Status::Unrouted);
    let page = Deliveries {
        frame: visit
            .frame("Deliveries", Tab::Deliveries, said)
            .live(is_first),
        statuses: filter.statuses(),
        destinations: names(config.destinations.keys().collect()),
        sources: names(config.sources.keys().collect()),
        count: count_text(found.count, is_unrouted, filter.is_given()),
        is_unrouted,
        rows: found.rows,
        next: found.next.map(|next| filter.page(Some(&next.to_string()))),
        first: (!is_first).then(|| filter.page(None)),
        searched_to: found.searched_to.map(Moment::new),
        operations: if visit.may_operate() {
            filter.operations(status)
        } else {
            Vec::new()
        },
        leaves_times_out: filter.leaves_times_out(status),
        filter,
    };
    Ok(html(&page))
}

async fn deliveries(visit: &Visit<'_>, query: ListQuery) -> Result<Found, ApiError> {
    let counted = ListQuery {
        after: None,
        ..query.clone()
    };
    let store = &visit.app.store;
    let count = store.count_deliveries(counted, MAX_COUNT);
    let count = visit.context.wait(count).await?;
    let listing = visit.context.wait(store.deliveries_page(query)).await?;
    let rows = listing.found.iter().map(|one| Row::new(one, visit));
    Ok(Found {
        rows: Rows {
            deliveries: rows.collect(),
            ..Rows::default()
        },
        count,
        next: listing.next,
        searched_to: listing.searched_to,
    })
}

async fn unrouted(visit: &Visit<'_>, query: UnroutedQuery) -> Result<Found, ApiError> {
    let counted = UnroutedQuery {
        after: None,
        ..query.clone()
    };
    let store = &visit.app.store;
    let count = store.count_unrouted_events(counted, MAX_COUNT);
    let count = visit.context.wait(count).await?;
    let page = visit.context.wait(store.unrouted_page(query)).await?;
    let rows = page.found.iter().map(|one| UnroutedRow::new(one, visit));
    Ok(Found {
        rows: Rows {
            unrouted: rows.collect(),
            ..Rows::default()
        },
        count,
        next: page.next,
        searched_to: page.searched_to,
    })
}

/// Leads to the page of a relay or event, whose id somebody has typed.
pub(super) fn find(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let (mut parameters, _) = visit.query()?;
    let id = parameters.take_with("id", |text| {
        let id: Result<IntentId, _> = text.trim().parse();
        let surface = if text.trim().starts_with("evt_") {
            Surface::Event
        } else {
            Surface::Relay
        };
        id.map(|id| surface.public_id(id))
            .map_err(|_| "expected the id of a relay or an event, such as evt_…".to_owned())
    })?;
    parameters.end()?;
    Ok(see_other(&id.map_or_else(
        || "/deliveries".to_owned(),
        |id| link::event(&id),
    )))
}

/// The number of rows, in words. Of none the list itself speaks.
fn count_text(count: DeliveryCount, is_unrouted: bool, is_filtered: bool) -> String {
    let (one, many) = match (is_unrouted, is_filtered) {
        (true, _) => ("event matches", "events match"),
        (false, true) => ("delivery matches", "deliveries match"),
        (false, false) => ("delivery", "deliveries"),
    };
    let number = grouped(count.number);
    match (count.is_exact, count.number) {
        (true, 0) => String::new(),
        (true, 1) => format!("1 {one}"),
        (true, _) => format!("{number} {many}"),
        (false, _) => format!("{number}+ {many}"),
    }
}
