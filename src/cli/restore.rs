//! `relay restore`: puts a backup in the place of the database.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::job::progress_text;
use crate::cli::operate::{plain, writing};
use crate::cli::table::{self, Column};
use crate::cli::verify;
use crate::config::Config;
use crate::ops::operations::job;
use crate::store::{self, BulkOperation, Comparison, Restored};

/// Puts a backup in the place of the database, which is kept aside.
///
/// Refused beside a server. The restored database is held: a server accepts events, and sends
/// nothing until relay resume --all.
#[derive(Args)]
#[command(group(ArgGroup::new("work").required(true).multiple(true)
    .args(["backup", "abandon", "settle"])))]
pub(super) struct Restore {
    #[command(flatten)]
    config: ConfigFile,
    /// A file that relay backup wrote
    #[arg(value_name = "FILE")]
    backup: Option<PathBuf>,
    /// After a restore that was interrupted: put the old files back
    #[arg(long, conflicts_with_all = ["backup", "settle"])]
    abandon: bool,
    /// Mark as delivered what the old database has delivered
    ///
    /// With FILE, at once; without, after a restore, while the database is held.
    #[arg(long, verbatim_doc_comment)]
    settle: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub fn run(&self) -> Result<(), CommandError> {
        let file = self.config.path();
        if let Some(backup) = &self.backup {
            let config = Config::load_for_commands(file)?;
            let restored = store::restore(&config.database, backup, self.settle)?;
            return self.print(&config.database.path, &restored);
        }
        if self.abandon {
            let config = Config::load_for_commands(file)?;
            store::abandon_restore(&config.database)?;
            let database = config.database.path.display();
            if self.json {
                say!("{}", json!({ "ok": true }));
            } else {
                say!("{database}: the old files are back, and nothing of the restore is left");
            }
            return Ok(());
        }
        let (mut operator, _) = writing(file)?;
        let comparison = operator.settle_held()?;
        if self.json {
            let mut document = as_json(&comparison);
            document["ok"] = json!(true);
            say!("{document}");
            return Ok(());
        }
        say!(
            "{} pending deliveries were marked as delivered",
            comparison.settled
        );
        Ok(())
    }

    fn print(&self, database: &Path, restored: &Restored) -> Result<(), CommandError> {
        let comparison = &restored.comparison;
        if self.json {
            let mut document = as_json(comparison);
            document["ok"] = json!(true);
            document["held"] = json!(true);
            document["backup"] = verify::as_json(&restored.backup);
            let aside = restored.aside.as_ref();
            document["aside"] = json!(aside.map(|path| path.display().to_string()));
            document["cancelled"] = restored.cancelled.iter().map(job).collect();
            say!("{document}");
            return Ok(());
        }
        say!(
            "{}: is now the backup of {}, and held: nothing is sent until relay resume --all",
            database.display(),
            restored.backup.manifest.taken_at
        );
        if let Some(aside) = &restored.aside {
            say!("the database before is kept as {}", aside.display());
        } else {
            say!("there was no database before");
        }
        print_pending(comparison)?;
        print_newer(comparison)?;
        print_cancelled(&restored.cancelled)?;
        if comparison.erased > 0 {
            say!(
                "{} events that were erased since the backup are erased in it, too",
                comparison.erased
            );
        }
        say!(
            "idempotency keys of events after the backup are forgotten: a sender's retry of one is \
             a new event"
        );
        Ok(())
    }
}

fn print_pending(comparison: &Comparison) -> Result<(), CommandError> {
    if comparison.pending.is_empty() {
        say!("nothing is pending in it");
        return Ok(());
    }
    let is_known = comparison.problem.is_none();
    say!("\npending in it, and sent after relay resume --all:");
    let known = |number: i64| {
        if is_known {
            number.to_string()
        } else {
            "unknown".to_owned()
        }
    };
    let rows: Vec<_> = comparison
        .pending
        .iter()
        .map(|of| {
            [
                of.pending.to_string(),
                known(of.delivered),
                known(of.absent),
                of.destination.clone(),
            ]
        })
        .collect();
    table::print(
        &[
            Column::Right("PENDING"),
            Column::Right("DELIVERED SINCE"),
            Column::Right("NOT IN THE FILE ASIDE"),
            Column::Left("DESTINATION"),
        ],
        &rows,
    )?;
    let delivered: i64 = comparison.pending.iter().map(|of| of.delivered).sum();
    if comparison.settled > 0 {
        say!(
            "{} of them were marked as delivered (--settle)",
            comparison.settled
        );
    } else if is_known && delivered > 0 {
        say!(
            "relay restore --settle marks as delivered the {delivered} that the file aside has \
             delivered; otherwise they are sent again"
        );
    }
    if let Some(problem) = &comparison.problem {
        say!("delivered since: unknown: {problem}");
    }
    say!("");
    Ok(())
}

fn print_newer(comparison: &Comparison) -> Result<(), CommandError> {
    match comparison.newer {
        Some(0) => say!("no event is newer than the backup"),
        Some(newer) => {
            say!("{newer} events in the file aside are newer than the backup, and not in it");
        }
        None => {
            let problem = comparison.problem.as_deref().unwrap_or("it can't be read");
            say!("events newer than the backup: unknown: {problem}");
        }
    }
    Ok(())
}

/// Nothing of the copy goes on by itself: an operator asks again for an operation that is wanted.
fn print_cancelled(cancelled: &[BulkOperation]) -> Result<(), CommandError> {
    if cancelled.is_empty() {
        return Ok(());
    }
    say!("under way in the backup, and cancelled: ask again for those that are still wanted");
    for job in cancelled {
        say!("  {}", plain(&progress_text(job)));
    }
    Ok(())
}

/// A comparison for programs. Numbers that nobody knows are null.
fn as_json(comparison: &Comparison) -> Value {
    let is_known = comparison.problem.is_none();
    let known = |number: i64| is_known.then_some(number);
    let pending = comparison.pending.iter().map(|of| {
        json!({
            "destination": of.destination,
            "pending": of.pending,
            "delivered": known(of.delivered),
            "absent": known(of.absent),
        })
    });
    json!({
        "pending": pending.collect::<Vec<_>>(),
        "newer_events": comparison.newer,
        "problem": comparison.problem,
        "settled": comparison.settled,
        "erased": comparison.erased,
    })
}
