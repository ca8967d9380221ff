//! Jobs in words.

use crate::store::{BulkAction, BulkOperation};

/// A job, and how far it is.
pub(super) fn progress_text(job: &BulkOperation) -> String {
    let done = job.tally.done;
    let of = job.total.map(|total| format!(" of {total}"));
    format!(
        "job {}: {}, {done}{} done",
        job.id,
        job_text(job),
        of.unwrap_or_default()
    )
}

/// A job in a few words.
fn job_text(job: &BulkOperation) -> String {
    let destination = job.destination.as_deref().unwrap_or("all destinations");
    match (job.action, &job.target) {
        (BulkAction::SendTo, Some(target)) => format!("replay to {target}"),
        (BulkAction::Reroute, Some(target)) => format!("reroute from {destination} to {target}"),
        (BulkAction::Route, _) => "replay by today's routes".to_owned(),
        (BulkAction::Erase, _) if job.is_emptying => {
            "erase: done but for the write-ahead log".to_owned()
        }
        (BulkAction::Erase, _) => "erase of events".to_owned(),
        (BulkAction::Discard, _) => format!("discard of {destination}"),
        (action, _) => format!("{} to {destination}", action.name()),
    }
}
