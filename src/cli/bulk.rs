//! `relay replay` and `relay discard`: single dead letters at once, many as jobs in the database.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::error::CommandError;
use super::operate::{Moment, explained, known_destination, moment, writing};
use crate::clock::Timestamp;
use crate::config::Resolved;
use crate::model::IntentId;
use crate::store::{AdvanceBulk, BulkId, DeadLetterAction, DeadLetterFilter, Operator};

/// Steps after which the WAL is emptied, when there is no server to do it: some 50 MB of it.
const CHECKPOINT_EVERY: u64 = 50;
/// How often the progress of a job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag on the command line"
)]
pub(super) struct BulkArgs {
    /// Relays or events, by id
    #[arg(
        value_name = "ID",
        required_unless_present = "dead",
        conflicts_with = "dead"
    )]
    ids: Vec<IntentId>,
    /// All dead letters, or those that the filters leave
    #[arg(long)]
    dead: bool,
    #[arg(
        long,
        value_name = "NAME",
        requires = "dead",
        help = "Only those of this name, or ad hoc origin such as https://example.com"
    )]
    destination: Option<String>,
    /// Only events of this source
    #[arg(long, value_name = "NAME", requires = "dead")]
    source: Option<String>,
    /// Only those whose last error holds this text
    #[arg(long, value_name = "TEXT", requires = "dead")]
    reason: Option<String>,
    /// Only those given up since: a time (RFC 3339), or how long ago (2h, 7d)
    #[arg(long, value_name = "TIME", requires = "dead", value_parser = moment)]
    since: Option<Moment>,
    /// Only those given up until then
    #[arg(long, value_name = "TIME", requires = "dead", value_parser = moment)]
    until: Option<Moment>,
    /// Say how many there are, and do nothing
    #[arg(long, requires = "dead")]
    dry_run: bool,
    /// Don't wait for the end: the server goes on by itself
    #[arg(long, requires = "dead")]
    detach: bool,
    /// Print one JSON document; with --detach, JSON lines: one object for each job
    #[arg(long)]
    json: bool,
}

pub(super) fn run(
    file: Option<&Path>,
    kind: DeadLetterAction,
    args: &BulkArgs,
) -> Result<(), CommandError> {
    let (mut operator, config) = writing(file)?;
    if args.dead {
        return many(&mut operator, &config, kind, args);
    }
    let mut all = 0;
    for id in &args.ids {
        let done = match kind {
            DeadLetterAction::Replay => operator.replay(*id),
            DeadLetterAction::Discard => operator.discard(*id),
        };
        let done = done.map_err(explained)?;
        if done == 0 && !args.json {
            eprintln!("{id}: has no dead letter");
        }
        all += done;
    }
    report(kind, all, args.json)?;
    if all == 0 {
        return Err("nothing was done".into());
    }
    Ok(())
}

fn report(kind: DeadLetterAction, count: usize, is_json: bool) -> Result<(), CommandError> {
    if is_json {
        say!("{}", json!({ done_name(kind): count }));
    } else {
        say!("{} {count}", done_name(kind));
    }
    Ok(())
}

fn done_name(kind: DeadLetterAction) -> &'static str {
    match kind {
        DeadLetterAction::Replay => "replayed",
        DeadLetterAction::Discard => "discarded",
    }
}

fn many(
    operator: &mut Operator,
    config: &Resolved,
    kind: DeadLetterAction,
    args: &BulkArgs,
) -> Result<(), CommandError> {
    let destination = args
        .destination
        .as_deref()
        .map(|text| known_destination(operator, config, text))
        .transpose()?;
    let filter = DeadLetterFilter {
        destination,
        source: args.source.clone(),
        reason: args.reason.clone(),
        since: args
            .since
            .map_or(Timestamp::from_millis(0), |since| since.when(operator)),
        until: args
            .until
            .map_or(Timestamp::from_millis(i64::MAX), |until| {
                until.when(operator)
            }),
    }
    .before(operator.now());
    let found = operator.count_dead_letters(&filter).map_err(explained)?;
    if args.dry_run {
        let total: i64 = found.iter().map(|one| one.count).sum();
        if args.json {
            let by_destination: serde_json::Map<_, _> = found
                .into_iter()
                .map(|one| (one.destination, one.count.into()))
                .collect();
            say!(
                "{}",
                json!({ "total": total, "destinations": by_destination })
            );
        } else {
            for one in &found {
                say!("{:>8}  {}", one.count, one.destination);
            }
            say!("{total:>8}  in all; nothing was done");
        }
        return Ok(());
    }
    let jobs = operator
        .create_bulk(kind, filter, found)
        .map_err(explained)?;
    if jobs.is_empty() {
        report(kind, 0, args.json)?;
        return Ok(());
    }
    if args.detach && operator.has_server() {
        for job in &jobs {
            if args.json {
                say!("{}", json!({ "job": job }));
            } else {
                say!(
                    "job {job}: the server is at it; relay stats shows how far, relay cancel {job} ends it"
                );
            }
        }
        return Ok(());
    }
    follow(operator, kind, &jobs, args.json)
}

/// Waits for the jobs' end; without a server, does them.
fn follow(
    operator: &mut Operator,
    kind: DeadLetterAction,
    jobs: &[BulkId],
    is_json: bool,
) -> Result<(), CommandError> {
    let is_terminal = std::io::stderr().is_terminal();
    let mut shown = -1;
    for round in 1_u64.. {
        // One may start or stop meanwhile.
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
            eprint!("\r{} {done} of {total}", done_name(kind));
            shown = done;
        }
        if states.iter().all(|job| job.ended_at.is_some()) {
            if is_terminal {
                eprintln!();
            }
            report(kind, usize::try_from(done).unwrap_or(0), is_json)?;
            return if states.iter().any(|job| job.is_cancelled) {
                Err("somebody cancelled it".into())
            } else {
                Ok(())
            };
        }
        if has_server {
            std::thread::sleep(LOOK_EVERY);
        }
    }
    unreachable!("there are more rounds than anybody lives to see")
}

/// Ends a job before it is done.
pub(super) fn cancel(file: Option<&Path>, job: BulkId) -> Result<(), CommandError> {
    let (mut operator, _) = writing(file)?;
    if operator.cancel_bulk(job).map_err(explained)? {
        say!("cancelled; what it has done stays done");
        Ok(())
    } else {
        Err(format!("job {job} isn't under way").into())
    }
}
