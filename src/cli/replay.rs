//! `relay replay`: sends dead letters once more.

use clap::Args;

use crate::cli::bulk::{self, Selection};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::store::DeadLetterAction;

#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    selection: Selection,
}

impl Replay {
    pub fn run(&self) -> Result<(), CommandError> {
        bulk::run(self.file.path(), DeadLetterAction::Replay, &self.selection)
    }
}
