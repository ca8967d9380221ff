//! The binary's subcommands, one a file. Exit codes: 0 done, 1 failed, 2 usage.

mod check;
mod logging;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

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
    /// Run the relay until SIGTERM or SIGINT; a second signal exits at once
    Serve(ConfigFile),
    /// Check the configuration and show what it means, without starting
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct ConfigFile {
    /// The configuration; relay.toml in the working directory if not named, built-in defaults if
    /// there is none. Environment variables (RELAY_HTTP_ADDR, RELAY_DB, RELAY_API_KEYS, …) override it
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(file) => serve::run(file.config.as_deref()),
        Command::Check { file, json } => check::run(file.config.as_deref(), json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A command's failure: one line for a person.
type Failure = Box<dyn std::error::Error>;
