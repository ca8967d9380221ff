//! A new operation: counted first, then created.

use std::sync::Arc;

use askama::Template;

use crate::http::admin::console::link;
use crate::http::admin::console::mark::{Mark, Tone};
use crate::http::admin::console::operations::fields::{Field, shown_fields, value_of};
use crate::http::admin::console::operations::words::{filter_text, time_word, what};
use crate::http::admin::console::page::{Frame, Tab, html, see_other};
use crate::http::admin::console::visit::{Visit, form, grouped};
use crate::http::admin::console::when::When;
use crate::http::api_error::ApiError;
use crate::http::body::Body;
use crate::http::response::Response;
use crate::maintenance::ConfiguredRouting;
use crate::ops::operations::{self, Created, Invalid, OperationKind, OperationRequest, PlanError};
use crate::store::{BulkAction, BulkPreview, NewBulk};

/// The fields that are not of the request itself.
const NONCE: &str = "nonce";
const CONFIRM: &str = "confirm";
/// Destinations that the fields offer.
const OFFERED: usize = 1_000;

#[derive(Template)]
#[template(path = "operation_new.html")]
struct NewPage {
    frame: Frame,
    kind: &'static str,
    title: &'static str,
    about: &'static str,
    fields: Vec<Field>,
    destinations: Vec<String>,
    problem: Option<String>,
    counted: Option<Counted>,
    may_operate: bool,
}

/// The operation as it was counted.
struct Counted {
    what: String,
    /// The things that are counted.
    unit: &'static str,
    /// Whether those are deliveries, each with a state and a destination.
    is_of_deliveries: bool,
    filter: String,
    time: &'static str,
    total: String,
    is_none: bool,
    by_destination: Vec<(String, String)>,
    skipped: i64,
    in_flight: i64,
    first: Vec<First>,
    /// The form that creates it.
    hidden: Vec<(String, String)>,
    /// The word that has to be typed.
    word: Option<&'static str>,
    button: String,
}

/// One of the first deliveries.
struct First {
    id: String,
    path: String,
    destination: String,
    mark: Mark,
    created: When,
}

fn title(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Replay => "Replay",
        OperationKind::Retry => "Retry now",
        OperationKind::Discard => "Discard",
        OperationKind::Reroute => "Reroute",
        OperationKind::Erase => "Erase",
    }
}

/// The effect of a kind, in words.
fn about(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Replay => "Sends deliveries that have ended once more.",
        OperationKind::Retry => "Makes waiting deliveries due now.",
        OperationKind::Discard => "Gives deliveries up for good: they are not sent any more.",
        OperationKind::Reroute => "Moves waiting deliveries from one destination to another.",
        OperationKind::Erase => "Deletes events for good: payload, headers, key and answers.",
    }
}

/// The word that confirms an operation that can't be taken back.
fn word(kind: OperationKind) -> Option<&'static str> {
    let is_final = matches!(kind, OperationKind::Discard | OperationKind::Erase);
    is_final.then(|| kind.name())
}

/// Counts what a request would do, and shows the form that does it.
pub(in crate::http::admin::console) async fn new(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let (mut parameters, said) = visit.query()?;
    let kind = parameters.take_with("kind", OperationKind::parse)?;
    let kind = kind.unwrap_or(OperationKind::Replay);
    let fields = parameters.into_rest();
    // The form sends its fields, filled in or not; a link to it has none.
    let is_form = !fields.is_empty();
    let given = given(fields);
    let frame = visit.frame(title(kind), Tab::Operations, said);
    let mut page = NewPage {
        frame,
        kind: kind.name(),
        title: title(kind),
        about: about(kind),
        fields: shown_fields(kind, &given),
        destinations: destinations(visit),
        problem: None,
        counted: None,
        may_operate: visit.may_operate(),
    };
    if given.is_empty() {
        let problem = "Fill in one of the fields: without any, everything would be meant.";
        page.problem = is_form.then(|| problem.to_owned());
        return Ok(html(&page));
    }
    match counted(visit, kind, given).await? {
        Ok(counted) => page.counted = Some(counted),
        Err(problem) => page.problem = Some(problem),
    }
    Ok(html(&page))
}

/// The fields that are filled in.
fn given(fields: Vec<(String, String)>) -> Vec<(String, String)> {
    let fields = fields.into_iter();
    fields.filter(|(_, value)| !value.is_empty()).collect()
}

fn destinations(visit: &Visit<'_>) -> Vec<String> {
    let all = visit.app.config.destinations.keys();
    all.take(OFFERED).cloned().collect()
}

/// The count of a request, and the form that carries it out; or the mistake in it.
async fn counted(
    visit: &Visit<'_>,
    kind: OperationKind,
    mut fields: Vec<(String, String)>,
) -> Result<Result<Counted, String>, ApiError> {
    fields.push(("kind".to_owned(), kind.name().to_owned()));
    let has = |fields: &[(String, String)], name: &str| !value_of(fields, name).is_empty();
    if !has(&fields, "ids") && !has(&fields, "until") {
        // Deliveries that come after the count are not meant.
        fields.push(("until".to_owned(), visit.now().to_string()));
    }
    let new = match plan(visit, &fields).await? {
        Ok((_, new)) => new,
        Err(problem) => return Ok(Err(problem)),
    };
    // An age would stand for a later time once the form is sent.
    for (name, value) in &mut fields {
        match name.as_str() {
            "since" => *value = new.filter.since.to_string(),
            "until" => *value = new.filter.until.to_string(),
            _ => {}
        }
    }
    let routing = ConfiguredRouting(Arc::clone(&visit.app.config));
    let preview = operations::preview(&visit.app.store, new.clone(), routing);
    let preview = visit.context.wait(preview).await?;
    Ok(Ok(Counted::new(visit, kind, &new, &preview, fields)))
}

impl Counted {
    fn new(
        visit: &Visit<'_>,
        kind: OperationKind,
        new: &NewBulk,
        preview: &BulkPreview,
        mut hidden: Vec<(String, String)>,
    ) -> Self {
        let now = visit.now();
        let total = preview.total();
        let plus = if preview.is_exact { "" } else { "+" };
        let total_text = format!("{}{plus}", grouped(total));
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        hidden.push((NONCE.to_owned(), nonce));
        let first = preview.first.iter().map(|one| {
            let id = one.surface.public_id(one.id);
            First {
                path: link::event(&id),
                id,
                destination: one.destination.clone(),
                mark: one.state.map_or_else(
                    || Mark::new("new", Tone::Idle),
                    |state| Mark::of_delivery(state, false),
                ),
                created: When::new(one.created_at, now),
            }
        });
        let counts = preview.counts.iter();
        let counts = counts.map(|(name, count)| (name.clone(), grouped(count)));
        // An event is erased as a whole, with all of its deliveries.
        let is_of_deliveries = new.action != BulkAction::Erase;
        Self {
            what: what(new.action, new.target.as_deref()),
            unit: match (is_of_deliveries, total) {
                (true, 1) => "delivery",
                (true, _) => "deliveries",
                (false, 1) => "event",
                (false, _) => "events",
            },
            is_of_deliveries,
            filter: filter_text(&new.filter, new.action, now),
            time: time_word(&new.filter, new.action),
            is_none: total == 0,
            by_destination: if is_of_deliveries {
                counts.collect()
            } else {
                Vec::new()
            },
            skipped: preview.skipped,
            in_flight: preview.in_flight,
            first: first.collect(),
            hidden,
            word: word(kind),
            button: format!("{} {total_text}", title(kind)),
            total: total_text,
        }
    }
}

/// The operation of a request, or the mistake in it.
async fn plan(
    visit: &Visit<'_>,
    fields: &[(String, String)],
) -> Result<Result<(OperationRequest, NewBulk), String>, ApiError> {
    let request = match OperationRequest::from_form(fields.iter().cloned()) {
        Ok(request) => request,
        Err((member, problem)) => return Ok(Err(told(&member, problem))),
    };
    let scope = (&*visit.app.config, visit.now());
    let planned = async {
        match operations::plan(&visit.app.store, scope, &request).await {
            Ok(new) => Ok(Ok(new)),
            Err(PlanError::Invalid(Invalid {
                member, problem, ..
            })) => Ok(Err(told(member, problem))),
            Err(PlanError::Store(error)) => Err(error),
        }
    };
    let planned = visit.context.wait(planned).await?;
    Ok(planned.map(|new| (request, new)))
}

fn told(member: &str, problem: String) -> String {
    if problem.starts_with(member) {
        problem
    } else {
        format!("{member}: {problem}")
    }
}

/// Creates the operation that was counted.
pub(in crate::http::admin::console) async fn create(
    visit: &Visit<'_>,
    body: &mut Body,
) -> Result<Response, ApiError> {
    let mut parameters = form(visit.context, visit.head, body).await?;
    let nonce = parameters.take(NONCE)?;
    let nonce = nonce.ok_or_else(|| {
        ApiError::invalid(NONCE, "nonce: expected the one of the page that counted")
    })?;
    let confirmed = parameters.take(CONFIRM)?;
    let fields = given(parameters.into_rest());
    let (request, new) = match plan(visit, &fields).await? {
        Ok(planned) => planned,
        Err(problem) => return Err(ApiError::malformed(problem)),
    };
    if request.dry_run {
        let problem = "dry_run: expected none here: /operations/new counts, and does nothing";
        return Err(ApiError::invalid("dry_run", problem));
    }
    let word = request.kind.and_then(word);
    if let Some(word) = word
        && confirmed.as_deref().map(str::trim) != Some(word)
    {
        let problem = format!("To confirm it, type {word:?} into the field. Nothing was done.");
        return Err(ApiError::invalid(CONFIRM, problem));
    }
    let who = visit.caller.name.as_str();
    let created = operations::create(&visit.app.store, who, Some(nonce), new);
    let said = match visit.context.wait(created).await? {
        Created::New(one) => format!("Operation {} is under way.", one.id),
        Created::Before(one) => format!("Operation {} was created before.", one.id),
        Created::Conflict => return Err(ApiError::conflict()),
    };
    Ok(see_other(&visit.path_with("/operations", said)))
}
