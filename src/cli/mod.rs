//! The binary's subcommands, one a file. Exit codes: 0 done, 1 failed, 2 usage.

#[cfg(test)]
mod tests;

/// Prints a line on standard output. Who reads may have gone away: that is an error to pass on, not
/// one to panic at.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($arg)*)?;
    }};
}

mod bulk;
mod check;
mod error;
mod list;
mod operate;
mod pause;
mod providers;
mod serve;
mod show;
mod signals;
mod stats;
mod table;
mod unlock;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::model::IntentId;
use crate::ops::logging;
use crate::store::{BulkId, DeadLetterAction};

/// An embedded webhook and event relay: takes events in over HTTP, makes them durable in one SQLite
/// file, and delivers them until they arrive.
#[derive(Parser)]
#[command(name = "relay", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay until SIGTERM, SIGINT or SIGHUP; a second signal exits at once
    Serve(ConfigFile),
    /// Check the configuration and show what it means, without starting
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// List deliveries, the latest first
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        list: list::ListArgs,
    },
    /// Show a relay or an event: its attempts, and what it waits for
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Its id, as the API shows it
        id: IntentId,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Send dead letters once more, each with a fresh budget of attempts
    Replay {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        bulk: bulk::BulkArgs,
    },
    /// Delete dead letters for good, and with an event its idempotency key
    Discard {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        bulk: bulk::BulkArgs,
    },
    /// End a bulk replay or discard before it is done; what it has done stays done
    Cancel {
        #[command(flatten)]
        file: ConfigFile,
        /// Its number: relay stats shows it
        job: BulkId,
    },
    /// Let nothing more go to a destination; events for it are still accepted, and held
    Pause {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(help = "Its name, or an ad hoc origin such as https://example.com")]
        destination: String,
        /// Why: it is shown wherever somebody wonders
        #[arg(long, default_value = "by an operator")]
        reason: String,
    },
    /// Let deliveries go to a destination again, after a pause or a Retry-After
    Resume {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(help = "Its name, or an ad hoc origin such as https://example.com")]
        destination: String,
    },
    /// Make the lock file forget which event the database has to hold, and relay's clock
    Unlock {
        #[command(flatten)]
        file: ConfigFile,
        /// Serve the database as it is, whatever it lacks
        #[arg(long)]
        accept_data_loss: bool,
    },
    /// List the known senders of webhooks, or show what one of them stands for
    Providers {
        /// The name of one
        name: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show how much waits, for whom, and what keeps it
    Stats {
        #[command(flatten)]
        file: ConfigFile,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration; relay.toml in the working directory if not named, built-in defaults if
    /// there is none. Environment variables (RELAY_HTTP_ADDR, RELAY_DB, RELAY_API_KEYS, …)
    /// override it
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    fn path(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let _flush = logging::FlushAtEnd;
    let done = match Cli::parse().command {
        Command::Serve(file) => serve::run(file.path()),
        Command::Check { file, json } => check::run(file.path(), json),
        Command::List { file, list } => list::run(file.path(), &list),
        Command::Show { file, id, json } => show::run(file.path(), id, json),
        Command::Replay { file, bulk } => bulk::run(file.path(), DeadLetterAction::Replay, &bulk),
        Command::Discard { file, bulk } => bulk::run(file.path(), DeadLetterAction::Discard, &bulk),
        Command::Cancel { file, job } => bulk::cancel(file.path(), job),
        Command::Pause {
            file,
            destination,
            reason,
        } => pause::pause(file.path(), &destination, &reason),
        Command::Resume { file, destination } => pause::resume(file.path(), &destination),
        Command::Unlock {
            file,
            accept_data_loss,
        } => unlock::run(file.path(), accept_data_loss),
        Command::Providers { name, json } => providers::run(name.as_deref(), json),
        Command::Stats { file, json } => stats::run(file.path(), json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `relay list | head` has seen enough.
        Err(error) if error::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            logging::print_last(&format!("relay: {error}"));
            ExitCode::FAILURE
        }
    }
}
