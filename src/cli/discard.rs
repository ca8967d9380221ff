//! `relay discard`: gives up dead letters, or waiting deliveries, for good.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection, usage};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::ops::operations::{OperationKind, OperationRequest};

#[derive(Args)]
pub(super) struct Discard {
    #[command(flatten)]
    file: ConfigFile,
    /// All dead letters, or those that match the filters
    #[arg(long, conflicts_with_all = ["ids", "status", "pending"])]
    dead: bool,
    /// Give up waiting deliveries instead of dead letters
    #[arg(long, conflicts_with = "status")]
    pending: bool,
    #[command(flatten)]
    selection: Selection,
}

impl Discard {
    pub fn run(&self) -> Result<(), CommandError> {
        let selection = &self.selection;
        let is_bulk = self.dead || self.pending || selection.status.is_some();
        if selection.ids.is_empty() && !is_bulk {
            usage(
                "expected the <ID> of a relay or an event, or one of --dead, --pending, \
                 --status <STATE>",
            );
        }
        let request = OperationRequest {
            dead: self.dead,
            pending: self.pending,
            ..selection.request(OperationKind::Discard)
        };
        bulk::check(&request)?;
        let mut context = Context::new(self.file.path())?;
        let new = bulk::build(&context, &request)?;
        bulk::run(&mut context, selection, new)
    }
}
