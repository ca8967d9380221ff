//! `relay retry`: makes what waits due now.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection, usage};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::explained;
use crate::store::{NewBulk, StateSet};

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
        selection.refuse_filters_beside_ids();
        let has_any = selection.has_filter()
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
        let states = selection.states(
            StateSet::WAITING,
            StateSet::WAITING,
            "what has ended is sent once more by relay replay",
        );
        let mut context = Context::new(self.file.path())?;
        let filter = selection.filter(&context, states)?;
        if let (Some(destination), false) = (&filter.destination, selection.dry_run) {
            let probes = context.operator.probe_now(destination);
            if probes.map_err(explained)? && !selection.json {
                eprintln!("{destination} is tried now: its circuit breaker or Retry-After kept it");
            }
        }
        bulk::run(&mut context, selection, NewBulk::retry(filter))
    }
}
