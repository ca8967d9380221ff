use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::model::DeliveryState;
use crate::store::{
    BulkFilter, BulkOperation, BulkPreview, FilteredTime, NewBulk, OperationPart, StateSet,
    StoredOperation,
};

/// A job, as the commands show it.
pub(crate) fn job(job: &BulkOperation) -> Value {
    json!({
        "job": job.id,
        "kind": job.action.name(),
        "destination": job.destination,
        "to": job.target,
        "done": job.tally.done,
        "skipped": job.tally.skipped,
        "actor": job.actor,
        "total": job.total,
        "created_at": job.created_at,
    })
}

/// The acts of an operation that nobody has begun.
pub(crate) fn preview(new: &NewBulk, found: &BulkPreview) -> Value {
    let by_destination = found.counts.iter();
    let by_destination = by_destination.map(|(name, count)| (name.clone(), (*count).into()));
    let first = found.first.iter().map(|one| {
        json!({
            "id": one.surface.public_id(one.id),
            "destination": one.destination,
            "status": one.state.map(DeliveryState::name),
            "created_at": one.created_at,
        })
    });
    json!({
        "total": found.total(),
        "is_exact": found.is_exact,
        "destinations": by_destination.collect::<Map<_, _>>(),
        "skipped": found.skipped,
        "in_flight": found.in_flight,
        "first": first.collect::<Vec<_>>(),
        "time": match new.filter.time(new.action) {
            FilteredTime::GivenUp => "given_up",
            FilteredTime::Accepted => "accepted",
        },
    })
}

/// An operation, as the admin API shows it.
pub(crate) fn operation(operation: &StoredOperation) -> Value {
    json!({
        "id": operation.id,
        "kind": operation.action.name(),
        "state": state(operation),
        "filter": filter(&operation.filter),
        "to": operation.target,
        "route": operation.is_by_routes(),
        "jobs": operation.jobs,
        "total": operation.total,
        "done": operation.tally.done,
        "skipped": operation.tally.skipped,
        "payload_gone": operation.tally.payload_gone,
        "in_flight": operation.in_flight,
        "actor": operation.actor,
        "created_at": operation.created_at,
        "ended_at": operation.ended_at,
        "parts": operation.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

/// `running`, `done`, or `cancelled`.
fn state(operation: &StoredOperation) -> &'static str {
    match (operation.ended_at, operation.is_cancelled) {
        (None, _) => "running",
        (Some(_), true) => "cancelled",
        (Some(_), false) => "done",
    }
}

fn filter(filter: &BulkFilter) -> Value {
    let statuses = DeliveryState::ALL.into_iter();
    let statuses = statuses.filter(|state| filter.states.holds(*state));
    let statuses = statuses.map(DeliveryState::name).collect::<Vec<_>>();
    let is_any = filter.states == StateSet::ANY;
    json!({
        "ids": filter.ids.len(),
        "statuses": (!is_any).then_some(statuses),
        "destination": filter.destination,
        "source": filter.source,
        "type": filter.event_type,
        "reason": filter.reason,
        "since": (filter.since > Timestamp::from_millis(0)).then_some(filter.since),
        "until": filter.until,
    })
}

fn part(part: &OperationPart) -> Value {
    json!({
        "job": part.id,
        "destination": part.destination,
        "total": part.total,
        "done": part.tally.done,
        "skipped": part.tally.skipped,
        "in_flight": part.in_flight,
        "ended_at": part.ended_at,
    })
}
