//! `relay doctor`: looks at everything that a relay needs from the world around it.
//!
//! - `report`: the findings, and how they are shown. `subjects`: the names to look at.
//! - `configuration`, `files`, `disk`, `database`, `backups`, `clock`: the machine. `listeners`:
//!   the certificates of relay's own.
//! - `destinations`: the way to each destination. `pings`: events that test them. `sources`: how
//!   senders reach each source. `handshakes`: the questions of providers, asked of the relay.

mod backups;
mod clock;
mod configuration;
mod database;
mod destinations;
mod disk;
mod files;
mod handshakes;
mod listeners;
mod pings;
mod report;
mod sources;
mod subjects;

use std::sync::Arc;

use clap::Args;

use self::report::Report;
use self::subjects::Subjects;
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::clock::{Clock, SystemClock};

#[derive(Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// Destinations, sources and ad hoc URLs to look at; without them, everything
    names: Vec<String>,
    /// Send a signed event of the type relay.ping to each named destination
    #[arg(long)]
    ping: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(&self) -> Result<(), CommandError> {
        let mut report = Report::default();
        self.look(&mut report);
        report.print(self.json)?;
        match report.failed() {
            0 => Ok(()),
            1 => Err("1 finding says that something is wrong".into()),
            count => Err(format!("{count} findings say that something is wrong").into()),
        }
    }

    fn look(&self, report: &mut Report) {
        let file = self.file.path();
        let Some(config) = configuration::look(report, file) else {
            return;
        };
        let subjects = Subjects::of(report, &config, &self.names);
        if self.names.is_empty() {
            files::look(report, &config, file);
            disk::look(report, &config.database);
            backups::look(report, config.backup.as_ref());
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let is_served = database::look(report, &config.database, self.names.is_empty());
        if self.names.is_empty() {
            listeners::look(report, &config, clock.wall());
        }
        let ping = if self.ping {
            pings::sender(report, &config, &clock)
        } else {
            None
        };
        let to = &subjects.destinations;
        let dates = destinations::look(report, &config, to, &clock, ping.as_ref());
        clock::look_at_dates(report, &dates);
        sources::look(report, &config, &subjects.sources, is_served);
    }
}
