//! The common part of `relay replay` and `relay discard`. Single dead letters are changed at once,
//! many as a job in the database, which the server does.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::error::CommandError;
use crate::cli::operate::{Moment, explained, known_destination, moment, writing};
use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::IntentId;
use crate::store::{
    AdvanceBulk, BulkId, DeadLetterAction, DeadLetterCount, DeadLetterFilter, Operator,
};

/// Steps between two checkpoints if no server makes them: some 50 MB of WAL.
const CHECKPOINT_EVERY: u64 = 50;
/// The interval at which the progress of a job is read.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// The dead letters that a command changes.
#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag on the command line"
)]
pub(super) struct Selection {
    /// Ids of relays or events, as the API shows them
    #[arg(
        value_name = "ID",
        required_unless_present = "dead",
        conflicts_with = "dead"
    )]
    ids: Vec<IntentId>,
    /// All dead letters, or those that match the filters
    #[arg(long)]
    dead: bool,
    #[arg(
        long,
        value_name = "NAME",
        requires = "dead",
        help = "Filter: destination, or ad hoc origin such as https://example.com"
    )]
    destination: Option<String>,
    /// Filter: source of the events
    #[arg(long, value_name = "NAME", requires = "dead")]
    source: Option<String>,
    /// Filter: text that the last error contains
    #[arg(long, value_name = "TEXT", requires = "dead")]
    reason: Option<String>,
    /// Filter: given up since a time (RFC 3339), or an age (2h, 7d)
    #[arg(long, value_name = "TIME", requires = "dead", value_parser = moment)]
    since: Option<Moment>,
    /// Filter: given up until a time, or an age
    #[arg(long, value_name = "TIME", requires = "dead", value_parser = moment)]
    until: Option<Moment>,
    /// Print the number of dead letters, and change nothing
    #[arg(long, requires = "dead")]
    dry_run: bool,
    /// Start the job and exit; the server does it
    #[arg(long, requires = "dead")]
    detach: bool,
    /// Print one JSON document; with --detach, JSON lines, one for each job
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    file: Option<&Path>,
    action: DeadLetterAction,
    selection: &Selection,
) -> Result<(), CommandError> {
    let (mut operator, config) = writing(file)?;
    if selection.dead {
        return run_many(&mut operator, &config, action, selection);
    }
    let mut all = 0;
    for id in &selection.ids {
        let done = match action {
            DeadLetterAction::Replay => operator.replay(*id),
            DeadLetterAction::Discard => operator.discard(*id),
        };
        let done = done.map_err(explained)?;
        if done == 0 && !selection.json {
            eprintln!("{id}: has no dead letter");
        }
        all += done;
    }
    report(action, all, selection.json)?;
    if all == 0 {
        return Err("nothing was done".into());
    }
    Ok(())
}

fn report(action: DeadLetterAction, count: usize, is_json: bool) -> Result<(), CommandError> {
    if is_json {
        say!("{}", json!({ done_name(action): count }));
    } else {
        say!("{} {count}", done_name(action));
    }
    Ok(())
}

fn done_name(action: DeadLetterAction) -> &'static str {
    match action {
        DeadLetterAction::Replay => "replayed",
        DeadLetterAction::Discard => "discarded",
    }
}

fn run_many(
    operator: &mut Operator,
    config: &Resolved,
    action: DeadLetterAction,
    selection: &Selection,
) -> Result<(), CommandError> {
    let filter = filter(operator, config, selection)?;
    let found = operator.count_dead_letters(&filter).map_err(explained)?;
    if selection.dry_run {
        return print_counts(&found, selection.json);
    }
    let jobs = operator
        .create_bulk(action, filter, found)
        .map_err(explained)?;
    if jobs.is_empty() {
        report(action, 0, selection.json)?;
        return Ok(());
    }
    if selection.detach && operator.has_server() {
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
    follow(operator, action, &jobs, selection.json)
}

fn filter(
    operator: &Operator,
    config: &Resolved,
    selection: &Selection,
) -> Result<DeadLetterFilter, CommandError> {
    let destination = selection
        .destination
        .as_deref()
        .map(|text| known_destination(operator, config, text))
        .transpose()?;
    let time = |moment: Option<Moment>, unset| {
        moment.map_or(Timestamp::from_millis(unset), |moment| {
            moment.when(operator.now())
        })
    };
    let filter = DeadLetterFilter {
        destination,
        source: selection.source.clone(),
        reason: selection.reason.clone(),
        since: time(selection.since, 0),
        until: time(selection.until, i64::MAX),
    };
    Ok(filter.before(operator.now()))
}

/// Prints the number of dead letters of each destination.
fn print_counts(found: &[DeadLetterCount], is_json: bool) -> Result<(), CommandError> {
    let total: i64 = found.iter().map(|one| one.count).sum();
    if is_json {
        let by_destination: serde_json::Map<_, _> = found
            .iter()
            .map(|one| (one.destination.clone(), one.count.into()))
            .collect();
        say!(
            "{}",
            json!({ "total": total, "destinations": by_destination })
        );
    } else {
        for one in found {
            say!("{:>8}  {}", one.count, one.destination);
        }
        say!("{total:>8}  in all; nothing was done");
    }
    Ok(())
}

/// Waits for the end of the jobs, and shows their progress. Without a server it does them.
fn follow(
    operator: &mut Operator,
    action: DeadLetterAction,
    jobs: &[BulkId],
    is_json: bool,
) -> Result<(), CommandError> {
    let is_terminal = std::io::stderr().is_terminal();
    let mut shown = -1;
    for round in 1_u64.. {
        // A server may start or stop meanwhile.
        let has_server = operator.has_server();
        if !has_server {
            let step = AdvanceBulk {
                is_paced: false,
                after: None,
            };
            operator.advance_bulk(step).map_err(explained)?;
            if round.is_multiple_of(CHECKPOINT_EVERY) {
                operator.checkpoint().map_err(explained)?;
            }
        }
        let states = operator.bulk_operations(jobs).map_err(explained)?;
        let done: i64 = states.iter().map(|job| job.done).sum();
        let total: i64 = states.iter().map(|job| job.total).sum();
        if is_terminal && done != shown {
            eprint!("\r{} {done} of {total}", done_name(action));
            shown = done;
        }
        if states.iter().all(|job| job.ended_at.is_some()) {
            if is_terminal {
                eprintln!();
            }
            report(action, usize::try_from(done).unwrap_or(0), is_json)?;
            return if states.iter().any(|job| job.is_cancelled) {
                Err("somebody cancelled it".into())
            } else {
                Ok(())
            };
        }
        if has_server {
            std::thread::sleep(PROGRESS_EVERY);
        }
    }
    unreachable!("a 64-bit counter of rounds does not end")
}
