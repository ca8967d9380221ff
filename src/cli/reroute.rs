//! `relay reroute`: moves what waits for one destination to another.

use clap::Args;

use crate::cli::bulk::{self, Context, Selection, usage};
use crate::cli::config_file::ConfigFile;
use crate::cli::error::CommandError;
use crate::cli::operate::{configured_destination, known_destination};
use crate::store::{NewBulk, StateSet};

#[derive(Args)]
pub(super) struct Reroute {
    #[command(flatten)]
    file: ConfigFile,
    /// The destination for which they wait; it need not be configured any more
    #[arg(long, value_name = "OLD")]
    from: String,
    /// The destination that gets them, which has to be configured
    #[arg(long, value_name = "NEW")]
    to: String,
    #[command(flatten)]
    selection: Selection,
}

impl Reroute {
    pub fn run(&self) -> Result<(), CommandError> {
        let selection = &self.selection;
        selection.refuse_filters_beside_ids();
        if selection.destination.is_some() {
            usage("--destination is no filter here: --from <OLD> names the destination");
        }
        let states = selection.states(
            StateSet::WAITING,
            StateSet::WAITING,
            "what has ended is sent elsewhere by relay replay --to",
        );
        let mut context = Context::new(self.file.path())?;
        let from = known_destination(&context.operator, &context.config, &self.from)?;
        let to = configured_destination(&context.config, &self.to)?;
        if from == to {
            return Err(format!("--from and --to are both {to}: expected two destinations").into());
        }
        let filter = selection.filter(&context, states)?;
        bulk::run(&mut context, selection, NewBulk::reroute(from, to, filter))
    }
}
