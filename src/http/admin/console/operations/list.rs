//! The operations and their progress.

use askama::Template;

use crate::clock::Timestamp;
use crate::http::admin::console::mark::{Mark, Tone};
use crate::http::admin::console::operations::words::{filter_text, what};
use crate::http::admin::console::page::{Frame, Tab, html, see_other};
use crate::http::admin::console::visit::{Visit, grouped};
use crate::http::admin::console::when::When;
use crate::http::api_error::ApiError;
use crate::http::response::Response;
use crate::ops::operations as shared;
use crate::store::{BulkId, OperationsQuery, StoredOperation};

/// Operations on a page.
const A_PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "operations.html")]
struct Operations {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<&'static str>,
    may_operate: bool,
}

/// An operation as it is shown.
struct Row {
    id: String,
    what: String,
    filter: String,
    mark: Mark,
    done: String,
    /// How many there were, as far as they were counted; more may have come since.
    total: Option<(String, i64, i64)>,
    rest: String,
    actor: String,
    created: When,
    ended: Option<When>,
    is_running: bool,
}

impl Row {
    fn new(one: &StoredOperation, now: Timestamp) -> Self {
        let (word, tone) = match (one.ended_at, one.is_cancelled) {
            (None, _) => ("running", Tone::Busy),
            (Some(_), true) => ("cancelled", Tone::Idle),
            (Some(_), false) => ("done", Tone::Good),
        };
        let tally = one.tally;
        let finished = tally.done + tally.skipped + tally.payload_gone;
        let rest = [
            (tally.skipped, "skipped"),
            (tally.payload_gone, "without a payload"),
            (one.in_flight, "left in an attempt"),
        ];
        let rest = rest.into_iter().filter(|(count, _)| *count > 0);
        let rest = rest.map(|(count, word)| format!("{} {word}", grouped(count)));
        Self {
            id: one.id.to_string(),
            what: what(one.action, one.target.as_deref()),
            filter: filter_text(&one.filter, one.action, one.created_at),
            mark: Mark::new(word, tone),
            done: grouped(tally.done),
            total: one
                .total
                .map(|total| (grouped(total), finished.min(total), total.max(1))),
            rest: rest.collect::<Vec<_>>().join(", "),
            actor: one
                .actor
                .clone()
                .unwrap_or_else(|| "command line".to_owned()),
            created: When::new(one.created_at, now),
            ended: one.ended_at.map(|at| When::new(at, now)),
            is_running: one.ended_at.is_none(),
        }
    }
}

pub(in crate::http::admin::console) async fn list(visit: &Visit<'_>) -> Result<Response, ApiError> {
    let (mut parameters, said) = visit.query()?;
    let after: Option<BulkId> = parameters.take_with("after", |text| {
        let number = text.parse();
        number.map_err(|_| "expected the next of an earlier page".to_owned())
    })?;
    parameters.end()?;
    let query = OperationsQuery {
        after,
        limit: A_PAGE,
    };
    let found = visit.app.store.operations_page(query);
    let found = visit.context.wait(found).await?;
    let now = visit.now();
    let rows: Vec<_> = found.found.iter().map(|one| Row::new(one, now)).collect();
    let page = Operations {
        frame: visit
            .frame("Operations", Tab::Operations, said)
            .live(after.is_none()),
        rows,
        next: found.next.map(|next| format!("/operations?after={next}")),
        first: after.is_some().then_some("/operations"),
        may_operate: visit.may_operate(),
    };
    Ok(html(&page))
}

/// Ends an operation before it is done.
pub(in crate::http::admin::console) async fn cancel(
    visit: &Visit<'_>,
    id: &str,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::not_found("There is no operation of this number.");
    let id: BulkId = id.parse().map_err(|_| unknown())?;
    let who = visit.caller.name.as_str();
    let cancelled = shared::cancel(&visit.app.store, who, id);
    let (is_changed, operation) = visit.context.wait(cancelled).await?.ok_or_else(unknown)?;
    let done = grouped(operation.tally.done);
    let said = if is_changed {
        format!("Operation {id} is cancelled. {done} were done, and stay so.")
    } else {
        format!("Operation {id} had ended before.")
    };
    Ok(see_other(&visit.path_with("/operations", said)))
}
