//! `relay migrate`: moves everything to another engine.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::json;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::table::{self, Column};
use crate::config::{Config, Database, Secret};
use crate::store::{self, MoveProgress, MoveReport};

/// Holds the place to move to, so that a password stands neither in the command line nor in `ps`.
const TO: &str = "RELAY_MIGRATE_TO";

/// The smallest difference of clocks that is told, in milliseconds.
const TOLD_DIFFERENCE: u64 = 1_000;

/// Moves everything from the database's file to PostgreSQL, or back.
///
/// The configuration names the database that is moved. Refused beside a server. The place that it
/// is moved to has to be empty. Afterwards no relay serves the database that was moved, which stays
/// as it was; a move that is interrupted is begun anew by the same command.
#[derive(Args)]
#[command(group(ArgGroup::new("work").multiple(false).args(["to", "abandon"])))]
pub(super) struct Migrate {
    #[command(flatten)]
    config: ConfigFile,
    #[arg(
        long,
        value_name = "URL|PATH",
        help = "Where to: postgres://USER:PASSWORD@HOST/DATABASE, or the path of a new file",
        long_help = "Where to: postgres://USER:PASSWORD@HOST/DATABASE, or the path of a new file\n\n\
                     Without the option: the variable RELAY_MIGRATE_TO, which keeps a password\n\
                     out of the list of processes. A path may begin with sqlite: or file:."
    )]
    to: Option<String>,
    /// The authorities that the certificate of --to's server is verified by, as PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Undo a move: let its source be served again, or empty an unfinished copy
    #[arg(long, conflicts_with = "ca_file")]
    abandon: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub fn run(&self) -> Result<(), CommandError> {
        let config = Config::load_for_commands(self.config.path())?;
        if self.abandon {
            let done = store::abandon_move(&config.database)?;
            if self.json {
                say!("{}", json!({ "ok": true }));
            } else {
                say!("{done}");
            }
            return Ok(());
        }
        let to = self.target(&config.database)?;
        let progress = Progress::default();
        let moved = store::move_store(&config.database, &to, &config.node, &|step| {
            progress.show(step);
        });
        progress.clear();
        let report = moved?;
        if self.json {
            say!("{}", as_json(&report));
            return Ok(());
        }
        print(&report, to.url.is_some())
    }

    /// The settings of the database to move to.
    fn target(&self, from: &Database) -> Result<Database, CommandError> {
        let to = self.to.clone().or_else(|| std::env::var(TO).ok());
        let to = to.filter(|to| !to.is_empty()).ok_or_else(|| {
            format!("expected --to URL, --to PATH, the variable {TO}, or --abandon")
        })?;
        let base = Database {
            url: None,
            ca_file: None,
            path: Database::default().path,
            ..from.clone()
        };
        if is_postgres(&to) {
            return Ok(Database {
                url: Some(Secret::new(to)),
                ca_file: self.ca_file.clone(),
                ..base
            });
        }
        let path = ["sqlite:", "file:"]
            .iter()
            .find_map(|scheme| to.strip_prefix(scheme));
        let path = path.unwrap_or(&to);
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains("://") {
            let scheme = to.split("://").next().unwrap_or_default();
            return Err(format!(
                "--to {scheme}://…: expected postgres://USER:PASSWORD@HOST/DATABASE, or the path \
                 of a file"
            )
            .into());
        }
        if self.ca_file.is_some() {
            return Err("--ca-file: a file has no certificate; expected --to postgres://…".into());
        }
        Ok(Database {
            path: PathBuf::from(path),
            ..base
        })
    }
}

fn is_postgres(to: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| to.starts_with(scheme))
}

fn print(report: &MoveReport, is_to_server: bool) -> Result<(), CommandError> {
    let MoveReport { from, to, .. } = report;
    if let Some(tables) = &report.tables {
        let rows = tables.iter().map(|counted| {
            [
                counted.table.to_owned(),
                counted.rows.to_string(),
                counted.digest.clone(),
            ]
        });
        let rows: Vec<[String; 3]> = rows.collect();
        let columns = [
            Column::Left("TABLE"),
            Column::Right("ROWS"),
            Column::Left("DIGEST, ON BOTH SIDES"),
        ];
        table::print(&columns, &rows)?;
        say!("moved {from} to {to}");
    } else {
        say!("moved {from} to {to}: a move before this one had copied everything");
    }
    if report.ahead_millis.unsigned_abs() >= TOLD_DIFFERENCE {
        let seconds = report.ahead_millis.unsigned_abs() / 1_000;
        let (direction, effect) = if report.ahead_millis > 0 {
            ("ahead of", "longer")
        } else {
            ("behind", "shorter")
        };
        say!(
            "the clock that wrote it was {seconds} s {direction} the one of {to}: waits, windows \
             and retention are {effect} by as much"
        );
    }
    let key = if is_to_server {
        "database.url"
    } else {
        "database.path"
    };
    say!("serve it there: {key} in the configuration names it, or the variable that overrides it");
    say!(
        "{from} stays as it was, and no relay serves it any more; relay migrate --abandon undoes that"
    );
    Ok(())
}

fn as_json(report: &MoveReport) -> serde_json::Value {
    let tables = report.tables.iter().flatten().map(|counted| {
        json!({
            "table": counted.table,
            "rows": counted.rows,
            "digest": counted.digest,
        })
    });
    json!({
        "ok": true,
        "from": report.from,
        "to": report.to,
        "tables": tables.collect::<Vec<_>>(),
        "clock_ahead_ms": report.ahead_millis,
    })
}

/// On a terminal a line that the next one overwrites; elsewhere one for each table and step.
#[derive(Default)]
struct Progress {
    /// The table before, and whether it was being compared.
    table: Cell<Option<(&'static str, bool)>>,
    has_line: Cell<bool>,
}

impl Progress {
    fn show(&self, step: MoveProgress) {
        let (table, is_compared, rows) = match step {
            MoveProgress::Copied { table, rows } => (table, false, rows),
            MoveProgress::Compared { table, rows } => (table, true, rows),
            MoveProgress::Begun => {
                return self.say("the target is empty, and marked as unfinished");
            }
            MoveProgress::Completed => return self.say("everything is copied and compared"),
            MoveProgress::Left => return self.say("the source is marked as moved"),
        };
        let verb = if is_compared { "comparing" } else { "copying" };
        if std::io::stderr().is_terminal() {
            self.has_line.set(true);
            progress!("\r{:<60}", format!("{verb} {table}: {rows} rows"));
        } else if self.table.replace(Some((table, is_compared))) != Some((table, is_compared)) {
            hint!("{verb} {table}");
        }
    }

    fn say(&self, text: &str) {
        self.clear();
        hint!("{text}");
    }

    fn clear(&self) {
        if self.has_line.replace(false) {
            progress!("\r{:60}\r", "");
        }
    }
}
