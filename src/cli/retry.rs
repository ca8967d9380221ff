//! `relay retry`: makes waiting deliveries due now.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::ops::operations::OperationKind;

#[derive(Args)]
pub(super) struct Retry {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    selection: Selection,
}

impl Retry {
    pub fn run(&self) -> Result<(), CommandError> {
        let selection = &self.selection;
        let request = selection.request(OperationKind::Retry);
        bulk::check(&request)?;
        let mut context = Context::new(self.file.path())?;
        let new = bulk::build(&context, &request)?;
        if let (Some(destination), false) = (&new.filter.destination, selection.dry_run) {
            let probes = context.operator.probe_now(destination);
            if probes.map_err(explained)? && !selection.json {
                hint!(
                    "{destination}: its Retry-After has ended, and its circuit breaker lets the \
                     next attempt probe"
                );
            }
        }
        bulk::run(&mut context, selection, new)
    }
}
