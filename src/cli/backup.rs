//! `relay backup`: copies the database into a file, and verifies it.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::reading;
use crate::cli::verify;
use crate::store::BackupProgress;

#[derive(Args)]
pub(super) struct Backup {
    #[command(flatten)]
    config: ConfigFile,
    /// The file to make; it must not exist
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub fn run(&self) -> Result<(), CommandError> {
        let (operator, config) = reading(self.config.path())?;
        let progress = Progress::default();
        let min_free = config.database.min_free_bytes;
        let made = operator.back_up(&self.file, min_free, &|now| progress.show(now));
        progress.clear();
        let made = made?;
        if self.json {
            say!("{}", verify::as_json(&made));
            return Ok(());
        }
        say!("{}: made and verified", made.path.display());
        verify::print(&made)
    }
}

/// One line on a terminal, which the next one overwrites.
#[derive(Default)]
struct Progress(Cell<Option<u64>>);

impl Progress {
    fn show(&self, now: BackupProgress) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let text = match now {
            BackupProgress::Copied { pages, of } => {
                let percent = (pages * 100).checked_div(of).unwrap_or(100);
                if self.0.replace(Some(percent)) == Some(percent) {
                    return;
                }
                format!("copied {percent} %")
            }
            BackupProgress::Verifying => {
                self.0.set(Some(101));
                "verifying".to_owned()
            }
        };
        progress!("\r{text:<20}");
    }

    fn clear(&self) {
        if self.0.get().is_some() {
            progress!("\r{:20}\r", "");
        }
    }
}
