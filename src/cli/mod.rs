//! The binary's subcommands, one a file. Exit codes: 0 done, 1 failed, 2 usage.
//!
//! - `config_file`: the option that all commands share. `error`: a command's failure.
//! - `operate`, `bulk`, `table`, `job`: shared by the commands that work on the database.
//!   `payload_file`, `header`: a request that a command is given.
//! - `signals`: the signals that stop or reload `relay serve`. `watchdog`, `sockets`: the service
//!   manager that started it.

/// Prints a line on standard output. A reader that has closed it is an error to return, no reason
/// to panic.
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($arg)*)?;
    }};
}

/// Prints a line on standard error, for a person, beside the output. One that can't be written is
/// lost: a full disk behind `2>` is no reason to panic in the middle of a command.
macro_rules! hint {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arg)*);
    }};
}

/// The same without the end of the line, for progress on a terminal.
macro_rules! progress {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stderr(), $($arg)*);
    }};
}

mod backup;
mod bulk;
mod cancel;
mod check;
mod completions;
mod config_file;
mod discard;
mod doctor;
mod erase;
mod error;
mod export;
mod header;
mod health;
mod import;
mod init;
mod job;
mod list;
mod man;
mod match_event;
mod migrate;
mod nodes;
mod operate;
mod pause;
mod payload_file;
mod providers;
mod reload;
mod replay;
mod reroute;
mod restore;
mod resume;
mod retry;
mod schema;
mod secrets;
mod send;
mod serve;
mod show;
mod signals;
mod sockets;
mod stats;
mod table;
mod tail;
#[cfg(test)]
mod tests;
mod unlock;
mod unrouted;
mod verify;
mod watchdog;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::ops::logging;

/// An embedded webhook and event relay: accepts events over HTTP, makes them durable in one SQLite
/// file, and delivers them until they arrive.
#[derive(Parser)]
#[command(name = "relay", version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a commented relay.toml with fresh keys
    Init(init::Init),
    /// Run the relay until SIGTERM or SIGINT; a second one exits at once, SIGHUP reloads
    Serve(serve::Serve),
    /// Have the server read its configuration anew: all of it, or nothing
    Reload(reload::Reload),
    /// Check the configuration and print the settings that take effect
    Check(check::Check),
    /// List deliveries, the latest first
    List(list::List),
    /// Show a relay or an event with its attempts, and the reason why it waits
    Show(show::Show),
    /// Send finished deliveries once more, or events to another destination
    Replay(replay::Replay),
    /// Retry waiting deliveries now, with the attempts that they have left
    Retry(retry::Retry),
    /// Give up dead letters, or waiting deliveries, for good
    Discard(discard::Discard),
    /// Delete the content of events: payloads, headers, keys and answers; their rows stay
    Erase(erase::Erase),
    /// Move the waiting deliveries of one destination to another
    Reroute(reroute::Reroute),
    /// End a bulk operation early; what it has done stays done
    Cancel(cancel::Cancel),
    /// Stop deliveries to a destination; events for it are still accepted, and held
    Pause(pause::Pause),
    /// Continue deliveries after a pause or a Retry-After, or all of them after a restore
    Resume(resume::Resume),
    /// Copy the database into a file, beside a running server or without one, and verify it
    Backup(backup::Backup),
    /// Verify that a file is a whole backup
    Verify(verify::Verify),
    /// Put a backup in the place of the database, which is kept aside; nothing is sent then
    Restore(restore::Restore),
    /// Write events with their deliveries and histories as JSON lines
    Export(export::Export),
    /// Take in events that relay export wrote
    Import(import::Import),
    /// Move everything from the file to PostgreSQL, or back, while nothing is served
    Migrate(migrate::Migrate),
    /// Show, or forget, the last event and the clock that the lock file remembers
    Unlock(unlock::Unlock),
    /// List the known senders of webhooks, or show the settings that one of them stands for
    Providers(providers::Providers),
    /// Make up a request of a source's sender, signed as it would, and post it to the relay
    Send(send::Send),
    /// Let a source learn its sender's secret by a handshake; list or forget such secrets
    Secrets(secrets::Secrets),
    /// Show which destinations an event would have, and why; nothing is sent or stored
    Match(match_event::Match),
    /// Follow events and attempts as they happen, until Ctrl-C
    Tail(tail::Tail),
    /// List the nodes that share the database: their versions, heartbeats and shares
    Nodes(nodes::Nodes),
    /// Show how many deliveries wait for each destination, and why
    Stats(stats::Stats),
    /// Look for what is wrong around a relay: files, disk, clock, database, destinations
    Doctor(doctor::Doctor),
    /// Ask a running relay whether it is alive, for the health check of a container
    Health(health::Health),
    /// Print the JSON Schema of relay.toml, for editors
    Schema,
    /// Print a page of the manual, or write all of them
    Man(man::ManPages),
    /// Print the completions of a shell
    Completions(completions::Completions),
}

impl Command {
    fn run(&self) -> Result<(), error::CommandError> {
        match self {
            Self::Init(init) => init.run(),
            Self::Serve(serve) => serve.run(),
            Self::Reload(reload) => reload.run(),
            Self::Check(check) => check.run(),
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Replay(replay) => replay.run(),
            Self::Retry(retry) => retry.run(),
            Self::Discard(discard) => discard.run(),
            Self::Erase(erase) => erase.run(),
            Self::Reroute(reroute) => reroute.run(),
            Self::Cancel(cancel) => cancel.run(),
            Self::Pause(pause) => pause.run(),
            Self::Resume(resume) => resume.run(),
            Self::Backup(backup) => backup.run(),
            Self::Verify(verify) => verify.run(),
            Self::Restore(restore) => restore.run(),
            Self::Export(export) => export.run(),
            Self::Import(import) => import.run(),
            Self::Migrate(migrate) => migrate.run(),
            Self::Unlock(unlock) => unlock.run(),
            Self::Providers(providers) => providers.run(),
            Self::Send(send) => send.run(),
            Self::Secrets(secrets) => secrets.run(),
            Self::Match(sample) => sample.run(),
            Self::Tail(tail) => tail.run(),
            Self::Nodes(nodes) => nodes.run(),
            Self::Stats(stats) => stats.run(),
            Self::Doctor(doctor) => doctor.run(),
            Self::Health(health) => health.run(),
            Self::Schema => schema::print(),
            Self::Man(man) => man.run(Cli::command()),
            Self::Completions(completions) => completions.run(Cli::command()),
        }
    }
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let _flush = logging::FlushAtEnd;
    match Cli::parse().command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            logging::print_last(&format!("relay: {error}"));
            ExitCode::FAILURE
        }
    }
}
