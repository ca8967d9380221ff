//! Operations on many relays and events.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::json;

use crate::cli::bulk::context::Context;
use crate::cli::bulk::emptying::Emptying;
use crate::cli::bulk::report::{Form, done_name, print_preview, report};
use crate::cli::bulk::selection::Selection;
use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::maintenance::ConfiguredRouting;
use crate::store::{AdvanceBulk, BulkAction, BulkId, BulkOperation, BulkTally, NewBulk};

/// Steps between two checkpoints if no server makes them: some 50 MB of WAL.
const CHECKPOINT_EVERY: u64 = 50;
/// The interval at which the progress of a job is read.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub(super) fn run(
    context: &mut Context,
    selection: &Selection,
    new: NewBulk,
) -> Result<(), CommandError> {
    if selection.dry_run {
        let routing = ConfiguredRouting(&context.config);
        let found = context.operator.preview_bulk(&new, &routing);
        return print_preview(&new, &found.map_err(explained)?, selection.json);
    }
    let action = new.action;
    let parts = context.operator.count_bulk(&new).map_err(explained)?;
    let jobs = context.operator.create_bulk(new, parts);
    let jobs = jobs.map_err(explained)?;
    if jobs.is_empty() {
        return report(action, BulkTally::default(), 0, Form::of(selection));
    }
    if selection.detach && context.operator.has_server() {
        for job in &jobs {
            if selection.json {
                say!("{}", json!({ "job": job }));
            } else {
                say!(
                    "job {job}: the server is at it; relay stats shows how far, \
                     relay cancel {job} ends it"
                );
            }
        }
        return Ok(());
    }
    follow(context, action, &jobs, selection.json)
}

/// Waits for the end of the jobs, and shows their progress. Without a server it does them.
fn follow(
    context: &mut Context,
    action: BulkAction,
    jobs: &[BulkId],
    is_json: bool,
) -> Result<(), CommandError> {
    let is_terminal = std::io::stderr().is_terminal();
    let mut shown = -1;
    let mut emptying = Emptying::default();
    for round in 1_u64.. {
        // A server may start or stop meanwhile.
        let has_server = context.operator.has_server();
        let mut has_advanced = false;
        if !has_server {
            has_advanced = advance(context, round)?;
        }
        let operator = &context.operator;
        let states = operator.bulk_operations(jobs).map_err(explained)?;
        let (tally, total, in_flight) = sum(&states);
        if is_terminal && tally.done != shown {
            let of = total.map(|total| format!(" of {total}"));
            progress!(
                "\r{} {}{}",
                done_name(action),
                tally.done,
                of.unwrap_or_default()
            );
            shown = tally.done;
        }
        if states.iter().all(|job| job.ended_at.is_some()) {
            if is_terminal {
                progress!("\n");
            }
            report(action, tally, in_flight, Form::done(is_json))?;
            return if states.iter().any(|job| job.is_cancelled) {
                Err("somebody cancelled it".into())
            } else {
                Ok(())
            };
        }
        if states
            .iter()
            .any(|job| job.is_emptying && job.ended_at.is_none())
            && !has_advanced
        {
            emptying.wait(operator);
        } else if has_server {
            std::thread::sleep(PROGRESS_EVERY);
        }
    }
    unreachable!("a 64-bit counter of rounds does not end")
}

/// Makes a step in place of a server; whether a job has come further.
fn advance(context: &mut Context, round: u64) -> Result<bool, CommandError> {
    let Context { operator, config } = context;
    let step = AdvanceBulk {
        is_paced: false,
        after: None,
        routing: &ConfiguredRouting(&*config),
    };
    let advance = operator.advance_bulk(&step).map_err(explained)?;
    if round.is_multiple_of(CHECKPOINT_EVERY) {
        operator.checkpoint().map_err(explained)?;
    }
    Ok(advance.has_advanced)
}

/// The tally of all jobs together, how many deliveries there were, if they were counted, and how
/// many were left in flight.
fn sum(jobs: &[BulkOperation]) -> (BulkTally, Option<i64>, i64) {
    let mut tally = BulkTally::default();
    for job in jobs {
        tally += job.tally;
    }
    let total = jobs.iter().map(|job| job.total).sum();
    (tally, total, jobs.iter().map(|job| job.in_flight).sum())
}
