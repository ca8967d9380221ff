//! `relay retry`: makes waiting deliveries due now.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection, usage};
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
        let has_any = selection.destination.is_some()
            || selection.source.is_some()
            || selection.event_type.is_some()
            || selection.since.is_some()
            || selection.all
            || selection.status.is_some()
            || selection.reason.is_some()
            || selection.until.is_some();
        if selection.ids.is_empty() && !has_any {
            usage(
                "expected the <ID> of a relay or an event, a filter such as \
                 --destination <NAME>, or --all",
            );
        }
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
