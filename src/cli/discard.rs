//! `relay discard`: deletes dead letters.

use clap::Args;

use crate::cli::bulk::{self, Selection};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::store::DeadLetterAction;

#[derive(Args)]
pub(super) struct Discard {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    selection: Selection,
}

impl Discard {
    pub fn run(&self) -> Result<(), CommandError> {
        bulk::run(self.file.path(), DeadLetterAction::Discard, &self.selection)
    }
}
