//! The list of deliveries.

use askama::Template;

use super::link;
use super::mark::Mark;
use super::page::{Frame, Tab, html, see_other};
use super::visit::{Visit, grouped};
use super::when::{Moment, When};
use crate::http::admin::api::deliveries::{MAX_ROWS, Status};
use crate::http::admin::api::query::Parameters;
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::model::{DeliveryState, IntentId, Surface};
use crate::store::{DeliveryCount, DeliveryCursor, ListQuery, ListedDelivery};

/// Deliveries on a page.
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
    rows: Vec<Row>,
    next: Option<String>,
    /// The first page, if this is another one.
    first: Option<String>,
    searched_to: Option<Moment>,
    operations: Vec<OperationLink>,
    has_filter: bool,
}

/// The fields of the form, as they were given.
#[derive(Clone, Default)]
struct Filter {
    status: String,
    destination: String,
    source: String,
    event_type: String,
    since: String,
    until: String,
}

struct StatusOption {
    name: &'static str,
    word: String,
    is_chosen: bool,
}

/// A link to an operation on all that match.
struct OperationLink {
    name: &'static str,
    path: String,
    is_dangerous: bool,
}

struct Row {
    mark: Mark,
    id: String,
    path: String,
    label: String,
    is_relay: bool,
    destination: String,
    destination_path: String,
    attempts: u32,
    created: When,
    /// When it changed last, or when its next attempt is due.
    moved: When,
    moved_word: &'static str,
    last_error: String,
}

impl Filter {
    fn read(parameters: &Parameters) -> Result<Self, ApiError> {
        let mut copy = parameters.clone();
        let mut field = |name| Ok::<_, ApiError>(copy.take(name)?.unwrap_or_default());
        Ok(Self {
            status: field("status")?,
            destination: field("destination")?,
            source: field("source")?,
            event_type: field("type")?,
            since: field("since")?,
            until: field("until")?,
        })
    }

    fn pairs(&self) -> [(&'static str, Option<&str>); 6] {
        fn given(text: &str) -> Option<&str> {
            (!text.is_empty()).then_some(text)
        }
        [
            ("status", given(&self.status)),
            ("destination", given(&self.destination)),
            ("source", given(&self.source)),
            ("type", given(&self.event_type)),
            ("since", given(&self.since)),
            ("until", given(&self.until)),
        ]
    }

    fn page(&self, after: Option<&str>) -> String {
        let mut pairs = self.pairs().to_vec();
        pairs.push(("after", after));
        link::with("/deliveries", &pairs)
    }

    /// The page that counts an operation on all that match.
    fn operation(&self, kind: &str) -> String {
        let mut pairs = vec![("kind", Some(kind))];
        let is_reroute = kind == "reroute";
        pairs.extend(self.pairs().map(|(name, value)| match name {
            "destination" if is_reroute => ("from", value),
            name => (name, value),
        }));
        link::with("/operations/new", &pairs)
    }
}

pub(super) async fn list(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let (mut parameters, said) = visit.query()?;
    let filter = Filter::read(&parameters)?;
    let now = visit.now();
    let status = parameters.take_with("status", Status::parse)?;
    let after = parameters.take_with("after", |text| {
        let cursor = DeliveryCursor::parse(text);
        cursor.ok_or_else(|| "expected the next of an earlier page".to_owned())
    })?;
    let query = ListQuery {
        state: status.and_then(Status::state),
        is_blocked: status == Some(Status::Blocked),
        destination: parameters.take("destination")?,
        source: parameters.take("source")?,
        event_type: parameters.take("type")?,
        since: parameters.time("since", now)?,
        until: parameters.time("until", now)?,
        after,
        limit: A_PAGE,
        max_rows: Some(MAX_ROWS),
    };
    parameters.end()?;
    let counted = ListQuery {
        after: None,
        ..query.clone()
    };
    let store = &visit.app.store;
    let count = store.count_deliveries(counted, MAX_COUNT);
    let count = visit.context.wait(count).await?;
    let listing = visit.context.wait(store.deliveries_page(query)).await?;
    let config = &visit.app.config;
    let names = |all: Vec<&String>| all.into_iter().take(SUGGESTED).cloned().collect();
    let rows = listing.found.iter().map(|one| Row::new(one, visit));
    let is_first = after.is_none();
    let page = Deliveries {
        rows: rows.collect(),
        frame: visit
            .frame("Deliveries", Tab::Deliveries, said)
            .live(is_first),
        statuses: statuses(&filter.status),
        destinations: names(config.destinations.keys().collect()),
        sources: names(config.sources.keys().collect()),
        count: count_text(count),
        next: listing
            .next
            .map(|next| filter.page(Some(&next.to_string()))),
        first: (!is_first).then(|| filter.page(None)),
        searched_to: listing.searched_to.map(Moment::new),
        operations: if visit.may_operate() {
            operations(&filter, status)
        } else {
            Vec::new()
        },
        has_filter: filter.pairs().iter().any(|(_, value)| value.is_some()),
        filter,
    };
    Ok(html(&page))
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

fn statuses(chosen: &str) -> Vec<StatusOption> {
    let states = DeliveryState::ALL.map(DeliveryState::name);
    let names = states.into_iter().chain(["blocked"]);
    let options = names.map(|name| StatusOption {
        name,
        word: match name {
            "blocked" => "blocked by its order".to_owned(),
            name => name.replace('_', " "),
        },
        is_chosen: chosen == name,
    });
    options.collect()
}

fn count_text(count: DeliveryCount) -> String {
    let number = grouped(count.number);
    match (count.is_exact, count.number) {
        (true, 1) => "1 delivery matches".to_owned(),
        (true, _) => format!("{number} deliveries match"),
        (false, found) if found >= MAX_COUNT => {
            format!("{}+ deliveries match", grouped(MAX_COUNT))
        }
        (false, _) => format!("{number}+ deliveries match"),
    }
}

/// The operations that work on deliveries of this status.
fn operations(filter: &Filter, status: Option<Status>) -> Vec<OperationLink> {
    use DeliveryState::{DeadLettered, Delivered, Queued, Retrying};
    let kinds: &[(&str, &'static str)] = match status.and_then(Status::state) {
        Some(DeadLettered) => &[("replay", "Replay all …"), ("discard", "Discard all …")],
        Some(Delivered) => &[("replay", "Send all again …")],
        Some(Queued | Retrying) => &[
            ("retry", "Retry all now …"),
            ("reroute", "Reroute all …"),
            ("discard", "Discard all …"),
        ],
        _ => &[],
    };
    let links = kinds.iter().map(|&(kind, name)| OperationLink {
        name,
        path: filter.operation(kind),
        is_dangerous: kind == "discard",
    });
    links.collect()
}

impl Row {
    fn new(one: &ListedDelivery, visit: &Visit<'_>) -> Self {
        let now = visit.now();
        let id = one.surface.public_id(one.id);
        let (moved_word, moved) = match one.next_attempt_at {
            Some(at) if at > now => ("due", at),
            _ => ("changed", one.updated_at),
        };
        Self {
            mark: Mark::of_delivery(one.state, one.discarded_at.is_some()),
            path: link::event(&id),
            id,
            label: one.label.clone(),
            is_relay: one.surface == Surface::Relay,
            destination_path: link::destination(&one.destination),
            destination: one.destination.clone(),
            attempts: one.attempts,
            created: When::new(one.created_at, now),
            moved: When::new(moved, now),
            moved_word,
            last_error: one.last_error.clone().unwrap_or_default(),
        }
    }
}
