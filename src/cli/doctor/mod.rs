//! `relay doctor`: looks at everything that a relay needs from the world around it.
//!
//! - `report`: the findings, and how they are shown. `subjects`: the names to look at.
//! - `configuration`, `files`, `disk`, `database`, `clock`: the machine.
//! - `destinations`: the way to each destination. `sources`: how senders reach each source.
//!   `handshakes`: the questions of providers, asked of the relay itself.

mod clock;
mod configuration;
mod database;
mod destinations;
mod disk;
mod files;
mod handshakes;
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
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let is_served = database::look(report, &config.database, self.names.is_empty());
        let dates = destinations::look(report, &config, &subjects.destinations, &clock);
        clock::look_at_dates(report, &dates);
        sources::look(report, &config, &subjects.sources, is_served);
    }
}
